"""Rankings of systems for the queries of a gold set: the systems of `navigator-bench taste`, with settings given, not tuned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.gold.options import Systems
from bench.taste.assemble import contenders, input_fingerprints
from bench.taste.options import Options
from bench.taste.world import Fold, World
from graph.store import TasteGraph
from navigator.contracts import Catalog
from navigator.contracts.signals import Query


def as_world(taste_graph: TasteGraph, ranked_by: Systems, queries: Sequence[Query]) -> World:
    """The gold queries as the taste bench sees a test: systems learn from all training and validation saves.

    A gold set asks boards and titles and users together, so item-to-item systems are fitted on boards and users together.
    """
    catalog, sequences = taste_graph.catalog, taste_graph.sequences
    rows = [s.items + s.valid for s in sequences]
    final = Fold(rows, list(queries), len(catalog.item_ids), False, np.ones(len(catalog.item_ids), bool))
    options = Options(
        catalog.path, taste_graph.path, Path(), ranked_by.systems, ranked_by.vectors, ranked_by.models, {}, [],
        "board-completion", "test", 0, True, ranked_by.encoder, True, 0, 0, 0.0, None, [0], 0.0, 0, 0,
        ranked_by.settings.grids(), ranked_by.device, 0,
    )  # fmt: skip
    return World(
        catalog, taste_graph.fingerprint, taste_graph.manifest.config, options, [], [], final, 0, "queries", None, {}
    )


def rankings(world: World, depth: int) -> dict[str, np.ndarray]:
    """System -> (q, depth) catalogue rows, best first, -1 for none; the history is never among them.

    Raises:
        UserError: a missing or foreign store or model.
    """
    found = {}
    for contender in contenders(world):
        ranker, _ = contender.fit(world.final, contender.grid[0], 0)
        ranked, _ = ranker.recommend(world.final.queries, depth)
        if not contender.without_history:
            ranked[[not q.history for q in world.final.queries]] = -1
        found[contender.name] = ranked
    return found


def sources(world: World) -> dict[str, str]:
    """Fingerprints of what the rankings depend on."""
    return input_fingerprints(world)


def open_graph(catalog: Path, graph: Path) -> TasteGraph:
    """Raises UserError for a missing one, or a graph of another catalogue."""
    return TasteGraph.open(graph, Catalog.open(catalog), purpose="bench")
