"""The two sides that are asked: a vector store, or a swapped model with the vectors it reads.

The bench needs of a side what `Side` lists and nothing else; one that lives behind an address would implement it with an
HTTP client whose time-outs and refusals are RequestErrors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.graph.stores import open_checked
from bench.inputs import fingerprint_of
from bench.shadow.options import Options
from bench.shadow.traffic import Request
from bench.systems.base import RequestError
from bench.systems.rows import CatalogVectors
from bench.taste.models import model_folders
from navigator.contracts import Catalog, ItemVectors, UserError, read_manifest
from navigator.contracts.shadow import ShadowSide
from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise
from navigator.metrics import top_k

Answer = tuple[np.ndarray, np.ndarray]
Scores = Callable[[Sequence[int], str], np.ndarray]


class Side(Protocol):
    """One of the two."""

    @property
    def about(self) -> ShadowSide:
        """What it is, by fingerprints."""
        ...

    @property
    def words(self) -> str:
        """How it answers, in a sentence for the protocol."""
        ...

    @property
    def missing(self) -> int | None:
        """Items of the catalogue that it can never show; None where it cannot tell."""
        ...

    def answer(self, request: Request) -> Answer:
        """At most k catalogue items (n,), best first and none of the history, and their scores (n,).

        Raises:
            RequestError: this request got no answer.
        """
        ...


@dataclass(frozen=True)
class Local:
    """A side in this process: one query vector a request, compared with all items of its store.

    Attributes:
        vectors: the store in catalogue order.
        scores: (history items of the catalogue that have a vector, text) -> (1, n_items), -inf where there is no vector.
        reads_text: whether a text alone is enough to ask with.
    """

    about: ShadowSide
    words: str
    vectors: CatalogVectors
    scores: Scores
    reads_text: bool

    @property
    def missing(self) -> int:
        return self.vectors.missing

    def answer(self, request: Request) -> Answer:
        asked = request.query
        known = [item for item in asked.history if self.vectors.row[item] >= 0]
        if not known and not (asked.title and self.reads_text):
            raise RequestError(f"nothing to ask with: {_why(asked)}")
        scores = self.scores(known, asked.title)
        scores[0, list(asked.history)] = -np.inf
        items, best = top_k(scores, request.k)
        shown = items[0] >= 0
        if not shown.any():
            raise RequestError("no item is left to show")
        return items[0][shown], best[0][shown]


def open_side(label: str, options: Options, catalog: Catalog, graph: str | None) -> Side:
    """A side from VECTORS or MODEL:VECTORS; `label` is "old" or "new".

    Raises:
        UserError: an address, a missing folder, vectors of another catalogue, encoder or graph.
    """
    source: str = getattr(options, label)
    encoder: str | None = getattr(options, f"{label}_encoder")
    if source.startswith(("http://", "https://")):
        raise UserError(
            f"--{label} {source} is an address; allowed are a folder of vectors and MODELFOLDER:VECTORSFOLDER on this machine"
        )
    if ":" in source:
        return _model(label, source, encoder, options, catalog, graph)
    return _store(label, source, encoder, options.last, catalog, graph)


def _store(label: str, source: str, encoder: str | None, last: int, catalog: Catalog, graph: str | None) -> Local:
    store, by_text = _vectors(label, Path(source), graph), None
    aligned = CatalogVectors.align(store, catalog.item_ids, label)
    if encoder is not None:
        from navigator.texts import text_vectors

        by_text = text_vectors(encoder, store)
    content = _content(aligned, store.content_dim) if by_text is not None else aligned

    def scores(items: Sequence[int], text: str) -> np.ndarray:
        told = by_text([text]) if text and by_text is not None else np.zeros((0, store.dim), np.float32)
        if not items:
            return content.scores(told[:, : store.content_dim])
        parts = np.concatenate([aligned.unit[list(items[-last:])], told])
        return aligned.scores(normalise(parts.mean(axis=0))[None])

    read = (
        "and of the text; texts alone are compared with the content of the vectors"
        if encoder
        else "(texts are not read: no encoder was given)"
    )
    words = f"{label}: exact kNN around the unit mean of the latest {last} items {read}"
    return Local(_about(source, {"vectors": Path(source)}), words, aligned, scores, encoder is not None)


def _content(vectors: CatalogVectors, dim: int) -> CatalogVectors:
    """Unit content parts: a text has no graph factors, and would prefer items that have none either (navigator.retrieve)."""
    return vectors if dim == vectors.unit.shape[1] else CatalogVectors(vectors.row, normalise(vectors.unit[:, :dim]))


def _model(
    label: str, source: str, encoder: str | None, options: Options, catalog: Catalog, graph: str | None
) -> Local:
    from navigator.recommend import Recommender
    from navigator.tower import PatchTower

    model, vectors = model_folders(label, source)
    trained_on = read_manifest(model, "model", "accelerate launch -m train.posttrain").inputs.get("graph")
    if graph is not None and trained_on not in (None, graph):
        raise UserError(
            f"--{label} {model} was trained with graph {trained_on}, but {graph} is given: it may know what that one holds "
            "out; give the graph it was trained with, or a --log"
        )
    store = _vectors(label, vectors, graph)
    recommender = Recommender.open(model, vectors, options.device, encoder=encoder)
    if isinstance(recommender.model.model.visual, PatchTower):
        raise UserError(f"--{label} {model} reads pictures; allowed are swapped models, which read item vectors")

    aligned = CatalogVectors.align(store, catalog.item_ids, label)

    def scores(items: Sequence[int], text: str) -> np.ndarray:
        return aligned.scores(recommender.query_vectors([aligned.rows_of(items)], [text]))

    words = f"{label}: exact kNN around the model's query from the latest {recommender.max_history} items and the text"
    return Local(_about(source, {"model": model, "vectors": vectors}), words, aligned, scores, encoder is not None)


def _why(asked: Query) -> str:
    history = "no item of the history has a vector" if asked.history else "no history"
    return history + (", and no encoder that reads the text" if asked.title else ", and no text")


def _vectors(label: str, folder: Path, graph: str | None) -> ItemVectors:
    return ItemVectors.open(folder) if graph is None else open_checked(label, folder, graph)


def _about(source: str, folders: dict[str, Path]) -> ShadowSide:
    return ShadowSide(
        source=source, fingerprints={part: fingerprint_of(part, folder) for part, folder in folders.items()}
    )
