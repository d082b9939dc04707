"""The signals of a graph that is being built or added to: walks over its training edges, and the log's impressions."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from graph.impressions import impressions_of
from graph.relation import EDGE_TYPES, Relation
from graph.signal_table import write_signal_table
from graph.store import CSR
from navigator.contracts import Catalog
from navigator.contracts.signals import read_histories

PAIRS_PER_ITEM = 20


def write_signals(
    folder: Path, catalog: Catalog, config: dict[str, Any], counts: dict[str, Any], bar: tqdm
) -> dict[str, Any]:
    """Walk over the training edges, write signals.parquet; returns what is in it."""
    from graph.signals import RANK_HIGH, walked_signals
    from graph.walk import Walkable, walk

    sizes = {name: counts[f"nodes_{name}"] for name in ("item", "board", "user")}
    relations = []
    for edge_type in EDGE_TYPES[:2]:
        about = counts["relations"][edge_type[1]]
        relations.append(Relation.open(folder / CSR, edge_type, about["time_first"], about["time_unit"]))
    edges = Walkable.of(relations, sizes)
    options = {name: config[name] for name in ("walks", "length", "restart", "seed")}

    def visits_of(nodes: np.ndarray) -> Any:
        found = walk(edges, "item", nodes, {"item": RANK_HIGH}, **options, threads=os.cpu_count() or 1)
        bar.set_postfix_str(f"walked from {int(nodes[-1]) + 1:,} items")
        return found["item"]

    walked = ()
    if config["walks"]:
        boards = read_histories(folder / "sequences.parquet", "board-completion", catalog.item_ids)
        walked = walked_signals(visits_of, sizes["item"], boards, PAIRS_PER_ITEM)
    shown: dict[str, int] = {}
    batches = ()
    if config["impressions"]:
        cut = counts.get("time_cut")
        saves = None if config["actions"] is None else [*config["actions"], *(config["test_actions"] or [])]
        sequences, grown = folder / "sequences.parquet", bool(config.get("added"))
        shown, batches = impressions_of(catalog, sequences, config["impressions"], saves, cut, grown)
    rows = write_signal_table(folder, catalog.item_ids, walked, batches)
    return shown | {"signals": rows}
