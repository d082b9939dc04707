"""The report of `navigator-bench graph scale` as words."""

import math
from collections.abc import Sequence
from itertools import pairwise

from bench.graph.scale_figures import ScaleReport, Size
from bench.markdown import bullets, piped, provenance

GROWING = ("build_s", "build_peak_mb", "open_ms")


def growth(sizes: Sequence[Size]) -> dict[str, float]:
    """Exponents between one size and the next: log of the figure's ratio over log of the saves' ratio; 1 is linear."""
    return {
        f"{name} {small.saves} to {large.saves}": math.log(getattr(large, name) / getattr(small, name))
        / math.log(large.saves / small.saves)
        for small, large in pairwise(sizes)
        for name in GROWING
    }


def rows(sizes: Sequence[Size]) -> list[tuple[str, ...]]:
    """Head and one row a size."""
    threads = sorted(sizes[0].samples_per_s)
    head = ("saves", "users", "items", "edges", "build s", "peak MiB", "csr B/edge", "folder B/edge", "open ms")
    body = [
        (
            f"{s.saves:,}", f"{s.users:,}", f"{s.items:,}", f"{s.edges:,}", f"{s.build_s:.1f}", f"{s.build_peak_mb:,.0f}",
            f"{s.csr_bytes_per_edge:.2f}", f"{s.graph_bytes_per_edge:.2f}", f"{s.open_ms:.1f}",
            *(f"{s.samples_per_s[t]:,.0f}" for t in threads),
        )
        for s in sizes
    ]  # fmt: skip
    return [(*head, *(f"samples/s, {t} thread{'s' if t > 1 else ''}" for t in threads)), *body]


def table(sizes: Sequence[Size]) -> str:
    """Plain text columns for a terminal."""
    lines = rows(sizes)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines)


def markdown(report: ScaleReport) -> str:
    """report.md, beside scale.png."""
    found = [f"{name}: {exponent:.2f}" for name, exponent in report.growth.items()]
    parts = [
        "# The taste graph at scale", piped(rows(report.sizes)),
        "![scale.png](scale.png)", bullets("Growth exponents", found), bullets("Protocol", report.protocol),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"
