"""What the plots of the bench share: no screen, a light grid without a box, one way to a file."""

from pathlib import Path
from typing import Literal

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def plain(axes: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """A light grid behind the data, across `axis`, and no lines above and to the right."""
    axes.grid(True, which="major", axis=axis, color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path, dpi: int = 130) -> bool:
    """Write the picture and forget it; True, for there is one."""
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    return True
