"""growth.png: how the time of a request grows with the history, the candidates and the pictures' side; one row a shape."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.drawing import plain, save
from bench.speed.figures import PointRow

_COLOURS = {
    "native": "#475569", "native-features": "#94a3b8", "native-224": "#0e7490", "swapped-4": "#f59e0b", "swapped": "#c2410c",
    "swapped-prefix": "#7e22ce",
}  # fmt: skip
_AXES = {"history": "history items", "candidates": "candidates", "side": "picture side, px"}


def growth(points: Sequence[PointRow], path: Path) -> None:
    """P50 of the whole request over each axis of the grid, the other two at their first value; a bar goes to P95."""
    shapes = list(dict.fromkeys(point.shape for point in points))
    figure, panels = plt.subplots(
        len(shapes), len(_AXES), figsize=(12, 3.6 * len(shapes)), layout="constrained", squeeze=False, sharey="row"
    )
    for row, shape in zip(panels, shapes, strict=True):
        own = [point for point in points if point.shape == shape]
        for axes, (name, words) in zip(row, _AXES.items(), strict=True):
            _panel(axes, _along(own, name), name)
            axes.set_xlabel(words)
        row[0].set_ylabel(f"{shape}: ms a request, P50 (bar to P95)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    save(figure, path)


def _along(points: Sequence[PointRow], axis: str) -> list[PointRow]:
    """The points that differ from the first on this axis alone."""
    others, base = [name for name in _AXES if name != axis], points[0]
    line = [p for p in points if all(getattr(p, name) == getattr(base, name) for name in others)]
    return sorted(line, key=lambda point: getattr(point, axis))


def _panel(axes: Axes, line: Sequence[PointRow], axis: str) -> None:
    for name in line[0].ways:
        there = [(getattr(p, axis), times) for p in line if (times := p.ways[name].total_ms) is not None]
        if there:
            axes.errorbar(
                [x for x, _ in there], [t.p50 for _, t in there],
                yerr=[[0] * len(there), [max(t.p95 - t.p50, 0) for _, t in there]],
                fmt="o-", color=_COLOURS[name], label=name, capsize=2.5, linewidth=2 if name == "swapped" else 1.2,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted({getattr(p, axis) for p in line}))
    for ticks in (axes.xaxis, axes.yaxis):
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks.set_minor_formatter(NullFormatter())
    plain(axes)
