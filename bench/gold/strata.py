"""Strata: how popular things are, how many to draw from where, and with what probability each was drawn.

A sample that is spread evenly over strata is no picture of the whole; with the probability of every draw beside it, means
can be weighted back (Horvitz and Thompson, A Generalization of Sampling Without Replacement, 1952).
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from navigator.contracts.errors import UserError

BANDS = ("head", "torso", "tail")
UNKNOWN = "unknown"  # of queries whose popularity nobody gave


def bands(counts: np.ndarray) -> np.ndarray:
    """(n,) which third of the whole volume each unit lies in: head, torso or tail.

    Units in descending order of their counts; a unit is in the head when less than a third of the volume lies strictly
    above it, in the torso when less than two thirds do. Equal counts share a band; a count of 0 is tail.
    """
    counts = np.asarray(counts, np.float64)
    values, where, sizes = np.unique(-counts, return_inverse=True, return_counts=True)
    volume = -values * sizes
    above = np.concatenate([[0.0], np.cumsum(volume)[:-1]]) / max(volume.sum(), 1.0)
    named = np.where(above < 1 / 3, BANDS[0], np.where(above < 2 / 3, BANDS[1], BANDS[2]))
    return np.where(counts > 0, named[where], BANDS[2])


def allocate(sizes: Mapping[str, int], n: int, how: Literal["equal", "proportional"]) -> dict[str, int]:
    """How many of `n` to draw from each stratum: at least one, at most all of it.

    Args:
        sizes: units in each stratum, at least one.
        n: how many in all; everything when that is less.
        how: the same from each (what a small stratum lacks goes to the others), or in proportion to the sizes.

    Raises:
        UserError: fewer than strata: some of them would have no chance at all.
    """
    if n < len(sizes):
        raise UserError(
            f"queries is {n}, but there are {len(sizes)} strata ({', '.join(sizes)}); give at least one query for each, or "
            "fewer --kinds"
        )
    taken = dict.fromkeys(sizes, 1)
    for _ in range(min(n, sum(sizes.values())) - len(sizes)):
        open_ones = [name for name, size in sizes.items() if taken[name] < size]
        share = {name: taken[name] / (sizes[name] if how == "proportional" else 1) for name in open_ones}
        taken[min(open_ones, key=lambda name: share[name])] += 1
    return taken
