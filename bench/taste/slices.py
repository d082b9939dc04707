"""Facts of the catalogue about queries: how long after the save before the target came, and who owns a board."""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from navigator.contracts import Catalog
from navigator.contracts.signals import Query

FEW_OWNERS = 10  # below, resampled owners say nothing: with two, every resample is one of three sets


def save_gaps(catalog: Catalog, actions: Sequence[str], queries: Sequence[Query]) -> np.ndarray:
    """Seconds from a user's latest save of the history to the first held-out target.

    Many logs are filled in page by page: a save within a minute of the last one is the next row of the page, not a
    decision. Of a repeated save the first time counts, as in the split.

    Args:
        catalog: whose interactions have the times.
        actions: those that count as saves; empty: all.
        queries: of users.

    Returns:
        (q,) float64, nan where a time is missing.
    """
    users = [q.query_id for q in queries]
    saves = catalog.table("interactions", ["user_id", "item_id", "action", "at"])
    saves = saves.filter(pc.field("user_id").isin(users))
    if actions:
        saves = saves.filter(pc.field("action").isin(list(actions)))
    first = saves.group_by(["user_id", "item_id"]).aggregate([("at", "min")])
    rows = zip(*(first[name].to_pylist() for name in ("user_id", "item_id", "at_min")), strict=True)
    at = {(user, catalog.item_index[item]): time for user, item, time in rows if item in catalog.item_index}

    def gap(query: Query) -> float:
        before, after = ([at.get((query.query_id, item)) for item in items] for items in (query.history, query.targets))
        known = [[time for time in times if time is not None] for times in (before, after)]
        complete = len(known[0]) == len(before) and len(known[1]) == len(after)
        return float(min(known[1]) - max(known[0])) if complete and known[0] else float("nan")

    return np.array([gap(q) for q in queries])


def board_owners(catalog: Catalog, queries: Sequence[Query]) -> np.ndarray:
    """(q,) the owner of each query's board, the board itself where it has none."""
    table = catalog.table("boards", ["board_id", "owner_id"])
    owners = dict(zip(table["board_id"].to_pylist(), table["owner_id"].to_pylist(), strict=True))
    return np.array([owners.get(q.query_id) or q.query_id for q in queries])


def resampling_unit(owners: np.ndarray | None) -> tuple[str, np.ndarray | None]:
    """What intervals draw, in words, and what each query belongs to (None: every query stands alone).

    Boards of one owner resemble each other, so owners are drawn; but where they are few (boards made of keywords have one
    for all), boards are.

    Args:
        owners: (q,) of each query's board; None for users.
    """
    if owners is None:
        return "queries", None
    return ("boards", None) if len(np.unique(owners)) < FEW_OWNERS else ("owners of boards", owners)


def owner_slices(owners: np.ndarray | None) -> dict[str, np.ndarray]:
    """A slice for each owner of several queries where owners are few, more than one: kinds of boards are read apart."""
    names, counts = np.unique([] if owners is None else owners, return_counts=True)
    if not 1 < len(names) < FEW_OWNERS:
        return {}
    return {f"owner {name}": owners == name for name in names[counts > 1]}
