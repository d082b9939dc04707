"""scale.png: build time, peak memory and samples a second against the number of saves."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.drawing import plain, save
from bench.graph.scale_figures import Size

_OURS, _LINE = "#c2410c", "#94a3b8"
_COLOURS = ("#c2410c", "#1d4ed8", "#15803d")


def plot(sizes: Sequence[Size], path: Path) -> None:
    """Three panels on log scales; dashed: growing in proportion from the smallest size (or staying, for samples)."""
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    saves = [size.saves for size in sizes]
    for axes, values, label in (
        (panels[0], [s.build_s for s in sizes], "build, seconds"),
        (panels[1], [s.build_peak_mb / 1024 for s in sizes], "peak memory of the build, GiB"),
    ):
        axes.plot(saves, values, "o-", color=_OURS)
        axes.plot(saves, [values[0] * n / saves[0] for n in saves], "--", color=_LINE, label="linear")
        _finish(axes, label)
    for number, threads in enumerate(sorted(sizes[0].samples_per_s)):
        values = [s.samples_per_s[threads] for s in sizes]
        label = f"{threads} thread{'s' if threads > 1 else ''}"
        panels[2].plot(saves, values, "o-", color=_COLOURS[number % len(_COLOURS)], label=label)
    _finish(panels[2], "samples / s")
    save(figure, path)


def _finish(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("saves")
    axes.set_title(label, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    plain(axes)
