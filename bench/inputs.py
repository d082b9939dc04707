"""What a run reads: opened, checked against each other, and turned into queries. Nothing is scored here."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.systems.base import training_rows
from bench.systems.rows import CatalogVectors
from navigator.contracts.catalog import Catalog
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import MANIFEST, Manifest, content_fingerprint, digest, read_manifest
from navigator.contracts.signals import TASKS, Query, TasteSequence, make_queries, read_sequences
from navigator.contracts.vectors import ItemVectors


@dataclass(frozen=True)
class Paths:
    """The artefacts of a run; None where not given."""

    catalog: Path
    vectors: Path
    graph: Path
    refined: Path | None = None
    tuned: Path | None = None
    model: Path | None = None
    model_vectors: Path | None = None
    native: Path | None = None

    def given(self) -> dict[str, Path]:
        """Option name -> path of those that were given; model_vectors defaults to vectors when a model is given."""
        paths = {name: path for name, path in vars(self).items() if path is not None}
        if {"model", "native"} & paths.keys():
            paths.setdefault("model_vectors", self.vectors)
        return paths


@dataclass(frozen=True)
class World:
    """The opened inputs.

    Attributes:
        rows: training saves per owner, what the baselines are fitted on.
        cold: (q,) bool, whether all targets of a query have at most `cold_max` training saves.
        content: the untuned store in catalogue order.
    """

    catalog: Catalog
    task: str
    queries: list[Query]
    rows: list[tuple[int, ...]]
    cold: np.ndarray
    content: CatalogVectors

    @property
    def n_items(self) -> int:
        return len(self.catalog.item_ids)


def open_world(paths: Paths, task: str, cold_max: int) -> World:
    """Open catalogue, split and content vectors.

    Raises:
        UserError: unknown task, empty split, missing or mismatching artefact.
    """
    if task not in TASKS:
        raise UserError(f"task {task!r}; allowed are {', '.join(TASKS)}")
    catalog = Catalog.open(paths.catalog)
    sequences = load_sequences(paths.graph, catalog)
    queries = make_queries(sequences, task, "test")
    rows = training_rows(sequences, task)
    counts = np.bincount([i for row in rows for i in set(row)], minlength=len(catalog.item_ids))
    cold = np.array([max(counts[list(q.targets)]) <= cold_max for q in queries])
    content = CatalogVectors.align(ItemVectors.open(paths.vectors), catalog.item_ids, "content")
    return World(catalog, task, queries, rows, cold, content)


def load_sequences(path: Path, catalog: Catalog) -> list[TasteSequence]:
    """The split kept in a taste graph folder; the bench needs nothing else of the graph.

    Raises:
        UserError: no such graph, or one built from another catalogue.
    """
    manifest = read_manifest(path, "graph", f"navigator graph build {catalog.path} --out {path}")
    made_from = manifest.inputs.get("catalog")
    if made_from != catalog.fingerprint:
        raise UserError(
            f"graph {path} was built from catalogue {made_from}, but {catalog.path} is {catalog.fingerprint}; "
            f"give the graph of this catalogue, or build one with `navigator graph build {catalog.path} --out ...`"
        )
    return read_sequences(path / "sequences.parquet", catalog.item_index)


def fingerprints(paths: Paths) -> dict[str, str]:
    """Option name -> fingerprint of what it names (of the files themselves where a folder has no manifest)."""
    return {name: fingerprint_of(name, path) for name, path in paths.given().items()}


def queries_digest(queries: list[Query]) -> str:
    """Digest of everything that was asked: two runs with equal digests asked the same."""
    return digest([[q.query_id, q.history, q.targets, q.title] for q in queries])


def fingerprint_of(name: str, path: Path) -> str:
    """A folder's fingerprint by its manifest, else of its files."""
    if (path / MANIFEST).is_file():
        return Manifest.model_validate_json((path / MANIFEST).read_text()).fingerprint
    if not path.is_dir():
        raise UserError(f"--{name} {path} does not exist; give the folder that the stage before wrote")
    return content_fingerprint(path, name)
