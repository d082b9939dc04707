"""Plain English that is in no catalogue: prose of Python's own language reference, which ships inside Python.

The paragraphs differ between Python versions, so a report carries their digest. A backbone has most likely read them when it
was pretrained: what counts is the difference between two models, not the figure itself.
"""

import re
from pydoc_data.topics import topics

import numpy as np

from navigator.contracts.manifest import digest

_CHARACTERS = 200, 800  # of a paragraph: long enough for context, short enough for a batch
_NOT_PROSE = re.compile(
    r"\s|[*•-] |[*=~^-]{3,}$|\d+\. |\[\d|\.\. |\|"
)  # how a line of code, a list, a title or a note starts
_EMPHASIS = re.compile(r"(?<![\w*\"])\*{1,2}(\w[^*\"]*?)\*{1,2}(?![\w*\"])")


def plain_paragraphs(count: int, seed: int) -> list[str]:
    """A seeded choice of `count` paragraphs of prose (all there are, should there be fewer)."""
    found = sorted({text for topic in topics.values() for text in _prose(topic)})
    chosen = np.random.default_rng([seed, 17]).permutation(len(found))[:count]
    return [found[i] for i in chosen]


def plain_digest(paragraphs: list[str]) -> str:
    """What names a sample: two runs with equal digests asked the same text."""
    return digest(paragraphs)


def _prose(topic: str) -> list[str]:
    """The paragraphs of a topic without code, grammar, lists, titles and the marks of reStructuredText."""
    kept = []
    for block in re.split(r"\n\s*\n", topic):
        lines = block.strip("\n").split("\n")
        if any(_NOT_PROSE.match(line) for line in lines):
            continue
        text = _EMPHASIS.sub(r"\1", " ".join(" ".join(lines).split()))
        if _CHARACTERS[0] <= len(text) <= _CHARACTERS[1] and text.endswith(".") and "::" not in text:
            kept.append(text)
    return kept
