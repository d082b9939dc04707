"""What each input halved and doubled does to the break-even."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bench.economics.assumptions import Assumptions
from bench.economics.breakeven import BreakEven, break_even
from bench.economics.lines import Capacity, CostLine, Scene

FACTORS = (0.5, 2.0)
Maker = Callable[[Scene, Capacity], CostLine]


@dataclass(frozen=True)
class Swing:
    """One input halved (or at the least value allowed) and doubled (or at the largest), and the break-even at either."""

    name: str
    low_value: float
    high_value: float
    low: BreakEven
    high: BreakEven

    @property
    def span(self) -> float:
        """How far apart the two are, as a ratio; infinite where one of them is no number."""
        ends = [one.requests for one in (self.low, self.high)]
        if None in ends or min(end or 0 for end in ends) <= 0:
            return 1.0 if self.low == self.high else float("inf")
        return max(end or 0 for end in ends) / min(end or 0 for end in ends)


def swings(inputs: Assumptions, scene: Scene, ours: Maker, rival: Maker, capacity: Capacity) -> list[Swing]:
    """Every input that may vary and does matter, the widest first.

    Args:
        inputs: what `scene` was made of, with units and limits.
        scene: the inputs as they are.
        ours: its cost line in a scene.
        rival: the other's.
        capacity: see bench.economics.lines.own.
    """

    def at(values: Mapping[str, float | None]) -> BreakEven:
        world = replace(scene, values=values)
        return break_even(ours(world, capacity), rival(world, capacity))

    found, base = [], at(scene.values)
    for name, entry in inputs.items():
        if not entry.vary or not entry.value:
            continue
        low, high = (entry.clip(entry.value * factor) for factor in FACTORS)
        swing = Swing(name, low, high, at({**scene.values, name: low}), at({**scene.values, name: high}))
        if {swing.low, swing.high} != {base}:
            found.append(swing)
    return sorted(found, key=lambda one: -one.span)
