"""Boards of which training knows nothing, for measuring on the boards of people or of topics it has not met.

Either a fixed share of the board owners, by a hash of their ids and no seed, or what the catalogue's boards say of
themselves in their column `part` (valid and test are unseen) is cut away before anything else sees the saves: none of
these boards is in the sequences, the edges, the interests or any signal. A graph built so is, file by file, the graph of
a catalogue that never had them; what was cut away is written beside it. Only boards are cut: a user's interactions stay,
even where the user and an unseen owner are the same person.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from graph.ordering import set_hashes
from graph.saves import Saves, distinct
from graph.split import TEST, TRAIN, VALID, Split, check_min_board, lowest_of, twin_groups
from navigator.contracts import UserError
from navigator.contracts.catalog import BOARD_PARTS
from navigator.contracts.signals import owner_rng

SALT = "unseen-owners-v1"


def owner_parts(owners: Sequence[str], test_share: float, valid_share: float) -> np.ndarray:
    """(n,) int8: TEST, VALID or TRAIN for each owner id, by the id alone. More validation leaves the test owners as they are.

    Raises:
        UserError: a share outside 0..1, or nobody left to train on.
    """
    if not (test_share >= 0 and valid_share >= 0 and test_share + valid_share < 1):
        raise UserError(
            f"unseen_owners {test_share}, unseen_valid {valid_share}: allowed are shares of the owners from 0 that "
            "together stay below 1, such as 0.2 and 0.15"
        )
    heads = [hashlib.sha256(f"{SALT}|{owner}".encode()).hexdigest()[:8] for owner in owners]
    point = np.array([int(head, 16) / 2**32 for head in heads], float)
    return np.select([point < test_share, point < test_share + valid_share], [TEST, VALID], TRAIN).astype(np.int8)


def given_parts(ids: pa.Array, parts: pa.Array) -> np.ndarray:
    """(n,) int8: TRAIN, VALID or TEST as a catalogue's boards say of themselves; null and "" are TRAIN.

    Raises:
        UserError: another value.
    """
    names = parts.cast(pa.string()).fill_null("").to_pylist()
    number = {"": TRAIN} | dict(zip(BOARD_PARTS, (TRAIN, VALID, TEST), strict=True))
    wrong = next((place for place, name in enumerate(names) if name not in number), None)
    if wrong is not None:
        raise UserError(
            f"part {names[wrong]!r} of board {ids[wrong].as_py()!r} is no part of a split; allowed in the column part of "
            f"boards.parquet are {', '.join(BOARD_PARTS)} or nothing, which is train"
        )
    return np.array([number[name] for name in names], np.int8)


def fates(
    owners: pa.Array, given: np.ndarray | None, test_share: float, valid_share: float
) -> tuple[np.ndarray, dict[str, dict[str, int]]]:
    """(n_boards,) int8 part of each board, given or by its owner; and, where given, how many boards are in each.

    Raises:
        UserError: shares out of range, or shares although the split is given.
    """
    owner_parts([], test_share, valid_share)
    if given is None:
        asked = owners.to_pylist() if test_share or valid_share else []
        return (owner_parts(asked, test_share, valid_share) if asked else np.full(len(owners), TRAIN, np.int8)), {}
    if test_share or valid_share:
        raise UserError(
            f"unseen_owners {test_share}, unseen_valid {valid_share}: the catalogue's boards have a column part, which "
            "says which of them are unseen; leave both options out, or import the catalogue without that column"
        )
    return given, {"boards_by_part": dict(zip(BOARD_PARTS, np.bincount(given, minlength=3).tolist(), strict=True))}


def cut_unseen(saves: Saves, fate: np.ndarray, seed: int = 0, min_board: int = 4) -> tuple[np.ndarray, Split]:
    """Which boards training may see, and the unseen ones with what a request shows of them and what it asks for.

    Of boards with the same item set one stays: a test board before a validation board before a seen one, then the one
    with the lowest id. Seen twins of an unseen board leave training, or they would give the answer away. An unseen
    board of `min_board` items holds out the item that `split_boards` would have; smaller ones show all their items.

    Args:
        saves: the saves of all boards.
        fate: (n_boards,) int8, the part of each board (see `fates`).
        seed: of the held-out items.
        min_board: smallest board (distinct items) that holds one out.

    Returns:
        (n_boards,) bool, true for boards that training may see; the unseen boards.

    Raises:
        UserError: min_board below 2.
    """
    check_min_board(min_board)
    saves, _ = distinct(saves)
    _, bounds = saves.by_owner
    group = twin_groups(set_hashes(bounds, saves.item.astype(np.int64)), np.diff(bounds) > 0)
    stays, chosen, counts = choose_unseen(group, fate, pa.array(saves.ids))
    saves = saves.rows(chosen[saves.owner])
    part = hold_out_unseen(saves, fate, seed, min_board)
    return stays, Split(saves, part, counts | held_out_counts(part))


def choose_unseen(group: np.ndarray, fate: np.ndarray, ids: pa.Array) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Which boards training may see, which unseen board stands for its twins, and counts.

    Args:
        group: (n_boards,) from `twin_groups`.
        fate: (n_boards,) int8, the part of each board.
        ids: of the boards.
    """
    present = group >= 0
    n_groups = int(group.max(initial=-1)) + 1
    highest = np.zeros(n_groups, np.int8)
    np.maximum.at(highest, group[present], fate[present])
    cut = np.zeros(len(group), bool)
    cut[present] = highest[group[present]] != TRAIN
    chosen = cut.copy()
    chosen[cut] = fate[cut] == highest[group[cut]]
    chosen = lowest_of(group, ids, chosen)
    seen = cut & (fate == TRAIN)
    unseen = int((highest != TRAIN).sum())
    return (fate == TRAIN) & ~cut, chosen, {
        "unseen_boards": unseen, "unseen_boards_merged": int((cut & ~seen).sum()) - unseen,
        "unseen_boards_with_seen_twin": len(np.unique(group[seen])), "seen_twins_dropped": int(seen.sum()),
    }  # fmt: skip


def hold_out_unseen(saves: Saves, fate: np.ndarray, seed: int, min_board: int) -> np.ndarray:
    """(n,) int8 parts of the distinct saves of unseen boards, each holding out what `split_boards` would have."""
    _, bounds = saves.by_owner
    part = np.full(len(saves.owner), TRAIN, np.int8)
    for board in np.flatnonzero(np.diff(bounds) >= min_board).tolist():
        order = owner_rng(seed, saves.ids[board]).permutation(int(bounds[board + 1] - bounds[board]))
        part[bounds[board] + order[0]] = fate[board]
    return part


def held_out_counts(part: np.ndarray) -> dict[str, int]:
    """What unseen boards ask for."""
    return {"unseen_valid": int((part == VALID).sum()), "unseen_test": int((part == TEST).sum())}


def only(saves: Saves, stays: np.ndarray) -> Saves:
    """The saves of the owners that stay, as if there had never been others: ids and positions close up in order."""
    ids = [owner_id for owner_id, stay in zip(saves.ids, stays.tolist(), strict=True) if stay]
    position = np.cumsum(stays) - 1
    rows = saves.rows(stays[saves.owner])
    return Saves(ids, position[rows.owner], rows.item, rows.at)
