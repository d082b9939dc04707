"""A catalogue's saves, divided before anything learns from them: boards, boards of unseen owners, users."""

from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from graph.saves import Saves, board_owners, board_saves, user_saves
from graph.split import TRAIN, Split, sequences_of, split_boards, split_users, time_cut
from graph.unseen import cut_unseen, only, owner_parts
from navigator.contracts import Catalog, UserError
from navigator.contracts.signals import TasteSequence


@dataclass(frozen=True)
class Parts:
    """What a catalogue's saves are divided into.

    Attributes:
        boards: boards that training may see, with what is held out of them.
        titles: of those boards, by position in `boards.saves.ids`.
        users: users, with what is held out of them.
        unseen: boards of unseen owners; None when none were asked for.
        counts: what was merged, dropped, cut and held out.
    """

    boards: Split
    titles: list[str]
    users: Split
    unseen: list[TasteSequence] | None
    counts: dict[str, int]


def divide(catalog: Catalog, config: dict[str, Any]) -> Parts:
    """Divide by the options of `graph.commands.build_graph`.

    Raises:
        UserError: no saves, none left to train on, unknown times under global-time, an option out of range.
    """
    boards, titles = board_saves(catalog)
    users, left_out = user_saves(catalog, config["actions"])
    if not len(boards.owner) and not len(users.owner):
        raise UserError(
            f"catalog {catalog.path} has no save in board_items or interactions; there is no taste to learn"
        )
    counts, cut = {"interactions_of_other_actions": left_out}, None
    if config["user_split"] == "global-time":
        cut = time_cut(users, config["global_quantile"])
        counts |= {"time_cut": cut, "board_saves_after_cut": int((boards.at > cut).sum())}
        boards = boards.rows(boards.at <= cut)
    boards, titles, unseen, unseen_counts = _unseen(catalog, boards, titles, config)
    if not len(boards.owner) and not len(users.owner):
        raise UserError(
            f"the saves of catalog {catalog.path} are all of unseen owners ({unseen_counts['unseen_owners']}); "
            "give smaller unseen_owners and unseen_valid"
        )
    seed, fraction = config["seed"], config["valid_fraction"]
    board_split = split_boards(boards, seed, config["min_board"], fraction)
    user_split = split_users(users, seed, fraction, config["user_split"], cut)
    counts |= unseen_counts | board_split.counts | user_split.counts
    return Parts(board_split, titles, user_split, unseen, counts)


def _unseen(
    catalog: Catalog, boards: Saves, titles: list[str], config: dict[str, Any]
) -> tuple[Saves, list[str], list[TasteSequence] | None, dict[str, int]]:
    """The boards that training may see, their titles, the unseen ones (None: not asked for), and counts."""
    owners = board_owners(catalog)
    fate = owner_parts(owners, config["unseen_owners"], config["unseen_valid"])
    stays, split = cut_unseen(boards, fate, config["seed"], config["min_board"])
    seen = only(boards, stays)
    cut_owners = {owners[board] for board in np.unique(boards.owner).tolist() if fate[board] != TRAIN}
    items = np.setdiff1d(split.saves.item, seen.item)
    counts = {"unseen_owners": len(cut_owners), **split.counts, "items_on_unseen_boards_only": len(items)}
    asked = config["unseen_owners"] or config["unseen_valid"]
    sequences = sequences_of("board-completion", split, titles) if asked else None
    return seen, list(compress(titles, stays.tolist())), sequences, counts
