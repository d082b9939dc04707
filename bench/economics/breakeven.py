"""From how much demand on swapping pays: exactly, also where machines come in whole ones.

Between two demands at which somebody needs one machine more, both costs are straight lines, so that the difference is one
line a piece and its zero is known in closed form. Beyond a horizon, also in closed form, the cheaper mean slope has won for
good: a cost line with machines never lies more than one machine, or its least ones, above its mean slope.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.economics.lines import CostLine

State = Literal["always", "never", "from", "until", "level", "unknown"]
MOST_PIECES = 1_000_000


@dataclass(frozen=True)
class BreakEven:
    """When ours is cheaper than a rival.

    Attributes:
        state: always, never; from `requests` a month on for good; until `requests` and never beyond; level: the two are so
            close that whole machines decide each time anew; unknown: one of the costs is.
        requests: a month; None for the other states.
        first: the least demand at which ours is cheaper, where that is not for good yet; else None.
    """

    state: State
    requests: float | None = None
    first: float | None = None


@dataclass(frozen=True)
class _Straight:
    """fixed + slope x requests + usd x max(least, ceil(requests / step)); without machines usd is 0."""

    fixed: float
    slope: float
    usd: float
    step: float
    least: int

    @classmethod
    def of(cls, line: CostLine) -> "_Straight | None":
        parts = [*line.fixed.values(), *line.per_request.values()]
        if None in parts:
            return None
        fixed, slope = (float(sum(usd or 0 for usd in own.values())) for own in (line.fixed, line.per_request))
        if line.machines is None:
            return cls(fixed, slope, 0.0, float("inf"), 0)
        return cls(fixed, slope, line.machines.usd, line.machines.requests, line.machines.least)

    @property
    def mean_slope(self) -> float:
        return self.slope + self.usd / self.step

    @property
    def highest(self) -> float:
        """What the line never exceeds above its mean slope."""
        return self.fixed + self.usd * max(self.least, 1)

    def edges(self, horizon: float) -> np.ndarray:
        """Demands short of the horizon at which a machine is added."""
        return np.arange(max(self.least, 1), horizon / self.step) * self.step

    def level(self, requests: np.ndarray) -> np.ndarray:
        """Cost without the slope."""
        if not self.usd:
            return np.full_like(requests, self.fixed)
        return self.fixed + self.usd * np.maximum(self.least, np.ceil(requests / self.step))


def break_even(ours: CostLine, rival: CostLine) -> BreakEven:
    """See the module; demands are requests a month."""
    a, b = _Straight.of(ours), _Straight.of(rival)
    if a is None or b is None:
        return BreakEven("unknown")
    gain = b.mean_slope - a.mean_slope
    if abs(gain) <= 1e-12 * max(a.mean_slope, b.mean_slope):
        same_steps = (a.usd, a.step, a.least) == (b.usd, b.step, b.least)
        return BreakEven("level" if not same_steps else "always" if a.fixed < b.fixed else "never")
    behind = a.highest - b.fixed if gain > 0 else b.highest - a.fixed
    horizon = max(behind, 0.0) / abs(gain)
    if horizon / a.step + horizon / b.step > MOST_PIECES:
        return BreakEven("level")
    pays = _where_cheaper(a, b, horizon)
    if gain > 0:
        pays = _merged([*pays, (horizon, float("inf"))])
    if gain > 0:
        return _from(pays)
    return BreakEven("until", pays[-1][1]) if pays else BreakEven("never")


def _from(pays: list[tuple[float, float]]) -> BreakEven:
    """The last stretch has no end."""
    if pays[-1][0] == 0:
        return BreakEven("always")
    return BreakEven("from", pays[-1][0], pays[0][0] if len(pays) > 1 else None)


def _where_cheaper(a: _Straight, b: _Straight, horizon: float) -> list[tuple[float, float]]:
    """Stretches of demand short of the horizon in which a costs less than b, in order."""
    edges = np.unique(np.concatenate([[0.0], a.edges(horizon), b.edges(horizon), [horizon]]))
    starts, ends = edges[:-1], edges[1:]
    inside = (starts + ends) / 2
    lead, slope = b.level(inside) - a.level(inside), b.slope - a.slope  # b - a = lead + slope x requests
    if slope == 0:
        keep = lead > 0
    elif slope > 0:
        starts = np.maximum(starts, -lead / slope)
        keep = starts < ends
    else:
        ends = np.minimum(ends, -lead / slope)
        keep = starts < ends
    return _merged(list(zip(starts[keep].tolist(), ends[keep].tolist(), strict=True)))


def _merged(stretches: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Neighbours that touch made one."""
    found: list[tuple[float, float]] = []
    for start, end in stretches:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found
