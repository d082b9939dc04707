"""One picture for comparisons of systems: a panel a slice, a row a system, its mean and interval."""

from collections.abc import Collection, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.drawing import plain, save
from bench.encoder.figures import Figure

_OURS, _OTHERS = "#c2410c", "#475569"
_ACROSS = 3


def interval_plot(
    panels: Mapping[str, Mapping[str, Figure]], label: str, path: Path, ours: Collection[str] = ()
) -> None:
    """Write the picture.

    Args:
        panels: title -> system -> figure; the systems of all panels are the same.
        label: of the figures.
        path: PNG file.
        ours: systems drawn in colour.
    """
    systems = list(next(iter(panels.values())))
    across = min(len(panels), _ACROSS)
    down = -(-len(panels) // across)
    size = (2.2 + 3.4 * across, down * (1.1 + 0.26 * len(systems)))
    figure, grid = plt.subplots(down, across, figsize=size, layout="constrained", sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, figures) in zip(grid.flat, panels.items(), strict=False):
        for row, name in enumerate(systems):
            _point(axes, row, figures[name], name in ours)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(label, fontsize=9)
        axes.set_yticks(range(len(systems)), systems, fontsize=9)
        plain(axes, axis="x")
    grid[0, 0].set_ylim(len(systems) - 0.5, -0.5)  # the first system on top
    save(figure, path, dpi=110)


def _point(axes: Axes, row: int, figure: Figure, ours: bool) -> None:
    colour = _OURS if ours else _OTHERS
    if figure.ci95 is not None:
        axes.plot(figure.ci95, (row, row), color=colour, linewidth=2.2 if ours else 1.4, solid_capstyle="butt")
    axes.plot([figure.mean], [row], "o", color=colour, markersize=6 if ours else 4.5)
