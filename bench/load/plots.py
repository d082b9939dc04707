"""The pictures of a load report: latency and throughput against offered load, where the time goes, and the overload in time."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from bench.drawing import plain, save
from bench.load.figures import LoadReport, PhaseRow
from bench.load.rows import Row
from bench.load.schedule import starts_s
from bench.load.steps import AFTER, CALM, OVERLOAD, Step

_P50, _P95, _P99, _GREY = "#1d4ed8", "#c2410c", "#7e22ce", "#94a3b8"
_PARTS = {"work": "#1d4ed8", "queue": "#c2410c", "elsewhere": "#94a3b8", "generator": "#15803d"}


def draw(report: LoadReport, steps: Sequence[Step], folder: Path) -> list[str]:
    """Write the pictures for which there are figures; returns their names."""
    opened = [row for row in report.phases if row.offered_rps is not None and row.phase not in (CALM, AFTER)]
    swept = sorted(opened, key=lambda row: row.offered_rps or 0)
    names = []
    if any(row.response_ms for row in swept):
        _against_load(swept, report, folder / "load.png")
        names.append("load.png")
    if any(row.parts for row in report.phases):
        _where_time_goes(report.phases, folder / "parts.png")
        names.append("parts.png")
    step = next((step for step in steps if step.name == OVERLOAD), None)
    if step is not None:
        _in_time(step, folder / "overload.png")
        names.append("overload.png")
    return names


def _against_load(rows: Sequence[PhaseRow], report: LoadReport, path: Path) -> None:
    figure, (times, rates) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    timed = [(row.offered_rps or 0, row.response_ms) for row in rows if row.response_ms]
    for name, colour in (("p50", _P50), ("p95", _P95), ("p99", _P99)):
        times.plot([x for x, _ in timed], [getattr(t, name) for _, t in timed], "o-", color=colour, label=name.upper())
    offered = [row.offered_rps or 0 for row in rows]
    rates.plot(offered, [row.throughput_rps for row in rows], "o-", color=_P50, label="answered")
    refused = [row.outcomes["http_429"] / row.seconds for row in rows]
    rates.plot(offered, refused, "o-", color=_P95, label="refused (429)")
    failed = [sum(n for k, n in row.outcomes.items() if k not in ("ok", "http_429")) / row.seconds for row in rows]
    rates.plot(offered, failed, "o-", color=_P99, label="failed otherwise")
    rates.plot([0, max(offered)], [0, max(offered)], "--", color=_GREY, label="offered")
    _log_ms(times)
    _finish(times, "offered, requests / s", "response time of answered requests, ms")
    _finish(rates, "offered, requests / s", "requests / s")
    for axes in (times, rates):
        axes.axvline(report.saturation_rps, color=_GREY, linewidth=0.8)
    figure.suptitle("Open loop; the vertical line is the saturation", fontsize=9, color="#64748b")
    save(figure, path)


def _where_time_goes(rows: Sequence[PhaseRow], path: Path) -> None:
    told = [(row.phase, row.parts.model_dump()) for row in rows if row.parts]
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    names, below = [name for name, _ in told], [0.0] * len(told)
    for part, colour in _PARTS.items():
        heights = [parts[part] for _, parts in told]
        axes.bar(names, heights, bottom=below, color=colour, label=part)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.tick_params(axis="x", rotation=30)
    _finish(axes, "", "mean response time, ms")
    save(figure, path)


def _in_time(step: Step, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    kinds = {"answered": ("ok",), "refused (429)": ("http_429",)}
    for (label, outcomes), colour in zip(kinds.items(), (_P50, _P95), strict=True):
        _dots(axes, [row for row in step.rows if row.outcome in outcomes], label, colour)
    _dots(axes, [row for row in step.rows if row.outcome not in ("ok", "http_429")], "failed otherwise", _P99)
    for segment, start in zip(step.segments, starts_s(step.segments), strict=True):
        axes.axvline(start, color=_GREY, linewidth=0.8)
        axes.annotate(
            f"{segment.phase}, {segment.rate_rps:.3g}/s", (start, 1), xycoords=("data", "axes fraction"),
            xytext=(4, -12), textcoords="offset points", fontsize=8, color="#64748b",
        )  # fmt: skip
    _log_ms(axes)
    _finish(axes, "intended arrival, s", "response time, ms")
    save(figure, path)


def _dots(axes: Axes, rows: Sequence[Row], label: str, colour: str) -> None:
    if rows:
        axes.plot(
            [row.intended_s for row in rows], [row.response_ms for row in rows], ".", color=colour, markersize=4,
            label=f"{label} ({len(rows):,})",
        )  # fmt: skip


def _log_ms(axes: Axes) -> None:
    axes.set_yscale("log")
    for write in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        write(LogFormatter(minor_thresholds=(2, 0.5)))


def _finish(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend(frameon=False, fontsize=9)
    plain(axes)
