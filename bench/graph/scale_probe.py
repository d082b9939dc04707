"""Open a graph, or walk over it, in a process of its own: `python -m bench.graph.scale_probe open|walk CATALOG GRAPH ...`.

Prints one JSON line. Imports and the kernel's compilation are over before the clock starts.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from graph.store import TasteGraph
from graph.walk import Walkable, walk
from navigator.contracts import Catalog

LENGTH, RESTART, TOP = 20, 0.3, 50
THREADS = (1, 2)


def open_once(catalog: Path, graph: Path) -> dict[str, Any]:
    """Milliseconds to open the graph and its first relation."""
    opened = Catalog.open(catalog)
    begun = time.perf_counter()
    relation = TasteGraph.open(graph, opened, purpose="bench").relation("saved")
    return {"open_ms": (time.perf_counter() - begun) * 1000, "edges": relation.n_edges}


def walk_once(catalog: Path, graph: Path, samples: int, walks: int, seed: int) -> dict[str, Any]:
    """Seed items a second, by threads; the same seeds for all, pages and kernel warmed with others."""
    taste_graph = TasteGraph.open(graph, Catalog.open(catalog), purpose="bench")
    relation = taste_graph.relation("saved")
    sizes = {name: taste_graph.n_nodes(name) for name in ("item", "user")}
    edges, rng = Walkable.of([relation], sizes), np.random.default_rng(seed)
    warm, seeds = rng.integers(0, sizes["item"], samples), rng.integers(0, sizes["item"], samples)
    speed = {}
    for threads in THREADS:
        for part in (warm, seeds):
            begun = time.perf_counter()
            walk(edges, "item", part, {"item": TOP}, walks, LENGTH, RESTART, seed, threads)
            speed[threads] = samples / (time.perf_counter() - begun)
    return {"samples_per_s": speed, "edges": relation.n_edges}


def main(argv: list[str]) -> None:
    """The first word says what, then catalogue, graph, samples, walks, seed."""
    what, catalog, graph, samples, walks, seed = argv
    if what == "open":
        print(json.dumps(open_once(Path(catalog), Path(graph))))
    else:
        print(json.dumps(walk_once(Path(catalog), Path(graph), int(samples), int(walks), int(seed))))


if __name__ == "__main__":
    main(sys.argv[1:])
