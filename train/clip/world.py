"""What tuning reads: the catalogue's parts by row, and what the taste graph knows of its items."""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from encoders.fusion import PARTS
from graph.store import TasteGraph
from navigator.contracts import Catalog, UserError
from navigator.contracts.catalog import held_out
from navigator.contracts.signals import TasteSequence, board_titles
from train.clip.pictures import PictureSource
from train.clip.words import Words

VALID = "valid-v1"


@dataclass(frozen=True)
class Taste:
    """What the taste graph says of the items; empty without a graph.

    Attributes:
        indptr: (n + 1,) where each item's neighbours begin.
        neighbours: item indices of the neighbours.
        visits: their visit counts.
        boards: (n, boards) 0/1, training saves of boards.
        negatives: (n, m) hard negatives, -1 padding.
        sequences: seen owners; held-out saves are in `valid` and `test`.
        unseen: boards of owners that training never saw.
    """

    indptr: np.ndarray
    neighbours: np.ndarray
    visits: np.ndarray
    boards: sp.csr_array
    negatives: np.ndarray
    sequences: list[TasteSequence] = field(default_factory=list)
    unseen: list[TasteSequence] = field(default_factory=list)

    @classmethod
    def of(cls, taste_graph: TasteGraph | None, n: int, kept: np.ndarray) -> "Taste":
        """Pairs and negatives among the `kept` (n,) bool items alone."""
        if taste_graph is None:
            nothing = np.zeros(0, np.int64)
            return cls(np.zeros(n + 1, np.int64), nothing, nothing, sp.csr_array((n, 1)), np.full((n, 1), -1))
        pairs = taste_graph.pairs
        pairs = pairs[kept[pairs[:, 0]] & kept[pairs[:, 1]]]
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=n))])
        held = [(i, b) for b, s in enumerate(taste_graph.sequences) for i in s.items]
        rows, columns = np.array(held, np.int64).reshape(-1, 2).T
        shape = (n, max(len(taste_graph.sequences), 1))
        boards = sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
        negatives = taste_graph.hard_negatives
        negatives = np.where((negatives >= 0) & kept[np.maximum(negatives, 0)], negatives, -1)
        return cls(indptr, pairs[:, 1], pairs[:, 2], boards, negatives, taste_graph.sequences, taste_graph.unseen)

    def together(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(r, c) bool: one item, or two that share a training board (or a user's log)."""
        shared = (self.boards[rows] @ self.boards[columns].T).toarray() > 0
        return shared | (rows[:, None] == columns[None])


@dataclass(frozen=True)
class ClipWorld:
    """Everything a batch is drawn from.

    Attributes:
        pictures: by item row.
        words: item texts (n), then distinct board titles, then captions (n, only when the catalogue has them).
        has: (n, M) bool in the order of encoders.fusion.PARTS.
        titles: title numbers of each item, 0 being the first distinct title.
        text_ids: (n,) equal numbers for equal texts.
        train: (t,) rows that training may see.
        valid: (v,) rows for choosing the best step where no graph does it.
        taste: see Taste.
    """

    pictures: PictureSource
    words: Words
    has: np.ndarray
    titles: list[np.ndarray]
    text_ids: np.ndarray
    train: np.ndarray
    valid: np.ndarray
    taste: Taste

    @property
    def n(self) -> int:
        return len(self.has)


@dataclass(frozen=True)
class Texts:
    """The words of a catalogue: item texts, distinct titles, captions (empty when there are none)."""

    items: list[str]
    titles: list[str]
    of_item: list[np.ndarray]
    captions: list[str]

    @classmethod
    def of(cls, catalog: Catalog, sequences: list[TasteSequence]) -> "Texts":
        """Titles are those of training boards; nothing held out is among an item's."""
        columns = catalog.table("items", ["text"])["text"].to_pylist()
        titles = board_titles(sequences, len(columns))
        names = sorted({title for own in titles for title in own})
        index = {name: i for i, name in enumerate(names)}
        of_item = [np.array([index[title] for title in own], np.int64) for own in titles]
        captions: list[str] = []
        if "caption" in catalog.columns("items"):
            captions = [text or "" for text in catalog.table("items", ["caption"])["caption"].to_pylist()]
        return cls([text or "" for text in columns], names, of_item, captions)

    @property
    def all(self) -> list[str]:
        return [*self.items, *self.titles, *self.captions]


def parts_present(texts: Texts, has_picture: np.ndarray) -> np.ndarray:
    """(n, M) bool, in the order of PARTS."""
    has = np.zeros((len(has_picture), len(PARTS)), bool)
    has[:, 0] = has_picture
    has[:, 1] = [bool(text.strip()) for text in texts.items]
    has[:, 2] = [len(own) > 0 for own in texts.of_item]
    if texts.captions:
        has[:, 3] = [bool(text.strip()) for text in texts.captions]
    return has


def split_items(
    catalog: Catalog, taste_graph: TasteGraph | None, holdout: float, valid: float
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool twice: items that training may see, and items for validation where no graph does it.

    Neither holds an item that is held out by its id, nor one that only boards of unseen owners hold.

    Raises:
        UserError: nothing is left to train on, or a share outside 0..1.
    """
    ids = catalog.item_ids
    train = ~held_out(ids, holdout)
    chosen = np.zeros(len(ids), bool)
    if taste_graph is None:
        chosen = train & held_out(ids, valid, VALID)
        train &= ~chosen
    else:
        seen = {i for s in taste_graph.sequences for i in s.items}
        unseen = {i for s in taste_graph.unseen for i in (*s.items, *s.valid, *s.test)}
        train[sorted(unseen - seen)] = False
    if train.sum() < 2:
        raise UserError(f"{int(train.sum())} items are left to train on; lower --holdout or --valid")
    return train, chosen
