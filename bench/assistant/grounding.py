"""Which items an answer names, read from its words alone: ids, names set off from the text, and titles of several words.

A name is set off by quotation marks, **bold**, `code`, a [link], as the head of a list line or by a number in brackets before
it; the number itself, [2], stands for the second item shown. In running text a title counts only when it has two words or more
and the user did not say it: openclipart has items called "flower" and "house", and "here is a flower" names none of them. A
name set off that no item has is invented, unless all its words are the user's; so is the number of an item that is not there.
Where nothing is shown, what is set off in the user's own words is taken to be theirs ("nothing fits “balloons”").
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_SET_OFF = re.compile(
    r'"([^"\n]+)"|“([^”\n]+)”|„([^“”\n]+)[“”]|«([^»\n]+)»|\*\*([^*\n]+)\*\*|`([^`\n]+)`|\[([^\]\n]+)\]'
)
_LINE = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+(.+)$", re.MULTILINE)
_NUMBERED = re.compile(r"\[\d+\]\s*([^\[\n]+)")
_WORD = re.compile(r"[^\W_]+(?:['’.\-][^\W_]+)*")  # noqa: RUF001
_ID = re.compile(r"[\w.:/#-]+")
_LONGEST = 12  # words of a name; what is longer between quotation marks is a sentence


@dataclass(frozen=True)
class Named:
    """What an answer names.

    Attributes:
        allowed: names of items that it may name; elsewhere: of other items of the catalogue; invented: of none.
    """

    allowed: tuple[str, ...]
    elsewhere: tuple[str, ...]
    invented: tuple[str, ...]

    @property
    def grounded(self) -> bool:
        """Whether it names nothing but what it may; an answer that names nothing is grounded."""
        return not self.elsewhere and not self.invented


class Titles:
    """The catalogue's titles, many of which several items share."""

    def __init__(self, titles: Mapping[str, str]):
        self.items: dict[str, set[str]] = {}
        self.ids = frozenset(titles)
        for item, title in titles.items():
            if words(title):
                self.items.setdefault(words(title), set()).add(item)
        self.longest = max((len(title.split()) for title in self.items), default=0)

    def named(self, text: str, allowed: Collection[str], said: str, shown: int = 0) -> Named:
        """What a text names.

        Args:
            text: of an answer.
            allowed: items that it may name.
            said: the user's words so far.
            shown: how many items it shows.
        """
        found: dict[str, list[str]] = {"allowed": [], "elsewhere": [], "invented": []}
        may = set(allowed)
        for token in _ID.findall(text):
            item = next((own for own in (token, token.strip(".:/#-")) if own in self.ids), None)
            if item is not None:
                found["allowed" if item in may else "elsewhere"].append(item)
        heard = f" {words(said)} "
        theirs = {*heard.split(), *re.split(r"[\W_]+", said.casefold())}  # "Coca-Cola" is also two words
        for name, must_exist in self._names(text):
            owners, theirs_alone = self.items.get(name), not shown and f" {name} " in heard
            if must_exist and name.isdecimal() and f"[{name}]" in text:
                found["allowed" if 0 < int(name) <= shown else "invented"].append(f"[{name}]")
            elif owners and not theirs_alone:
                found["allowed" if owners & may else "elsewhere"].append(name)
            elif not owners and must_exist and name not in self.ids and not set(name.split()) <= theirs:
                found["invented"].append(name)
        for name in self._running(_SET_OFF.sub(" | ", text), heard):
            found["allowed" if self.items[name] & may else "elsewhere"].append(name)
        return Named(*(tuple(dict.fromkeys(names)) for names in found.values()))

    def _names(self, text: str) -> Iterator[tuple[str, bool]]:
        """Names that are set off, and whether an item must have them (a line of a list may be no name at all)."""
        for match in _SET_OFF.finditer(text):
            name = words(next(group for group in match.groups() if group is not None))
            if 0 < len(name.split()) <= _LONGEST:
                yield name, True
        for match in [*_LINE.finditer(text), *_NUMBERED.finditer(text)]:
            head = words(match[1]).split()
            name = next((n for k in range(len(head), 0, -1) if (n := " ".join(head[:k])) in self.items), None)
            if name is not None and not _SET_OFF.match(match[1]):
                yield name, False

    def _running(self, text: str, heard: str) -> Iterator[str]:
        """Titles of two words and more, longest first, each word used once; a "|" ends every name."""
        for piece in text.split("|"):
            heads, at = words(piece).split(), 0
            while at < len(heads):
                spans = range(min(self.longest, len(heads) - at), 1, -1)
                name = next((n for k in spans if (n := " ".join(heads[at : at + k])) in self.items), None)
                if name is not None and f" {name} " not in heard:
                    yield name
                at += 1 if name is None else len(name.split())


def words(text: str) -> str:
    """Words in lower case with one space between; punctuation around them is gone."""
    return " ".join(_WORD.findall(text.casefold()))
