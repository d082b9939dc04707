"""What a person wants by the end of a conversation: words, items to go by, what to leave out; read turn by turn.

A turn either begins a new wish or refines the one before. It refines when it speaks of "ones", begins with a preposition
or a "but", points at what was shown, or consists of colours and sizes alone; a new colour takes the old one's place. Words
after "without", "no", "not" are ruled out. "The second one", "this", "those", "the red one" are items that were shown. All
rules are of English (navigator.assistant.english).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from navigator.assistant.conversation import Turn
from navigator.assistant.english import (
    APOSTROPHE,
    ASKING,
    COLOURS,
    FILLING,
    FURTHER,
    LEAVING,
    MODIFIERS,
    ORDINALS,
    PASSING,
    POINTING,
    PREPOSITIONS,
    REFINING,
    naming,
    stem,
    subjects,
    words_of,
)  # fmt: skip
from navigator.assistant.small_talk import small_talk

Nearest = Callable[[str, Sequence[str]], str]  # the one of these items that is nearest to the words
_RULED_OUT = re.compile(
    r"\b(?:without|except(?: for)?|but no|but not|not|no|don't want|rather than|instead of)\s+"
    r"(?:any\s+|the\s+|a\s+|an\s+)?([^,.;!?]+?)(?=\s+(?:but|and|please|with)\b|[,.;!?]|$)"
)
_NUMBER = re.compile(r"(?:\bnumber\s+|\bno\.?\s+|#|\[)(\d{1,2})\b")
_ORDINAL = re.compile(rf"\b(?:the|your)\s+({'|'.join(ORDINALS)})\b(?!\s+(?:time|thing)\b)")
_DESCRIBED = re.compile(r"\b(?:the|that)\s+(\w+(?:\s+\w+)?)\s+one\b")
_LIKE = re.compile(
    r"\b(?:like|similar to|as|from|of|about|than)\s+(this|that|it|these|those|them)\b|\b(this|that|these) ones?\b"
)
_QUESTION = re.compile(
    r"^\s*(?:so\s+)?(?:what(?:'s| is| are| does)|tell me|describe|who(?:'s| is)|explain|is (?:this|that|it))\b"
)
_NEAREST = re.compile(r"\b(?:nearest|closest|anything close|something close|anyway|next best|come closest)\b")


@dataclass(frozen=True)
class Wish:
    """Attributes:
    words: what it is about, in the order of saying, without what was ruled out.
    names: those of the words that name what is wanted, not what it is for or what goes with it (english.naming).
    ruled_out: words that what is found must not be about.
    items: items to go by, oldest first.
    pictures: pictures to go by.
    about: the turn asks about `items` and wants nothing found.
    small_talk: "greeting" or "thanks" where the turn is nothing else.
    nearest: asks for what comes nearest, knowing that nothing fits.
    further: asks for others than those that were shown.
    """

    words: tuple[str, ...] = ()
    ruled_out: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    pictures: tuple[bytes, ...] = ()
    about: bool = False
    small_talk: str = ""
    nearest: bool = False
    further: bool = False
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def heads(self) -> list[str]:
        """Words that say what is wanted, not merely which colour or size, or that it is wanted."""
        return [word for word in self.words if word not in MODIFIERS | PASSING]

    @property
    def named(self) -> list[str]:
        """The heads that name something; empty where all only describe it."""
        return [word for word in self.heads if word in self.names]

    @property
    def empty(self) -> bool:
        return not (self.words or self.items or self.pictures)


@dataclass
class Reader:
    """Reads user turns in order; between them it is told what was shown.

    Args:
        nearest: picks the item that is meant by "the red one".
    """

    nearest: Nearest
    wish: Wish = field(default_factory=Wish)
    shown: list[str] = field(default_factory=list)

    def read(self, turn: Turn) -> Wish:
        """The wish after this turn of the user."""
        said = turn.words.casefold().replace(APOSTROPHE, "'")
        kind, pointed = small_talk(said), [*turn.items, *self._pointed(said)]
        before = replace(self.wish, about=False, small_talk="", nearest=False, further=False)
        if _QUESTION.match(said) and pointed and not _asks(said):
            self.wish = replace(before, about=True, items=tuple(dict.fromkeys(pointed)))
        elif kind and not turn.items and not turn.pictures:
            self.wish = replace(before, small_talk=kind)
        elif _NEAREST.search(said) and not subjects(said):
            self.wish = replace(before, nearest=True)
        else:
            further = bool(FURTHER & set(words_of(said))) and not subjects(said) and not pointed
            self.wish = replace(self._merged(before, turn, said, pointed), further=further)
        return self.wish

    def _merged(self, before: Wish, turn: Turn, said: str, pointed: list[str]) -> Wish:
        out, rest = _ruled_out(said)
        words = [word for word in subjects(_without_pointing(rest)) if stem(word) not in {stem(own) for own in out}]
        names = tuple(word for word in naming(_without_pointing(rest)) if word in words)
        if pointed or turn.pictures:
            items = tuple(dict.fromkeys(pointed))
            kept = tuple(word for word in before.ruled_out if stem(word) not in {stem(own) for own in words})
            ruled = (*kept, *out) if before.items else tuple(out)
            return Wish(tuple(words), ruled, items, tuple(turn.pictures), names=names)
        if before.empty or not refines(said, words, out, names):
            return Wish(tuple(words) or tuple(words_of(rest)), tuple(out), names=names)
        kept = [word for word in before.words if stem(word) not in {stem(own) for own in out}]
        if COLOURS & set(words):
            kept = [word for word in kept if word not in COLOURS]
        fresh = [word for word in words if word not in kept]
        ruled = [word for word in before.ruled_out if stem(word) not in {stem(own) for own in words}]
        ruled_out = tuple(dict.fromkeys([*ruled, *out]))
        return replace(before, words=(*fresh, *kept), ruled_out=ruled_out, names=(*names, *before.names))

    def _pointed(self, said: str) -> list[str]:
        """Items that were shown and are spoken of."""
        if not self.shown:
            return []
        places = [int(number) - 1 for number in _NUMBER.findall(said)]
        places += [ORDINALS[word] for word in _ORDINAL.findall(said)]
        found = [self.shown[n] for n in places if -1 <= n < len(self.shown)]
        if found:
            return found
        described = [
            own for own in _DESCRIBED.findall(said) if subjects(own) and not set(words_of(own)) & set(ORDINALS)
        ]
        if described:
            return [self.nearest(own, self.shown) for own in described]
        like = _LIKE.search(said) or (_QUESTION.match(said) and POINTING & set(words_of(said)))
        if not like:
            return []
        many = {"these", "those", "them"} & set(words_of(said))
        return list(self.shown) if many else self.shown[:1]


def refines(said: str, words: Sequence[str], ruled_out: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a turn goes on with the wish before it; "for the other table, mushrooms" names a new one."""
    if any(phrase in said for phrase in LEAVING) and len([w for w in words if w not in MODIFIERS]) > 0:
        return False
    if ruled_out or all(word in MODIFIERS for word in words):
        return True
    spoken = words_of(said)
    first = next((word for word in spoken if word not in FILLING), "")
    if first in PREPOSITIONS and any(word not in MODIFIERS for word in names):
        return "ones" in spoken
    return first in REFINING or "ones" in spoken or ("one" in spoken and not _asks(said))


def _asks(said: str) -> bool:
    return bool(ASKING & set(words_of(said)))


def _ruled_out(said: str) -> tuple[list[str], str]:
    """Words that are ruled out, and the turn without those phrases."""
    out = [word for phrase in _RULED_OUT.findall(said) for word in subjects(phrase)]
    return list(dict.fromkeys(out)), (_RULED_OUT.sub(" ", said) if out else said)


def _without_pointing(said: str) -> str:
    return _DESCRIBED.sub(" ", _ORDINAL.sub(" ", _NUMBER.sub(" ", said)))
