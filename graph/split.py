"""The split, made before anything else sees the saves.

Everything this project learns from the taste graph is derived from the TRAIN part that this file cuts off, so a
held-out save cannot leak by a later mistake. Boards hold out one seeded item (board completion); users hold out their
last item, or everything after a moment in time (next item). An item held out of one board may stay in another: that
is what the graph legitimately knows. Boards with identical item sets are merged first, or the twin would give the
answer away.

Everything here works on a block of whole owners, so that a graph larger than memory is split block by block; only twins
need a word about all boards at once, and that is two hashes a board.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.ordering import set_hashes
from graph.relation import UNKNOWN_TIME
from graph.saves import Saves, distinct, in_user_order
from navigator.contracts import UserError
from navigator.contracts.signals import Task, TasteSequence, owner_rng

TRAIN, VALID, TEST = 0, 1, 2
OUT = -1  # no part of training: a board's twin, a board of an unseen owner
MIN_TRAIN_USER = 2  # saves that a user with a validation item keeps
UserSplit = Literal["leave-last-out", "global-time", "given"]


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


def split_users(
    saves: Saves,
    seed: int = 0,
    valid_fraction: float = 0.2,
    user_split: UserSplit = "leave-last-out",
    cut: int | None = None,
    given: Saves | None = None,
    last: int = 1,
) -> Split:
    """Hold out what users saved last; see graph.saves.in_user_order for their order.

    ``leave-last-out``: the `last` saves are the test; users with no more than these hold out nothing, so that every
    request asks for equally many. For a seeded `valid_fraction` of the users who keep two saves after that, the `last`
    before them are the validation items, which ask the same kind of question.
    ``global-time``: every save after `cut` (see `time_cut`) is the test. ``given``: the saves of `given` that are not
    among `saves` are. Under both a seeded `valid_fraction` of the users with 4 saves left has its last one as the
    validation item; under ``given`` without times, where nothing is last, a seeded one.
    Of a repeated (user, item) the first counts.

    Raises:
        UserError: valid_fraction outside 0..1, last below 1, or unknown times under global-time.
    """
    saves, again = in_user_order(saves)
    given = None if given is None else in_user_order(given)[0]
    split = split_ordered_users(saves, seed, valid_fraction, user_split, cut, given, last)
    return Split(split.saves, split.part, split.counts | {"user_saves_repeated": len(again.owner)})


def split_ordered_users(
    saves: Saves, seed: int, valid_fraction: float, user_split: UserSplit, cut: int | None, given: Saves | None,
    last: int = 1,
) -> Split:  # fmt: skip
    """`split_users` of saves that are distinct and in order already (ordering them twice could change the order)."""
    check_fraction(valid_fraction)
    check_last(last, user_split)
    if user_split == "global-time" and cut is None:
        raise ValueError("global-time needs the cut: time_cut(at, quantile)")
    counts = {}
    part = np.full(len(saves.owner), TRAIN, np.int8)
    if user_split == "global-time":
        part[saves.at > cut] = TEST
    if given is not None:
        saves, part, seen = _with_given(saves, given)
        counts["test_saves_seen_in_training"] = seen
    _, bounds = saves.by_owner
    sizes = np.diff(bounds)
    if user_split == "leave-last-out":
        from_end = bounds[1:][saves.owner] - np.arange(len(saves.owner))
        part[(from_end <= last) & (sizes > last)[saves.owner]] = TEST
    trained = np.bincount(saves.owner[part == TRAIN], minlength=len(saves.ids))
    tested = sizes > last if user_split == "leave-last-out" else np.ones(len(saves.ids), bool)
    enough = tested & (trained >= MIN_TRAIN_USER + (last if user_split == "leave-last-out" else 2))
    end = bounds[:-1] + trained  # training saves come first in a sequence
    timeless = user_split == "given" and bool((saves.at == UNKNOWN_TIME).all())
    for user in np.flatnonzero(enough).tolist() if valid_fraction else ():
        chance = owner_rng(seed, saves.ids[user])
        if chance.random() < valid_fraction:
            first = int(bounds[user] + chance.integers(trained[user])) if timeless else int(end[user]) - last
            part[first : first + last] = VALID
    return Split(saves, part, counted("users", saves, part) | counts)


def _with_given(saves: Saves, given: Saves) -> tuple[Saves, np.ndarray, int]:
    """Training saves, then test saves of each user; and how many test saves training has too, which are left out."""
    width = int(max(saves.item.max(initial=0), given.item.max(initial=0))) + 1
    keys, asked = (s.owner.astype(np.int64) * width + s.item for s in (saves, given))
    new = ~np.isin(asked, keys)
    test = given.rows(new)
    owner = np.concatenate([saves.owner, test.owner])
    order = np.argsort(owner, kind="stable")
    part = np.concatenate([np.full(len(saves.owner), TRAIN, np.int8), np.full(len(test.owner), TEST, np.int8)])
    weight = None if saves.weight is None else np.concatenate([saves.weight, np.ones(len(test.owner), np.float32)])
    joined = Saves(
        saves.ids, owner, np.concatenate([saves.item, test.item]), np.concatenate([saves.at, test.at]), weight=weight
    )
    return joined.rows(order), part[order], int((~new).sum())


def time_cut(at: np.ndarray, quantile: float) -> int:
    """The time (seconds) at a quantile of the saves' times: up to it all is known, after it is the future.

    Raises:
        UserError: a save without a time, no save at all, or a quantile outside 0..1.
    """
    if not 0 < quantile < 1:
        raise UserError(f"global_quantile is {quantile}; allowed is a number between 0 and 1, such as 0.9")
    unknown = int((at == UNKNOWN_TIME).sum())
    if unknown or not len(at):
        raise UserError(
            f"user_split global-time needs a time on every interaction; {unknown:,} of {len(at):,} have none; "
            "fill in `at` or use --user_split leave-last-out"
        )
    return int(np.quantile(at, quantile, method="lower"))


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


def check_last(last: int, user_split: UserSplit) -> None:
    """Raises UserError: nothing to hold out, or another split, which does not count from the end."""
    if last < 1:
        raise UserError(
            f"last is {last}; allowed are whole numbers from 1, such as 5: how many of a user's saves are held out"
        )
    if last != 1 and user_split != "leave-last-out":
        raise UserError(
            f"last {last} with user_split {user_split}, which says by itself what is held out; leave --last out, or use "
            "--user_split leave-last-out"
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
