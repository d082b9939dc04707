"""TasteGraph: the taste graph and its training signals as an artefact; opening it reads the manifest and nothing else.

nodes_{item,board,user,interest}.parquet   id, degree, cold          row order = node number; degree = training saves
csr/NAME.*.npy                             one relation's edges      graph.relation; training edges only
sequences.parquet                          navigator.contracts.signals (training saves and what is held out)
unseen.parquet                             the same, unseen boards (graph.unseen); only when asked for or given
rejects.parquet                            relation, row, source, target, reason      every edge that was refused
signals.parquet                            graph.signal_table        what training takes from the graph
policy.yaml                                graph.policy              the policy it was built under
manifest.json                              kind "graph"; inputs.catalog is the catalogue's fingerprint;
                                           metrics.relations: {name: {source, target, edges, time_first, time_unit}}
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.build import build_hetero
from graph.policy import FILE as POLICY
from graph.policy import Purpose, load_policy
from graph.relation import CO_SAVED, NODE_TYPES, Edges, EdgeType, Relation
from graph.signal_table import read_hard_negatives, read_impressions, read_pairs
from navigator.contracts import Catalog, Manifest, UserError, read_manifest
from navigator.contracts.signals import Histories, Task, TasteSequence, read_histories, read_sequences

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

CSR = "csr"


@dataclass(frozen=True)
class TasteGraph:
    """A complete taste graph, opened for reading beside the catalogue it was built from, for a named purpose."""

    path: Path
    manifest: Manifest
    catalog: Catalog
    purpose: Purpose

    @classmethod
    def open(cls, path: str | Path, catalog: Catalog, purpose: str = "train") -> "TasteGraph":
        """Open for a purpose of the policy that the graph carries (see graph.policy); what it may not read is refused.

        Raises:
            UserError: the folder is missing or half-written, was built from another catalogue, or its policy has no
                such purpose.
        """
        path = Path(path)
        manifest = read_manifest(path, "graph", f"navigator graph build {catalog.path} --out {path}")
        built_from = manifest.inputs.get("catalog")
        if built_from != catalog.fingerprint:
            raise UserError(
                f"taste graph {path} was built from catalogue {built_from}; {catalog.path} is {catalog.fingerprint}; "
                f"give the graph of this catalogue, or build one with `navigator graph build {catalog.path} --out ...`"
            )
        policy = load_policy(path if (path / POLICY).is_file() else None)
        return cls(path, manifest, catalog, policy.purpose(purpose, path))

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def item_index(self) -> dict[str, int]:
        """Item number of each external id; made when first asked for."""
        return self.catalog.item_index

    def node_ids(self, node_type: str) -> list[str]:
        """External ids of a node type in index order (interests: their names, which are titles)."""
        if node_type == "interest":
            self.purpose.check_field("titles")
        return pq.read_table(self.path / f"nodes_{node_type}.parquet", columns=["id"])["id"].to_pylist()

    def n_nodes(self, node_type: str) -> int:
        return pq.read_metadata(self.path / f"nodes_{node_type}.parquet").num_rows

    def degrees(self, node_type: str) -> np.ndarray:
        """(n,) int32 training saves of each node, before pruning; 0 is a cold node."""
        return pq.read_table(self.path / f"nodes_{node_type}.parquet", columns=["degree"])["degree"].to_numpy()

    @property
    def edge_types(self) -> tuple[EdgeType, ...]:
        """The relations this graph was built with, in a fixed order."""
        relations = self.manifest.metrics.get("relations")
        if relations is None:
            raise UserError(
                f"taste graph {self.path} has the layout of an older version; build it again with "
                f"`navigator graph build {self.catalog.path} --out {self.path}`"
            )
        return tuple((about["source"], name, about["target"]) for name, about in relations.items())

    def relation(self, name: str) -> Relation:
        """One relation's edges, memory-mapped; a time or weight that the purpose may not read is as if not there.

        Of the co-saves, which are aggregates, only those that enough people made for the purpose's minimum_group_size.

        Raises:
            UserError: the graph has no such relation, or the purpose may not read it.
        """
        by_name = {edge_type[1]: edge_type for edge_type in self.edge_types}
        if name not in by_name:
            raise UserError(
                f"taste graph {self.path} has no relation {name!r}; it has {', '.join(by_name)}; follows need a "
                "follows table in the catalogue, co_saved the option --co_saves"
            )
        self.purpose.check_types([name])
        about = self.manifest.metrics["relations"][name]
        relation = Relation.open(self.path / CSR, by_name[name], about["time_first"], about["time_unit"])
        if name == CO_SAVED[1] and self.purpose.minimum_group_size > 1:
            edges = relation.edges()
            n = len(relation.indptr) - 1
            relation = Relation.from_edges(CO_SAVED, n, n, edges.rows(self.purpose.large_enough(edges.weight)))
        hidden = {field: None for field in ("time", "weight") if field not in self.purpose.fields}
        return replace(relation, **hidden) if hidden else relation

    def edges(self, edge_type: EdgeType) -> Edges:
        """The training edges of one type, node numbers."""
        return self.relation(edge_type[1]).edges()

    def hetero(self) -> "HeteroData":
        """The graph with reverse edges, see graph.build.build_hetero."""
        counts = {name: self.n_nodes(name) for name in NODE_TYPES}
        return build_hetero(counts, {edge_type: self.edges(edge_type) for edge_type in self.edge_types})

    def histories(self, task: Task) -> Histories:
        """The training saves of every owner of a task, none pruned."""
        self.purpose.check_types(["holds" if task == "board-completion" else "saved"])
        return read_histories(self.path / "sequences.parquet", task, self.catalog.item_ids)

    @cached_property
    def sequences(self) -> list[TasteSequence]:
        """Boards, then users, with their held-out items, by internal item index; titles where the purpose may."""
        self.purpose.check_types(["holds", "saved"])
        return self._titled(read_sequences(self.path / "sequences.parquet", self.item_index))

    @cached_property
    def unseen(self) -> list[TasteSequence]:
        """Boards of which training knows nothing (see graph.unseen), by internal item index; empty where none is.

        Those of part test have their held-out item in `test`, those of part valid in `valid`; boards below min_board hold
        out nothing. See navigator.contracts.signals.unseen_queries for other requests of them.
        """
        self.purpose.check_types(["holds"])
        path = self.path / "unseen.parquet"
        return self._titled(read_sequences(path, self.item_index)) if path.is_file() else []

    @cached_property
    def pairs(self) -> np.ndarray:
        """(n, 3) int64: item_a, item_b, visits of b in the walks from a."""
        self.purpose.check_types(["holds", "saved"])
        return read_pairs(self.path, self.catalog.item_ids)

    @cached_property
    def hard_negatives(self) -> np.ndarray:
        """(n_items, m) int32 item indices, -1 padding; m is the longest list."""
        self.purpose.check_types(["holds", "saved"])
        return read_hard_negatives(self.path, self.catalog.item_ids)

    @cached_property
    def impressions(self) -> Histories:
        """What users were shown before anything held out, and never saved (see graph.impressions)."""
        self.purpose.check_types(["saved"])
        return read_impressions(self.path, self.catalog.item_ids)

    def _titled(self, sequences: list[TasteSequence]) -> list[TasteSequence]:
        return sequences if "titles" in self.purpose.fields else [replace(s, title="") for s in sequences]


def write_nodes(folder: Path, node_type: str, ids: pa.Array | Sequence[str], degree: np.ndarray) -> None:
    """Write one node table into a work folder (see navigator.contracts.manifest.publish)."""
    columns = {"id": pa.array(ids, pa.string()), "degree": degree.astype(np.int32), "cold": degree == 0}
    pq.write_table(pa.table(columns), folder / f"nodes_{node_type}.parquet")


def describe(relation: Relation) -> dict[str, str | int]:
    """What the manifest says of a relation."""
    source, _, target = relation.edge_type
    return {
        "source": source, "target": target, "edges": relation.n_edges,
        "time_first": relation.time_first, "time_unit": relation.time_unit,
    }  # fmt: skip
