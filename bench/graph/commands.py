"""The commands of `navigator-bench graph`."""

import re
from pathlib import Path
from typing import Any

from navigator.contracts.errors import UserError
from navigator.contracts.signals import TASKS

BASELINES = ("popularity", "item-knn", "ease")


def rank(
    catalog: Path,
    graph: Path,
    out: Path = Path("runs/graph-rank-report"),
    vectors: dict[str, str] | None = None,
    task: str = "next-item",
    part: str = "test",
    k: int = 20,
    systems: list[str] | None = None,
    ease_lambda: float = 500.0,
    seed: int = 0,
    max_history: int = 0,
) -> dict[str, Any]:
    """Rank the whole catalogue for every owner with held-out saves: baselines and vector stores side by side, paired.

    Args:
        catalog: catalogue folder.
        graph: taste graph folder; its split says what is known and what is asked.
        out: report folder to write.
        vectors: name=folder for each, such as gnn@0=runs/gnn0,gnn@1=runs/gnn1,content=runs/vectors. A folder holds
            items/ and perhaps users/ or boards/ (owner vectors ask), or is a store of items (the history's mean asks).
            Names that differ only after an @ are runs of one recipe, averaged owner by owner.
        task: next-item (users) or board-completion (boards).
        part: test or valid.
        k: cut of the metrics.
        systems: baselines to fit, of popularity, item-knn and ease; all by default, [] for none. The first system named
            is what the others are paired with.
        ease_lambda: regularisation of EASE.
        seed: of resampling.
        max_history: latest items of the history that a store without owner vectors asks with; 0 is all.

    Returns:
        Where the report is, means per system, and the comparison as text.

    Raises:
        UserError: a missing or foreign input, an unknown name, an empty split, an option out of range.
    """
    chosen = list(BASELINES if systems is None else systems)
    stores = vectors or {}
    for given, name, allowed in (("task", task, TASKS), ("part", part, ("test", "valid"))):
        if name not in allowed:
            raise UserError(f"{given} {name!r}; allowed are {', '.join(allowed)}")
    unknown = next((name for name in chosen if name not in BASELINES), None)
    if unknown is not None:
        raise UserError(f"unknown system {unknown!r}; allowed are {', '.join(BASELINES)}; name stores with --vectors")
    odd = next((n for n in stores if not re.fullmatch(r"[\w.-]+(@[\w.-]+)?", n) or n in chosen), None)
    if odd is not None:
        raise UserError(
            f"vectors name {odd!r}: allowed are letters, digits, dot, dash, underscore, one @ and no system's name"
        )
    if not (chosen or stores) or k < 1 or ease_lambda <= 0 or max_history < 0:
        raise UserError(
            f"systems {chosen}, vectors {list(stores)}, k {k}, ease_lambda {ease_lambda:g}, max_history {max_history}: "
            "allowed are at least one system or store, k >= 1, ease_lambda > 0 and max_history >= 0"
        )
    from bench.graph.rank import Options, rank_systems

    return rank_systems(
        Options(catalog, graph, out, stores, task, part, k, list(dict.fromkeys(chosen)), ease_lambda, seed, max_history)
    )


def scale(
    edges: list[int] | None = None,
    out: Path = Path("runs/graph-scale-report"),
    work: Path = Path("runs/graph-scale"),
    samples: int = 2000,
    walks: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Build, open and walk over synthetic power-law graphs of growing size: time, memory, bytes an edge, samples a second.

    Args:
        edges: saves of each graph, ascending; default 1000000,10000000,100000000.
        out: report folder to write.
        work: folder for the catalogues and graphs; each is deleted after its turn (100 million saves take about 4 GB).
        samples: items that are walked from.
        walks: random walks from each.
        seed: of what is drawn.

    Returns:
        Where the report is, figures by size, growth exponents, and the table as text.

    Raises:
        UserError: sizes below 1,000 or not ascending, a build that failed.
    """
    sizes = [1_000_000, 10_000_000, 100_000_000] if edges is None else edges
    if not sizes or min(sizes) < 1000 or sorted(set(sizes)) != sizes or samples < 1 or walks < 1:
        raise UserError(
            f"edges {sizes}, samples {samples}, walks {walks}: allowed are ascending sizes from 1,000, and samples and walks "
            "from 1"
        )
    from bench.graph.scale import measure_scale

    return measure_scale(sizes, out, work, samples, walks, seed)


def sampler(
    out: Path = Path("runs/sampler-speed.json"),
    graph: Path | None = None,
    catalog: Path | None = None,
    edges: int = 1_000_000,
    seconds: float = 1.0,
    turns: int = 7,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure steps a second of the walker, of igraph and of NumPy, and the machine's random access, 1 and 2 threads.

    Args:
        out: JSON file to write.
        graph: taste graph folder; by default a synthetic power-law graph.
        catalog: the catalogue it was built from.
        edges: edges of the synthetic graph.
        seconds: length of a turn.
        turns: turns of each contender; the median counts.
        seed: of the synthetic graph and of the walks.
    """
    from bench.graph.sampler_speed import sampler_speed

    return sampler_speed(out, graph, catalog, edges, seconds, turns, seed)
