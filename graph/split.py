"""The split, made before anything else sees the saves.

Everything this project learns from the taste graph is derived from the TRAIN part that this file cuts off, so a
held-out save cannot leak by a later mistake. Boards hold out one seeded item (board completion); users hold out their
last item, or everything after a moment in time (next item). An item held out of one board may stay in another: that
is what the graph legitimately knows. Boards with identical item sets are merged first, or the twin would give the
answer away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from graph.saves import UNKNOWN_TIME, Saves, distinct, first_of_pairs, groups, id_of, owner_rng
from navigator.contracts import UserError
from navigator.contracts.signals import Task, TasteSequence

TRAIN, VALID, TEST = 0, 1, 2
MIN_VALID_USER = 4
UserSplit = Literal["leave-last-out", "global-time"]


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
    _check_fraction(valid_fraction)
    check_min_board(min_board)
    saves = distinct(saves)
    part = np.full(len(saves.owner), TRAIN, np.int8)
    keep = np.ones(len(part), bool)
    seen: set[bytes] = set()
    merged = 0
    for rows in sorted(groups(saves.owner), key=lambda rows: id_of(saves, rows)):
        items = saves.item[rows].tobytes()
        if items in seen:
            keep[rows] = False
            merged += 1
            continue
        seen.add(items)
        if len(rows) >= min_board:
            chance = owner_rng(seed, id_of(saves, rows))
            test, valid = chance.permutation(len(rows))[:2]
            part[rows[test]] = TEST
            if len(rows) >= min_board + 2 and chance.random() < valid_fraction:
                part[rows[valid]] = VALID
    return _counted("boards", saves.rows(keep), part[keep], {"boards_merged": merged})


def split_users(
    saves: Saves,
    seed: int = 0,
    valid_fraction: float = 0.2,
    user_split: UserSplit = "leave-last-out",
    cut: int | None = None,
) -> Split:
    """Hold out what users saved last; see `user_order` for their order.

    ``leave-last-out``: the last save is the test. ``global-time``: every save after `cut` (see `time_cut`) is. For a
    seeded `valid_fraction` of the users with 4 saves left (leave-last-out: before the test is taken), the last save
    before is the validation item. Of a repeated (user, item) the first save counts.

    Raises:
        UserError: valid_fraction outside 0..1, or unknown times under global-time.
    """
    _check_fraction(valid_fraction)
    if user_split == "global-time" and cut is None:
        raise ValueError("global-time needs the cut: time_cut(saves, quantile)")
    ordered = user_order(saves)
    repeated = len(saves.owner) - len(ordered)
    saves = saves.rows(ordered)
    part = np.full(len(ordered), TRAIN, np.int8)
    if user_split == "global-time":
        part[saves.at > cut] = TEST
    for rows in groups(saves.owner):
        if user_split == "leave-last-out" and len(rows) >= 2:
            part[rows[-1]] = TEST
        train = rows[part[rows] == TRAIN]
        enough = len(rows if user_split == "leave-last-out" else train) >= MIN_VALID_USER
        if enough and valid_fraction and owner_rng(seed, id_of(saves, rows)).random() < valid_fraction:
            part[train[-1]] = VALID
    return _counted("users", saves, part, {"user_saves_repeated": repeated})


def time_cut(saves: Saves, quantile: float) -> int:
    """The time (seconds) at a quantile of the saves: up to and including it is known, after it is the future.

    Raises:
        UserError: a save without a time, no save at all, or a quantile outside 0..1.
    """
    if not 0 < quantile < 1:
        raise UserError(f"global_quantile is {quantile}; allowed is a number between 0 and 1, such as 0.9")
    unknown = int((saves.at == UNKNOWN_TIME).sum())
    if unknown or not len(saves.at):
        raise UserError(
            f"user_split global-time needs a time on every interaction; {unknown:,} of {len(saves.at):,} have none; "
            "fill in `at` or use --user_split leave-last-out"
        )
    return int(np.quantile(saves.at, quantile, method="lower"))


def user_order(saves: Saves) -> np.ndarray:
    """(m,) rows of distinct (user, item), by user, then (time, item); by row for users with an unknown time."""
    timeless = np.zeros(len(saves.ids), bool)
    timeless[saves.owner[saves.at == UNKNOWN_TIME]] = True
    by_row = timeless[saves.owner]
    row = np.arange(len(saves.owner))
    order = np.lexsort((np.where(by_row, row, saves.item), np.where(by_row, 0, saves.at), saves.owner))
    return order[first_of_pairs(saves.owner[order], saves.item[order])]


def sequences_of(task: Task, split: Split, titles: Sequence[str] | None = None) -> list[TasteSequence]:
    """One sequence an owner, in the order of the owners; `titles` by owner position."""
    saves, sequences = split.saves, []
    for rows in groups(saves.owner):
        owner = int(saves.owner[rows[0]])
        items, valid, test = (
            tuple(saves.item[rows[split.part[rows] == part]].tolist()) for part in (TRAIN, VALID, TEST)
        )
        sequences.append(TasteSequence(task, saves.ids[owner], titles[owner] if titles else "", items, valid, test))
    return sequences


def check_min_board(min_board: int) -> None:
    """Raises UserError: a board that cannot both hold out an item and ask with another."""
    if min_board < 2:
        raise UserError(
            f"min_board is {min_board}: a board needs an item to hold out and one to ask with; give 2 or more"
        )


def _check_fraction(valid_fraction: float) -> None:
    if not 0 <= valid_fraction <= 1:
        raise UserError(f"valid_fraction is {valid_fraction}; allowed is a number from 0 to 1")


def _counted(name: str, saves: Saves, part: np.ndarray, extra: dict[str, int]) -> Split:
    counts = {name: len(np.unique(saves.owner)), **extra}
    for label, value in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        counts[f"{name}_{label}_saves"] = int((part == value).sum())
    return Split(saves, part, counts)
