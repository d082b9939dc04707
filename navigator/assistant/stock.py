"""What the catalogue has words for, and from which cosine on a word it lacks may still be meant by something in it.

A wish is refused when two things hold: no item carries the weight of the words that name what is wanted, in title, keywords
or description, and no item is near to them. What it is for and what goes with it is not judged; of a wish that names nothing
and only describes, it is enough that some item carries one word. How near is near is measured when the catalogue is opened,
without labels: the model's vocabulary holds thousands of words that occur nowhere in the catalogue, and few of them are what
it shows. The threshold is the cosine to the nearest item that only one in FOREIGN of them reaches.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from navigator.assistant.english import MODIFIERS, PASSING, stem, words_of
from navigator.contracts import Catalog, ItemVectors
from navigator.metrics import nearest
from navigator.retrieve import content_part
from navigator.texts import TextVectors

FOREIGN = 40
SAMPLE = 512  # foreign words that are asked with
FEWEST = 64  # of which a share of one in FOREIGN can be told
ENOUGH = 0.5  # of the weight of a wish's names, more than which one item must carry
MODIFIER = 0.2  # weight of a colour or size beside what has it
_SEED = 7


@dataclass(frozen=True)
class Stock:
    """Attributes:
    rows: stem -> rows of the store whose items have a word of it.
    items: how many items there are.
    near: the threshold; None where it could not be measured: nothing is then refused that has no words against it.
    """

    rows: dict[str, np.ndarray]
    items: int
    near: float | None

    @classmethod
    def of(cls, catalog: Catalog, store: ItemVectors, reads: TextVectors | None, tokenizer: Any) -> "Stock":
        """Read the catalogue's words, and measure the threshold if words can be read."""
        rows = words_by_row(catalog, store)
        near = None if reads is None else threshold(store, reads, foreign_words(tokenizer, rows))
        return cls(rows, len(store.ids), near)

    def weight(self, word: str) -> float:
        """log of items / (items with the word); a word that no item has weighs most. A mere colour or size says little."""
        rarity = math.log1p(self.items / (1 + len(self.rows.get(stem(word), ()))))
        return rarity * (MODIFIER if word in MODIFIERS else 1.0)

    def matches(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Rows that have one of the words, and the share of the words' weight that each has; both (m,), best first."""
        stems = {stem(word): self.weight(word) for word in words}
        found = np.concatenate([self.rows.get(one, np.zeros(0, np.int64)) for one in stems] or [np.zeros(0, np.int64)])
        weights = [np.full(len(self.rows.get(one, ())), weight) for one, weight in stems.items()]
        distinct, inverse = np.unique(found, return_inverse=True)
        share = np.bincount(inverse, np.concatenate([*weights, np.zeros(0)]), minlength=len(distinct))
        share = share / max(sum(stems.values()), 1e-12)
        order = np.argsort(-share, kind="stable")
        return distinct[order], share[order]

    def lacks(self, named: Sequence[str], heads: Sequence[str], cosine: float) -> bool:
        """Whether nothing fits a wish that names `named`, all of whose words are `heads`; `cosine` is of the nearest item."""
        if not heads or self.near is None or cosine >= self.near:
            return False
        _, share = self.matches(named or heads)
        return not len(share) or bool(named and share[0] <= ENOUGH)


def words_by_row(catalog: Catalog, store: ItemVectors) -> dict[str, np.ndarray]:
    """Stem -> rows of the store whose items have a word of it in title, description or keywords."""
    found: dict[str, list[int]] = {}
    for batch in catalog.batches(["item_id", "title", "description", "keywords"], 4096):
        for item in batch.to_pylist():
            row = store.index.get(item["item_id"])
            if row is None:
                continue
            text = " ".join([item["title"] or "", item["description"] or "", *(item["keywords"] or ())])
            for word in {stem(own) for own in words_of(re.sub(r"[_\-]|(?<=[a-z])(?=[A-Z0-9])", " ", text))}:
                found.setdefault(word, []).append(row)
    return {word: np.array(sorted(rows), np.int64) for word, rows in found.items()}


def foreign_words(tokenizer: Any, known: dict[str, np.ndarray]) -> list[str]:
    """At most SAMPLE whole words of the model's vocabulary that the catalogue has not, the same ones each time."""
    whole = sorted({token[1:] for token in tokenizer.get_vocab() if re.fullmatch(r"[Ġ▁][a-z]{4,}", token)})
    foreign = [word for word in whole if stem(word) not in known and word not in PASSING | MODIFIERS]
    chosen = np.random.default_rng(_SEED).permutation(len(foreign))[:SAMPLE]
    return [foreign[n] for n in sorted(chosen)]


def threshold(store: ItemVectors, reads: TextVectors, foreign: Sequence[str]) -> float | None:
    """The cosine to the nearest item that one in FOREIGN of these words reaches; None for too few words."""
    if len(foreign) < FEWEST:
        return None
    read = np.concatenate([reads(foreign[n : n + 64])[:, : store.content_dim] for n in range(0, len(foreign), 64)])
    unit = read / np.maximum(np.linalg.norm(read, axis=1, keepdims=True), 1e-12)
    items = content_part(store, np.arange(len(store.ids)))
    best = (unit * items[nearest(unit, items, 1)[:, 0]]).sum(1)
    return float(np.quantile(best, 1 - 1 / FOREIGN))
