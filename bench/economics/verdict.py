"""The report in a sentence or two: what ours costs beside each rival at this demand, and from where on it pays."""

from collections.abc import Mapping

from bench.economics.figures import Point, RivalRow, SystemRow
from bench.economics.lines import Capacity

BOUGHT = {"whole": "whole machines", "fractional": "machine time by the busy second"}


def verdict(
    ours: str, capacity: Capacity, demand: float, systems: Mapping[str, SystemRow], rivals: Mapping[str, RivalRow],
    missing: Mapping[str, str],
) -> str:  # fmt: skip
    """The verdict; without a cost of ours, what is missing for one."""
    own = systems[ours].cost[capacity].total_usd_per_1000
    if own is None:
        needed = " and ".join(f"{name} ({command})" for name, command in missing.items() if name != "native_rps")
        return f"No verdict: {ours} has no cost before somebody measures {needed}."
    said = []
    for name, row in rivals.items():
        other = systems[name].cost[capacity].total_usd_per_1000
        if other is None:
            said.append(f"nothing can be said of {name}, which was not measured")
        else:
            said.append(f"{compared(own, other)} {name} ({short(other)}), pays {pays(row.break_even[capacity])}")
    return (
        f"At {quantity(demand)} requests a day, with {BOUGHT[capacity]}, {ours} costs US$ {short(own)} per 1,000 requests: "
        + "; ".join(said)
        + "."
    )


def compared(own: float, other: float) -> str:
    """ "3.4 times less than" and the like."""
    if min(own, other) <= 0:
        return "as much as" if own == other else "less than" if own < other else "more than"
    times = short(max(own, other) / min(own, other))
    return "as much as" if times == "1" else f"{times} times {'less' if own < other else 'more'} than"


def pays(at: Point) -> str:
    """A break-even in words."""
    day = "-" if at.requests_a_day is None else f"{quantity(at.requests_a_day)} requests a day"
    words = {
        "always": "at any demand", "never": "at no demand", "from": f"from {day}", "until": f"below {day} only",
        "level": "nowhere clearly (the two are level)", "unknown": "where is unknown",
    }  # fmt: skip
    early = at.first_requests_a_day
    return words[at.state] + ("" if early is None else f" (at times from {quantity(early)})")


def quantity(value: float) -> str:
    """1,234,000 or 3.21: four digits that count, three of small numbers."""
    return f"{float(f'{value:.4g}'):,.10g}" if value >= 100 else f"{value:.3g}"


def short(value: float | None) -> str:
    """A number with three digits that count; - for none."""
    return "-" if value is None else f"{float(f'{value:.3g}'):,.10g}"
