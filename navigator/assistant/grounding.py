"""The check of an answer: a sentence stays only if it names nothing but what was retrieved.

What counts as a name: a number in brackets and what is written right behind it, words in quotation marks, the title of any
item of the catalogue that has two words or more, wherever it stands, and a figure, or a word with a capital letter inside a
sentence, that neither the titles found nor the user wrote. Plain words are no name ("a flag" may be said of anything).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from navigator.assistant.english import PASSING, words_of

_END = re.compile(r"(?<=[.!?])[\"”']?\s+|\n+")
_NUMBER = re.compile(r"\[\s*(\d+)\s*\]|\bnumber (\d+)\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“«]([^\"”»]{2,80})[\"”»]|(?<!\w)'([^']{2,80})'(?!\w)")
_BEHIND = re.compile(r"\[\s*(\d+)\s*\]\s*([^\[\],.;:!?\n]*)")
_CAPITAL = re.compile(r"(?<=[^\s.!?:\"“\[\]])\s+[\"“'(]?([A-Z][\w']*)")
_FIGURE = re.compile(r"\b\w*\d\w*\b")
_LIST = re.compile(r"(?m)^\s*(?:[-*]\s*)?(\d{1,2})[.)]\s+")
_VERBS = frozenset(
    "is are does do and or to fit fits look looks show shows would could can has have which because was were for by with seems "
    "match matches as".split()
)
LONGEST_TITLE = 8  # words of a title that are looked for


@dataclass(frozen=True)
class Found:
    """What was retrieved, ids and titles in the order of their numbers, from 1; and what the user wrote."""

    items: tuple[str, ...]
    titles: tuple[str, ...]
    asked: str = ""


class Titles:
    """Finds titles of the catalogue in a text, by their words in a row."""

    def __init__(self, titles: Iterable[str]):
        keys = (tuple(words_of(title))[:LONGEST_TITLE] for title in titles)
        self._keys = {
            key for key in keys if len(key) > 1 and not set(key) <= PASSING and not all(k.isdigit() for k in key)
        }
        self._lengths = sorted({len(key) for key in self._keys}, reverse=True)

    def named(self, text: str) -> list[tuple[str, ...]]:
        """Titles in the text, as words; where one lies within another only the longer one."""
        words, found, n = words_of(text), [], 0
        while n < len(words):
            length = next((size for size in self._lengths if tuple(words[n : n + size]) in self._keys), 0)
            if length:
                found.append(tuple(words[n : n + length]))
            n += length or 1
        return found


def plain(text: str) -> str:
    """A text whose lists are numbered as the items are, "1." at the begin of a line is [1], and stand in one sentence."""
    text = _LIST.sub(r"[\1] ", text)
    return re.sub(r"(?<=[^\s.!?:,])\s*\n+\s*(?=\[)", ", ", re.sub(r":\s*\n+\s*", ": ", text))


def sentences(text: str) -> list[str]:
    """A text's sentences, each with its end."""
    return [part.strip() for part in _END.split(text) if part and part.strip()]


def strays(sentence: str, found: Found, titles: Titles) -> list[str]:
    """What a sentence names that was not retrieved."""
    own = {tuple(words_of(title))[:LONGEST_TITLE] for title in found.titles}
    numbers = [one or two for one, two in _NUMBER.findall(sentence)]
    wrong = [f"[{number}]" for number in numbers if not 1 <= int(number) <= len(found.items)]
    quoted = [one or two for one, two in _QUOTED.findall(sentence)]
    wrong += [words for words in quoted if tuple(words_of(words))[:LONGEST_TITLE] not in own]
    wrong += [" ".join(words) for words in titles.named(sentence) if not any(_within(words, title) for title in own)]
    wrong += [behind.strip() for number, behind in _BEHIND.findall(sentence) if _misnamed(int(number), behind, found)]
    known = {word for text in (*found.titles, found.asked) for word in words_of(text)} | {
        "i",
        "i'm",
        "i'd",
        "i'll",
        "i've",
    }
    stated = [*_CAPITAL.findall(sentence), *_FIGURE.findall(_NUMBER.sub(" ", sentence))]
    return wrong + [word for word in stated if not set(words_of(word)) <= known]


def named(text: str, found: Found) -> list[str]:
    """Ids of the retrieved items that a text names, by number or title."""
    numbers = {int(one or two) for one, two in _NUMBER.findall(text)}
    words = words_of(text)
    said = []
    for n, (item, title) in enumerate(zip(found.items, found.titles, strict=True), 1):
        key = tuple(words_of(title))
        if n in numbers or (key and _within(key, tuple(words))):
            said.append(item)
    return said


def degenerate(text: str) -> bool:
    """Whether a text says the same again and again, or nothing."""
    words = words_of(text)
    return not words or (len(words) >= 8 and len(set(words)) < 0.5 * len(words))


def _misnamed(number: int, behind: str, found: Found) -> bool:
    """Whether words right behind a number are another name than its item's."""
    words = words_of(behind)
    if not words or words[0] in _VERBS or not 1 <= number <= len(found.titles):
        return False
    title = words_of(found.titles[number - 1])
    return words[: len(title)] != title and title[: len(words)] != words  # a title's own comma or point ends it early


def _within(words: Sequence[str], longer: Sequence[str]) -> bool:
    size = len(words)
    return any(tuple(longer[n : n + size]) == tuple(words) for n in range(len(longer) - size + 1))
