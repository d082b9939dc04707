"""The split, made before anything else sees the saves.

Everything this project learns from the taste graph is derived from the TRAIN part that this file cuts off, so a
held-out save cannot leak by a later mistake. Boards hold out one seeded item (board completion); of users see
graph.user_split. An item held out of one board may stay in another: that
is what the graph legitimately knows. Boards with identical item sets are merged first, or the twin would give the
answer away.

Everything here works on a block of whole owners, so that a graph larger than memory is split block by block; only twins
need a word about all boards at once, and that is two hashes a board.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.ordering import set_hashes
from graph.saves import Saves, distinct
from navigator.contracts import UserError
from navigator.contracts.signals import Task, TasteSequence, owner_rng

TRAIN, VALID, TEST = 0, 1, 2
OUT = -1  # no part of training: a board's twin, a board of an unseen owner


@dataclass(frozen=True)
class Split:
    """Distinct saves, grouped by owner in sequence order, each with its part.

    Attributes:
        saves: the saves kept, sorted by owner, then by the order of the owner's sequence.
        part: (n,) int8, TRAIN, VALID or TEST.
        counts: what was merged, dropped and held out.
    """

    saves: Saves
    part: np.ndarray
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def train(self) -> Saves:
        return self.saves.rows(self.part == TRAIN)


def split_boards(saves: Saves, seed: int = 0, min_board: int = 4, valid_fraction: float = 0.2) -> Split:
    """Hold out one test item of every board with `min_board` distinct items, and one validation item of some.

    A seeded `valid_fraction` of the boards with `min_board + 2` items gives a validation item. Each board's choice
    depends on the seed and its id alone, so it survives reordered rows and added boards. Of boards with the same item
    set the one with the lowest id is kept.

    Raises:
        UserError: min_board below 2 or valid_fraction outside 0..1.
    """
    check_fraction(valid_fraction)
    check_min_board(min_board)
    saves, _ = distinct(saves)
    _, bounds = saves.by_owner
    present = np.diff(bounds) > 0
    first = lowest_of(twin_groups(set_hashes(bounds, saves.item.astype(np.int64)), present), pa.array(saves.ids))
    merged = int((present & ~first).sum())
    saves = saves.rows(first[saves.owner])
    part = hold_out(saves, seed, min_board, valid_fraction)
    return Split(saves, part, counted("boards", saves, part) | {"boards_merged": merged})


def hold_out(saves: Saves, seed: int, min_board: int, valid_fraction: float) -> np.ndarray:
    """(n,) int8 parts of the distinct saves of boards, see `split_boards`; a Python step only where a board draws."""
    _, bounds = saves.by_owner
    sizes = np.diff(bounds)
    part = np.full(len(saves.owner), TRAIN, np.int8)
    for board in np.flatnonzero(sizes >= min_board).tolist():
        chance, size, start = owner_rng(seed, saves.ids[board]), int(sizes[board]), int(bounds[board])
        test, valid = chance.permutation(size)[:2]
        part[start + test] = TEST
        if size >= min_board + 2 and chance.random() < valid_fraction:
            part[start + valid] = VALID
    return part


def twin_groups(hashes: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(n,) int64: boards of the same number have the same items; -1 for boards that are not `present`.

    Args:
        hashes: (n, 2) from graph.ordering.set_hashes.
        present: (n,) bool, boards with any item.
    """
    group = np.full(len(hashes), -1, np.int64)
    rows = np.flatnonzero(present)
    order = rows[np.lexsort((hashes[rows, 1], hashes[rows, 0]))]
    new = (hashes[order[1:]] != hashes[order[:-1]]).any(axis=1)
    group[order] = np.concatenate([[0], np.cumsum(new)])[: len(order)]
    return group


def lowest_of(group: np.ndarray, ids: pa.Array, among: np.ndarray | None = None) -> np.ndarray:
    """(n,) bool: the board of each group with the lowest id, of those `among` which it is sought."""
    out = (group >= 0) if among is None else (group >= 0) & among
    sizes = np.bincount(group[out], minlength=1)
    shared = np.flatnonzero(out)[sizes[group[out]] > 1]
    if len(shared):
        rank = np.empty(len(shared), np.int64)
        rank[pc.call_function("sort_indices", [ids.take(pa.array(shared))]).to_numpy()] = np.arange(len(shared))
        order = np.lexsort((rank, group[shared]))
        later = np.concatenate([[False], np.diff(group[shared][order]) == 0])
        out[shared[order[later]]] = False
    return out


def sequences_of(task: Task, split: Split, titles: Sequence[str] | None = None) -> list[TasteSequence]:
    """One sequence an owner, in the order of the owners; `titles` by owner position. For small splits."""
    saves, bounds = split.saves.by_owner
    sequences = []
    for owner in np.flatnonzero(np.diff(bounds)).tolist():
        rows = slice(int(bounds[owner]), int(bounds[owner + 1]))
        items, valid, test = (
            tuple(saves.item[rows][split.part[rows] == part].tolist()) for part in (TRAIN, VALID, TEST)
        )
        sequences.append(TasteSequence(task, saves.ids[owner], titles[owner] if titles else "", items, valid, test))
    return sequences


def check_min_board(min_board: int) -> None:
    """Raises UserError: a board that cannot both hold out an item and ask with another."""
    if min_board < 2:
        raise UserError(
            f"min_board is {min_board}: a board needs an item to hold out and one to ask with; give 2 or more"
        )


def check_fraction(valid_fraction: float) -> None:
    """Raises UserError: no share."""
    if not 0 <= valid_fraction <= 1:
        raise UserError(f"valid_fraction is {valid_fraction}; allowed is a number from 0 to 1")


def counted(name: str, saves: Saves, part: np.ndarray) -> dict[str, int]:
    """How many owners there are and how many of their saves are in each part."""
    counts = {name: len(np.unique(saves.owner))}
    for label, value in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        counts[f"{name}_{label}_saves"] = int((part == value).sum())
    return counts
