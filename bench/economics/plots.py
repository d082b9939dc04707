"""The pictures of a cost report: what a request costs and of what, from where on swapping pays, and what moves that."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.drawing import plain, save
from bench.economics.figures import CostReport, Point
from bench.economics.lines import COMPONENTS
from bench.economics.verdict import BOUGHT, quantity, short

_OURS = "#c2410c"
_COLOURS = ("#1d4ed8", "#475569", "#15803d", "#7e22ce", "#0e7490", "#a16207", "#be185d", "#64748b")
_PARTS = dict(
    zip(COMPONENTS, ("#1d4ed8", "#475569", "#15803d", "#86efac", "#7e22ce", "#d8b4fe", "#f59e0b"), strict=True)
)
_BARS = 12  # inputs in a tornado
_FAR = 30.0  # how many times the break-even a bar without an end is drawn


def stacked_costs(report: CostReport, path: Path) -> bool:
    """US$ per 1,000 requests by component; to the right own machines alone, where hosted models dwarf them.

    Returns:
        Whether a picture was written; it is not when no cost is known.
    """
    costs = {name: row.cost[report.capacity] for name, row in report.systems.items()}
    known = {name: cost for name, cost in costs.items() if cost.total_usd_per_1000 is not None}
    if not known:
        return False
    panels = [list(known), [name for name in known if report.systems[name].kind != "hosted"]]
    panels = [names for i, names in enumerate(panels) if names and (i == 0 or names != panels[0])]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6.5 * len(panels), 1.6 + 0.45 * len(known)), layout="constrained", squeeze=False
    )
    for at, names in zip(axes[0], panels, strict=True):
        for name in reversed(names):
            left = 0.0
            for part in COMPONENTS:
                value = known[name].usd_per_1000.get(part)
                if value:
                    at.barh(name, value, left=left, color=_PARTS[part])
                    left += value
            at.annotate(f" {short(left)}", (left, name), va="center", fontsize=8)
        at.margins(x=0.16)
        _plain(at, "US$ per 1,000 requests")
    used = [part for part in COMPONENTS if any(cost.usd_per_1000.get(part) for cost in known.values())]
    figure.legend(
        [Patch(color=_PARTS[part]) for part in used], used, loc="outside lower center",
        ncols=len(used), frameon=False, fontsize=8,
    )  # fmt: skip
    left_out = [name for name in costs if name not in known]
    figure.suptitle(
        f"{quantity(report.requests_a_day)} requests a day, {BOUGHT[report.capacity]}"
        + (f" (not measured: {', '.join(left_out)})" if left_out else ""),
        fontsize=10,
    )
    return save(figure, path)


def break_even_curves(report: CostReport, path: Path) -> bool:
    """US$ per 1,000 requests over demand, both logarithmic, with the break-evens; False when no cost is known."""
    curves = report.curves
    if not curves.usd_per_1000:
        return False
    figure, at = plt.subplots(figsize=(9.5, 5.5), layout="constrained")
    for number, (name, by_capacity) in enumerate(curves.usd_per_1000.items()):
        ours = name == report.ours
        colour = _OURS if ours else _COLOURS[number % len(_COLOURS)]
        hosted = report.systems[name].kind == "hosted"
        for capacity, costs in by_capacity.items():
            if not (hosted and capacity == "fractional"):
                at.plot(
                    curves.requests_a_day, costs, color=colour, linewidth=2.5 if ours else 1.4,
                    linestyle=":" if capacity == "fractional" else "-",
                    label=name if hosted else f"{name}, {BOUGHT[capacity]}",
                )  # fmt: skip
        _mark(at, report, name, colour)
    at.axvline(report.requests_a_day, color="#94a3b8", linewidth=1, linestyle="--", label="assumed demand")
    at.set_xscale("log")
    at.set_yscale("log")
    _plain(at, "requests a day")
    at.set_ylabel("US$ per 1,000 requests")
    at.set_title("From where on swapping pays", loc="left")
    at.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return save(figure, path)


def tornado(report: CostReport, rival: str, path: Path) -> bool:
    """The break-even with a rival when one input is halved or doubled; False when it is no number or nothing moves it."""
    row = report.rivals[rival]
    base = row.break_even[report.capacity].requests_a_day
    if base is None or not row.sensitivity:
        return False
    shown = row.sensitivity[:_BARS][::-1]
    figure, at = plt.subplots(figsize=(8.5, 1.4 + 0.36 * len(shown)), layout="constrained")
    for number, one in enumerate(shown):
        for value, end, colour in ((one.low_value, one.low, "#1d4ed8"), (one.high_value, one.high, "#c2410c")):
            where = _reach(end, base)
            at.plot([base, where], [number, number], color=colour, linewidth=9, alpha=0.75, solid_capstyle="butt")
            words = quantity(value) if end.requests_a_day is not None else f"{quantity(value)} ({end.state})"
            if where != base:
                at.annotate(
                    words, (where, number), xytext=(4 if where > base else -4, 0), textcoords="offset points",
                    ha="left" if where > base else "right", va="center", fontsize=7,
                )  # fmt: skip
    at.set_yticks(range(len(shown)), [one.input for one in shown], fontsize=8)
    at.axvline(base, color="#0f172a", linewidth=1)
    at.set_xscale("log")
    at.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    at.margins(x=0.15)
    _plain(at, f"break-even with {rival}, requests a day (as assumed: {quantity(base)})")
    at.set_title("Each input halved (blue) and doubled (red), within what is allowed", loc="left", fontsize=10)
    return save(figure, path)


def _mark(at: Axes, report: CostReport, name: str, colour: str) -> None:
    """A dot on the curve of ours from where on it is the cheaper one for good."""
    row = report.rivals.get(name)
    where = row.break_even[report.capacity].requests_a_day if row else None
    if where is not None:
        cost = report.curves.usd_per_1000[report.ours][report.capacity][report.curves.requests_a_day.index(where)]
        at.plot([where], [cost], marker="o", color=colour, markersize=7, markeredgecolor="white", zorder=3)
        at.annotate(
            quantity(where), (where, cost), xytext=(5, 6), textcoords="offset points", fontsize=8, color=colour
        )  # fmt: skip


def _reach(end: Point, base: float) -> float:
    """Where a bar ends: far to the right for "never", far to the left for "always"."""
    if end.requests_a_day is not None:
        return end.requests_a_day
    return base / _FAR if end.state == "always" else base * _FAR


def _plain(at: Axes, label: str) -> None:
    at.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    at.xaxis.set_minor_formatter(NullFormatter())
    at.set_xlabel(label)
    plain(at)
