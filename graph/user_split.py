"""The split of users: what they saved last, what anybody saved after a moment in time, or what the log calls a test.

Like graph.split it works on a block of whole owners.
"""

from typing import Literal

import numpy as np

from graph.relation import UNKNOWN_TIME
from graph.saves import Saves, in_user_order
from graph.split import TEST, TRAIN, VALID, Split, check_fraction, counted
from navigator.contracts import UserError
from navigator.contracts.signals import owner_rng

MIN_LEFT = 2  # saves that a user with validation items keeps, under leave-last-out
MIN_VALID_USER = 4  # saves up to the test of a user with a validation item, otherwise
UserSplit = Literal["leave-last-out", "global-time", "given"]


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
    enough = trained >= MIN_VALID_USER
    if user_split == "leave-last-out":
        enough = (sizes > last) & (trained >= last + MIN_LEFT)
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
