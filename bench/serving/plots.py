"""The picture of a serving report: for every load throughput and waiting against clients."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, NullLocator, ScalarFormatter

from bench.drawing import plain, save
from bench.serving.figures import Point, ServingReport
from bench.serving.options import BATCHED

_COLOURS = ("#1d4ed8", "#c2410c")  # batched, unbatched
_LINES = {"p50_ms": "-", "p95_ms": "--", "p99_ms": ":"}


def draw(report: ServingReport, folder: Path) -> list[str]:
    """Write clients.png; returns its name."""
    loads = list(dict.fromkeys(point.load for point in report.points))
    figure, grid = plt.subplots(2, len(loads), figsize=(4.2 * len(loads), 7), layout="constrained", squeeze=False)
    for column, load in enumerate(loads):
        own = [point for point in report.points if point.load == load]
        _throughput(grid[0][column], own, load)
        _waiting(grid[1][column], own)
    save(figure, folder / "clients.png")
    return ["clients.png"]


def _throughput(axes: Axes, points: list[Point], title: str) -> None:
    for server, own in _by_server(points).items():
        clients = [point.clients for point in own]
        axes.plot(clients, [point.median.throughput_rps for point in own], "o-", color=_colour(server), label=server)
        axes.fill_between(
            clients, [point.lowest_rps for point in own], [point.highest_rps for point in own],
            color=_colour(server), alpha=0.15,
        )  # fmt: skip
    axes.set_title(title, fontsize=10)
    axes.set_ylim(bottom=0)
    _finish(axes, points, "answers / s")


def _waiting(axes: Axes, points: list[Point]) -> None:
    for server, own in _by_server(points).items():
        for name, line in _LINES.items():
            axes.plot(
                [point.clients for point in own], [_or_gap(getattr(point.median, name)) for point in own], line, marker=".",
                color=_colour(server), label=f"{server} {name.removesuffix('_ms').upper()}",
            )  # fmt: skip
    axes.set_yscale("log")
    for write in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        write(LogFormatter(minor_thresholds=(2, 0.5)))
    _finish(axes, points, "response time, ms")


def _finish(axes: Axes, points: list[Point], up: str) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xticks(sorted({point.clients for point in points}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("clients")
    axes.set_ylabel(up)
    axes.legend(frameon=False, fontsize=8)
    plain(axes)


def _by_server(points: list[Point]) -> dict[str, list[Point]]:
    servers = dict.fromkeys(point.server for point in points)
    return {server: [point for point in points if point.server == server] for server in servers}


def _colour(server: str) -> str:
    return _COLOURS[0] if server == BATCHED else _COLOURS[1]


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value
