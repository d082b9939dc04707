"""Takes out of a text the words that would give the answer away.

Where a board is "uploader x keyword", a text that names the keyword, the uploader or the folder of a file makes board
completion a reading test. `without` removes whole words only, in any case, accent and simple English number (flag,
flags; berry, berries), with underscores and hyphens read as spaces. Mail and web addresses go too: they name people.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W\d_]+|\d+")
_ADDRESS = re.compile(r"\S+@\S+|https?://\S+|www\.\S+", re.IGNORECASE)
_SMALL = {"and", "the", "of"}
_MIN_LETTERS = 3

Term = tuple[frozenset[str], ...]


def term(phrase: str) -> Term:
    """A phrase as its words, each as the set of its forms."""
    return tuple(_forms(word) for word in _WORD.findall(phrase))


def phrase_and_words(phrase: str) -> list[Term]:
    """The whole phrase and each of its words of three letters or more (not and, the, of)."""
    words = [word for word in _WORD.findall(phrase) if len(word) >= _MIN_LETTERS and word.lower() not in _SMALL]
    return [term(phrase), *(term(word) for word in words)]


def without(text: str, terms: Iterable[Term]) -> str:
    """`text` without any of `terms`, tidied. Runs until nothing is left to remove: a removal can join two words."""
    text = _ADDRESS.sub(" ", text)
    text = re.sub(r"[_\-\u2010-\u2015]+", " ", text)
    wanted = sorted({t for t in terms if t}, key=len, reverse=True)
    while True:
        found = list(_WORD.finditer(text))
        hits = _hits([_forms(match.group()) for match in found], wanted)
        if not hits:
            return _tidy(text)
        for index in sorted(hits, reverse=True):
            text = text[: found[index].start()] + " " + text[found[index].end() :]


def _hits(words: Sequence[frozenset[str]], terms: Sequence[Term]) -> set[int]:
    """Positions of the words that belong to an occurrence of a term."""
    hits: set[int] = set()
    for t in terms:
        for start in range(len(words) - len(t) + 1):
            if all(words[start + i] & forms for i, forms in enumerate(t)):
                hits.update(range(start, start + len(t)))
    return hits


def stem(phrase: str) -> str:
    """What the spellings of a phrase have in common: case, accents, simple English number and how words are joined gone.

    A name for comparing, no word: house and houses give "hous", so that buses and bus can meet.
    """
    return "".join(_stem(_folded(word)) for word in _WORD.findall(phrase))


def _stem(word: str) -> str:
    if len(word) >= 4 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if len(word) >= 4 and word.endswith("ie"):
        return word[:-2] + "y"
    return word[:-1] if len(word) >= 4 and word.endswith(("se", "xe", "ze", "che", "she", "oe")) else word


def _folded(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))


def _forms(word: str) -> frozenset[str]:
    """The word folded (case, accents) and its possible singulars; two words match when they share a form."""
    folded = _folded(word)
    forms = {folded}
    if len(folded) >= 4 and folded.endswith("s") and not folded.endswith("ss"):
        forms.add(folded[:-1])
    if len(folded) >= 5 and folded.endswith("es"):
        forms.add(folded[:-2])
    if len(folded) >= 5 and folded.endswith("ies"):
        forms.add(folded[:-3] + "y")
    return frozenset(forms)


def _tidy(text: str) -> str:
    """Close the gaps: no empty brackets, no space before a stop, no stray punctuation at the ends."""
    text = re.sub(r"\(\s*\W*\s*\)|\[\s*\W*\s*\]|\"\s*\"", " ", text)
    text = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(text.split()))
    text = re.sub(r"([,.;:!?])[,.;:!?]+", r"\1", text)
    return text.strip(" ,;:.!?/&'\"")
