"""From inputs to figures: every system's cost, the break-evens, and what moves them."""

from collections.abc import Mapping
from functools import partial
from typing import Final, get_args

import numpy as np

from bench.economics.breakeven import BreakEven, break_even
from bench.economics.figures import CostRow, Curves, InputRow, Point, RivalRow, SwingRow, SystemRow
from bench.economics.inputs import Inputs
from bench.economics.lines import DAYS, Capacity, CostLine, Own, hosted, own, per_1000
from bench.economics.sensitivity import Maker, Swing, swings

CAPACITIES: tuple[Capacity, ...] = get_args(Capacity)
CURVE_POINTS = 161
OURS: Final = "ours"
NATIVE: Final = "native"


def makers(inputs: Inputs) -> dict[str, Maker]:
    """System -> its cost line in a scene: ours, native, then the hosted ones."""
    found: dict[str, Maker] = {OURS: partial(own, name=OURS), NATIVE: partial(own, name=NATIVE)}
    return found | {name: partial(hosted, model=model) for name, model in inputs.models.items()}


def input_rows(inputs: Inputs) -> dict[str, InputRow]:
    """Every input, with where it is from."""
    return {
        name: InputRow(
            value=one.value, unit=one.unit, what=one.what, source=one.source, day=one.as_of and one.as_of.isoformat()
        )
        for name, one in inputs.table.items()
    }


def system_row(inputs: Inputs, name: str, maker: Maker) -> SystemRow:
    """A system's cost at the assumed demand."""
    part: Own | None = OURS if name == OURS else NATIVE if name == NATIVE else None
    measured = None if part is None else inputs.how.get(part)
    return SystemRow(
        kind=part or "hosted", device=inputs.scene.devices[part] if part and measured else None, measured=measured,
        priced=[] if part else inputs.priced(name),
        cost={capacity: _cost(maker(inputs.scene, capacity), inputs) for capacity in CAPACITIES},
    )  # fmt: skip


def rival_row(inputs: Inputs, ours: Maker, rival: Maker, capacity: Capacity) -> RivalRow:
    """Break-even of ours with a rival, and what halving and doubling every input does to it."""
    points: dict[Capacity, Point] = {
        c: point(break_even(ours(inputs.scene, c), rival(inputs.scene, c))) for c in CAPACITIES
    }
    found = swings(inputs.table, inputs.scene, ours, rival, capacity)
    still = set(inputs.table) - {one.name for one in found} if points[capacity].state != "unknown" else set()
    return RivalRow(
        break_even=points, sensitivity=[_swing_row(one, inputs) for one in found],
        unmoved=[name for name, one in inputs.table.items() if one.vary and one.value and name in still],
    )  # fmt: skip


def curves(
    inputs: Inputs, named: Mapping[str, Maker], rivals: Mapping[str, RivalRow], capacity: Capacity
) -> Curves:  # fmt: skip
    """Costs over demand, from well below to well above the assumed demand and every break-even with `capacity`."""
    marks = [inputs.scene.known("requests_per_day")]
    found = [row.break_even[capacity].requests_a_day for row in rivals.values()]
    marks += [day for day in found if day]
    days = sorted({*marks, *np.geomspace(min(marks) / 30, max(marks) * 30, CURVE_POINTS).tolist()})
    drawn: dict[str, dict[Capacity, list[float]]] = {}
    for name, maker in named.items():
        for bought in CAPACITIES:
            line = maker(inputs.scene, bought)
            costs = [per_1000(line.total(day * DAYS), day * DAYS) for day in days]
            if None not in costs:
                drawn.setdefault(name, {})[bought] = [float(f"{usd:.6g}") for usd in costs if usd is not None]
    return Curves(requests_a_day=days, usd_per_1000=drawn)


def point(found: BreakEven) -> Point:
    """A break-even in requests a day."""
    day = None if found.requests is None else found.requests / DAYS
    first = None if found.first is None else found.first / DAYS
    return Point(state=found.state, requests_a_day=day, first_requests_a_day=first)


def _cost(line: CostLine, inputs: Inputs) -> CostRow:
    requests = inputs.scene.known("requests_per_day") * DAYS
    total, machines = line.total(requests), line.machines
    count = None if machines is None else machines.count(requests)
    return CostRow(
        usd_per_1000={part: per_1000(usd, requests) for part, usd in line.monthly(requests).items()},
        total_usd_per_1000=per_1000(total, requests), usd_a_month=total, machines=count,
        busy=None if machines is None or count is None else requests / (count * machines.saturated),
    )  # fmt: skip


def _swing_row(one: Swing, inputs: Inputs) -> SwingRow:
    return SwingRow(
        input=one.name, unit=inputs.table[one.name].unit, low_value=one.low_value, high_value=one.high_value,
        low=point(one.low), high=point(one.high),
    )  # fmt: skip
