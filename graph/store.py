"""TasteGraph: the taste graph and its training signals as an artefact of Parquet files.

nodes_{board,user,interest,item}.parquet   id                        row order = node index
edges_{holds,saved,has,about}.parquet      src, dst, time, weight    int32 node indices; training edges only
sequences.parquet                          navigator.contracts.signals (training saves and what is held out)
unseen.parquet                             the same, boards of unseen owners (graph.unseen); only when asked for
pairs.parquet                              item_a, item_b, visits    external ids
hard_negatives.parquet                     item_id, negatives[], ranks[]
manifest.json                              kind "graph"; inputs.catalog is the catalogue's fingerprint
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch_geometric.data import HeteroData

from graph.build import EDGE_TYPES, NODE_TYPES, Edges, EdgeType, build_hetero
from graph.saves import positions
from navigator.contracts import Catalog, Manifest, UserError, read_manifest
from navigator.contracts.signals import TasteSequence, read_sequences


@dataclass(frozen=True)
class TasteGraph:
    """A complete taste graph, opened for reading beside the catalogue it was built from."""

    path: Path
    manifest: Manifest
    item_index: dict[str, int]

    @classmethod
    def open(cls, path: str | Path, catalog: Catalog) -> "TasteGraph":
        """Raises UserError when the folder is missing or half-written, or was built from another catalogue."""
        path = Path(path)
        manifest = read_manifest(path, "graph", f"navigator graph {catalog.path} --out {path}")
        built_from = manifest.inputs.get("catalog")
        if built_from != catalog.fingerprint:
            raise UserError(
                f"taste graph {path} was built from catalogue {built_from}; {catalog.path} is {catalog.fingerprint}; "
                f"give the graph of this catalogue, or build one with `navigator graph {catalog.path} --out ...`"
            )
        return cls(path, manifest, catalog.item_index)

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    def node_ids(self, node_type: str) -> list[str]:
        """External ids of a node type in index order (interests: their names)."""
        return pq.read_table(self.path / f"nodes_{node_type}.parquet")["id"].to_pylist()

    def edges(self, edge_type: EdgeType) -> Edges:
        """The training edges of one type, node indices."""
        table = pq.read_table(self.path / f"edges_{edge_type[1]}.parquet")
        return Edges(*(table[name].to_numpy() for name in ("src", "dst", "time", "weight")))

    def hetero(self) -> HeteroData:
        """The graph with reverse edges, see graph.build.build_hetero."""
        counts = {name: pq.read_metadata(self.path / f"nodes_{name}.parquet").num_rows for name in NODE_TYPES}
        return build_hetero(counts, {edge_type: self.edges(edge_type) for edge_type in EDGE_TYPES})

    @cached_property
    def sequences(self) -> list[TasteSequence]:
        """Boards, then users, with their held-out items, by internal item index."""
        return read_sequences(self.path / "sequences.parquet", self.item_index)

    @cached_property
    def unseen(self) -> list[TasteSequence]:
        """Boards of owners of whom training knows nothing (see graph.unseen); empty in a graph built without them."""
        path = self.path / "unseen.parquet"
        return read_sequences(path, self.item_index) if path.is_file() else []

    @cached_property
    def pairs(self) -> np.ndarray:
        """(n, 3) int64: item_a, item_b, visits of b in the walks from a."""
        table = pq.read_table(self.path / "pairs.parquet")
        ids = pa.array(list(self.item_index), pa.string())
        columns = [positions(table[name], ids, "item") for name in ("item_a", "item_b")]
        return np.stack([*columns, table["visits"].to_numpy()], axis=1)

    @cached_property
    def hard_negatives(self) -> np.ndarray:
        """(n_items, m) int32 item indices, -1 padding; m is the longest list."""
        table = pq.read_table(self.path / "hard_negatives.parquet")
        lists = table["negatives"].combine_chunks()
        sizes = lists.value_lengths().to_numpy()
        out = np.full((len(self.item_index), int(sizes.max(initial=0))), -1, np.int32)
        ids = pa.array(list(self.item_index), pa.string())
        rows = positions(table["item_id"], ids, "item")
        start = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if len(sizes) else sizes
        column = np.arange(sizes.sum()) - np.repeat(start, sizes)
        out[np.repeat(rows, sizes), column] = positions(lists.flatten(), ids, "item")
        return out


def write_nodes_and_edges(folder: Path, nodes: dict[str, Sequence[str]], edges: dict[EdgeType, Edges]) -> None:
    """Write the node and edge tables into a work folder (see navigator.contracts.manifest.publish)."""
    for name in NODE_TYPES:
        pq.write_table(pa.table({"id": pa.array(nodes[name], pa.string())}), folder / f"nodes_{name}.parquet")
    for edge_type, table in edges.items():
        columns = {"src": table.src, "dst": table.dst, "time": table.time, "weight": table.weight}
        pq.write_table(pa.table(columns), folder / f"edges_{edge_type[1]}.parquet")


def write_signals(
    folder: Path, item_ids: Sequence[str], pairs: pa.Table, negatives: np.ndarray, ranks: np.ndarray
) -> None:
    """Write co-save pairs and hard negatives (see graph.signals) with external ids."""
    ids = pa.array(item_ids, pa.string())
    named = {name: ids.take(pairs[name].combine_chunks()) for name in ("item_a", "item_b")}
    pq.write_table(pa.table({**named, "visits": pairs["visits"]}), folder / "pairs.parquet")
    filled = negatives >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(filled.sum(axis=1))]), pa.int32())
    table = {
        "item_id": ids,
        "negatives": pa.ListArray.from_arrays(offsets, ids.take(pa.array(negatives[filled]))),
        "ranks": pa.ListArray.from_arrays(offsets, pa.array(ranks[filled])),
    }
    pq.write_table(pa.table(table), folder / "hard_negatives.parquet")
