"""Owners of whom training knows nothing, for measuring how an encoder does on the boards of people it has not met.

A fixed share of the board owners, by a hash of their ids and no seed, is cut away before anything else sees the saves:
none of their boards is in the sequences, the edges, the interests or any signal. A graph built so is, file by file, the
graph of a catalogue that never had those boards; what was cut away is written beside it. Only boards are cut: a user's
interactions stay, even where the user and an unseen owner are the same person.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from graph.saves import Saves, distinct, groups, id_of, owner_rng
from graph.split import TEST, TRAIN, VALID, Split, check_min_board
from navigator.contracts import UserError

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


def cut_unseen(saves: Saves, fate: np.ndarray, seed: int = 0, min_board: int = 4) -> tuple[np.ndarray, Split]:
    """Which boards training may see, and the unseen ones with what a request shows of them and what it asks for.

    Of boards with the same item set one stays: a test board before a validation board before a seen one, then the one
    with the lowest id. Seen twins of an unseen board leave training, or they would give the answer away. An unseen
    board of `min_board` items holds out the item that `split_boards` would have; smaller ones show all their items.

    Args:
        saves: the saves of all boards.
        fate: (n_boards,) int8, the part of each board's owner (see `owner_parts`).
        seed: of the held-out items.
        min_board: smallest board (distinct items) that holds one out.

    Returns:
        (n_boards,) bool, true for boards that training may see; the unseen boards.

    Raises:
        UserError: min_board below 2.
    """
    check_min_board(min_board)
    saves = distinct(saves)
    part = np.full(len(saves.owner), TRAIN, np.int8)
    keep = np.zeros(len(part), bool)
    stays = fate == TRAIN
    counts = {"unseen_boards": 0, "unseen_boards_merged": 0, "unseen_boards_with_seen_twin": 0, "seen_twins_dropped": 0}
    for twins in _twins(saves):
        fates = [int(fate[saves.owner[rows[0]]]) for rows in twins]
        if max(fates) == TRAIN:
            continue
        chosen = fates.index(max(fates))
        rows, seen = twins[chosen], fates.count(TRAIN)
        keep[rows] = True
        stays[[int(saves.owner[twin[0]]) for twin in twins]] = False
        if len(rows) >= min_board:
            part[rows[owner_rng(seed, id_of(saves, rows)).permutation(len(rows))[0]]] = fates[chosen]
        counts["unseen_boards"] += 1
        counts["unseen_boards_merged"] += len(twins) - seen - 1
        counts["unseen_boards_with_seen_twin"] += seen > 0
        counts["seen_twins_dropped"] += seen
    counts |= {"unseen_valid": int((part == VALID).sum()), "unseen_test": int((part == TEST).sum())}
    return stays, Split(saves.rows(keep), part[keep], counts)


def only(saves: Saves, stays: np.ndarray) -> Saves:
    """The saves of the owners that stay, as if there had never been others: ids and positions close up in order."""
    ids = [owner_id for owner_id, stay in zip(saves.ids, stays.tolist(), strict=True) if stay]
    position = np.cumsum(stays) - 1
    rows = saves.rows(stays[saves.owner])
    return Saves(ids, position[rows.owner], rows.item, rows.at)


def _twins(saves: Saves) -> list[list[np.ndarray]]:
    """The rows of each board, boards with the same item set together, by id; `saves` are distinct and sorted."""
    by_items: dict[bytes, list[np.ndarray]] = {}
    for rows in sorted(groups(saves.owner), key=lambda rows: id_of(saves, rows)):
        by_items.setdefault(saves.item[rows].tobytes(), []).append(rows)
    return list(by_items.values())
