"""The two pictures of a report: quality against latency, and where the latencies lie."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from bench.drawing import plain, save
from navigator.contracts.report import BenchReport, Interval, Latency, RequestRecord

_OURS, _OTHERS = "#c2410c", "#475569"
_COLOURS = ("#1d4ed8", "#15803d", "#7e22ce", "#0e7490", "#a16207", "#475569", "#be185d")


def quality_against_latency(report: BenchReport, path: Path, metric: str = "ndcg@10") -> bool:
    """One labelled point a system: P50 (bar to P95) against the metric with its interval.

    Returns:
        Whether a picture was written; it is not when no system has both figures.
    """
    points = [(n, s.latency_ms, s.quality.of(metric)) for n, s in report.systems.items() if s.latency_ms and s.quality]
    if not points:
        return False
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, times, value in points:
        colour = _OURS if name == "swapped" else _OTHERS
        below, above = value.mean - value.ci95[0], value.ci95[1] - value.mean
        axes.errorbar(
            times.p50, value.mean, yerr=[[below], [above]], xerr=[[0], [max(times.p95 - times.p50, 0)]],
            fmt="o", color=colour, ecolor=colour, elinewidth=1, capsize=2.5, markersize=7 if name == "swapped" else 5,
        )  # fmt: skip
    _log_ms(axes)
    _label(axes, points)
    axes.set_ylabel(f"{metric.upper()}, mean and 95 % interval ({report.n_queries:,} queries)")
    axes.set_title(f"{report.task}: quality against latency", loc="left")
    left_out = [name for name in report.systems if name not in {point[0] for point in points}]
    if left_out:
        figure.supxlabel("not measured: " + ", ".join(left_out), fontsize=8, color="#64748b")
    return save(figure, path)


def latency_distribution(records: Sequence[RequestRecord], path: Path) -> bool:
    """Share of requests answered within a time, one step line a system; False when nothing was timed."""
    times: dict[str, list[float]] = {}
    for record in records:
        if record.phase == "timed" and record.latency_ms is not None:
            times.setdefault(record.system, []).append(record.latency_ms)
    if not times:
        return False
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    by_median = sorted(times.items(), key=lambda item: sorted(item[1])[len(item[1]) // 2])
    for number, (name, values) in enumerate(by_median):
        ours = name == "swapped"
        colour = _OURS if ours else _COLOURS[number % len(_COLOURS)]
        axes.ecdf(values, label=f"{name} ({len(values)})", color=colour, linewidth=2.5 if ours else 1.5)
    _log_ms(axes)
    axes.set_ylabel("share of requests answered within")
    axes.set_title("Latency distribution (requests)", loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return save(figure, path)


def _label(axes: Axes, points: Sequence[tuple[str, Latency, Interval]]) -> None:
    """Names beside their points, at the first of four places that covers no other point, bar or name."""
    axes.margins(x=0.18, y=0.12)
    axes.figure.canvas.draw()
    taken = [_box(axes, times, value) for _, times, value in points]
    for name, times, value in points:
        for dx, dy, side in ((8, 5, "left"), (8, -14, "left"), (-8, 5, "right"), (-8, -14, "right")):
            text = axes.annotate(
                name, (times.p50, value.mean), xytext=(dx, dy), textcoords="offset points", ha=side, fontsize=9,
                fontweight="bold" if name == "swapped" else "normal", color=_OURS if name == "swapped" else "#0f172a",
            )  # fmt: skip
            extent = text.get_window_extent()
            if not any(extent.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            axes.add_artist(text)
        taken.append(extent)


def _box(axes: Axes, times: Latency, value: Interval) -> Bbox:
    """What a point and its bars cover, in pixels."""
    corners = axes.transData.transform([(times.p50, value.ci95[0]), (times.p95, value.ci95[1])])
    return Bbox([corners[0] - (6, 0), corners[1] + (2, 0)])


def _log_ms(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("latency of one request, ms (log scale)")
    plain(axes)
