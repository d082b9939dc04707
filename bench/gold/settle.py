"""One grade out of several, by a rule that is written down, and nothing where the rule has no answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ONE, EQUAL, MEAN, THIRD, OPEN, MISSING = (
    "one grade", "equal grades", "mean, half down", "third person", "open", "missing",
)  # fmt: skip


@dataclass(frozen=True)
class Settled:
    """A pair's grade (None where open or missing), how it came about and what was given, by annotator."""

    grade: int | None
    how: str
    given: dict[str, int]

    @property
    def apart(self) -> int:
        return max(self.given.values()) - min(self.given.values()) if self.given else 0


def settle(given: Mapping[str, int], third: int | None, tolerance: int) -> Settled:
    """The rule of `gold check`.

    Args:
        given: annotator -> grade.
        third: what a third person decided.
        tolerance: largest difference that a mean settles.
    """
    own = dict(given)
    if not own:
        return Settled(None, MISSING, own)
    low, high = min(own.values()), max(own.values())
    if low == high:
        return Settled(low, ONE if len(own) == 1 else EQUAL, own)
    if high - low <= tolerance:
        return Settled(math.ceil(sum(own.values()) / len(own) - 0.5), MEAN, own)
    return Settled(third, OPEN if third is None else THIRD, own)


def worst(settled: Mapping[str, Settled], n: int) -> Sequence[str]:
    """The pairs whose grades are furthest apart, at most `n`, of equals in the order of the task."""
    apart = [pair for pair, own in settled.items() if own.apart]
    return sorted(apart, key=lambda pair: -settled[pair].apart)[:n]
