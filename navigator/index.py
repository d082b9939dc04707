"""The item index: FAISS over item vectors, saved with the ids and the fingerprint of the vectors it was built from.

It is opened as a memory map: processes that serve the same index share one copy of it, in the system's page cache, and what
no query touches is not even read. Only an index that moves to a GPU is read whole, once.
"""

import threading
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from navigator.contracts import ItemVectors, Manifest, UserError, is_current, publish, read_manifest
from navigator.contracts.vectors import as_stored, normalise

OVERFETCH = 8
Kind = Literal["flat", "ivf", "hnsw"]
KINDS: tuple[Kind, ...] = ("flat", "ivf", "hnsw")


def build_index(vectors: np.ndarray, kind: str, nlist: int = 0, links: int = 32) -> Any:
    """A FAISS inner-product index over unit vectors (n, D): exact ("flat"), inverted lists ("ivf") or a graph ("hnsw").

    Args:
        vectors: (n, D) float32.
        kind: flat, ivf or hnsw.
        nlist: inverted lists; 0 means 4 * sqrt(n), at most n / 39 (FAISS wants 39 training points a list).
        links: neighbours a node in hnsw.
    """
    n, dim = vectors.shape
    if kind == "flat":
        index: Any = faiss.IndexFlatIP(dim)
    elif kind == "ivf":
        lists = nlist or max(1, min(int(4 * n**0.5), n // 39))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(1, lists // 8)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = 128
    else:
        raise UserError(f"index kind {kind!r}; allowed are {', '.join(KINDS)}")
    index.train(vectors)
    index.add(vectors)
    return index


def write_index(vectors: Path, out: Path, kind: str) -> dict[str, Any]:
    """Build and publish an index artefact; returns its size and whether it was already there."""
    store = ItemVectors.open(vectors)
    assert store.manifest is not None
    made = store.manifest.config
    config = {
        "kind": kind, "encoder": store.encoder, "dim": store.dim,
        "content_encoder": made.get("content_encoder", store.encoder), "content_dim": made.get("content_dim", store.dim),
    }  # fmt: skip
    inputs = {"vectors": store.manifest.fingerprint}
    if is_current(out, "index", config, inputs):
        return {"out": str(out), "items": len(store.ids), "kind": kind, "unchanged": True}
    with publish(out, "index", config, inputs) as work:
        index = build_index(store.float32(), kind)
        faiss.write_index(index, str(work.path / "index.faiss"))
        pq.write_table(pa.table({"item_id": store.ids}), work.path / "ids.parquet")
    return {"out": str(out), "items": len(store.ids), "kind": kind, "unchanged": False}


class ItemIndex:
    """An opened index; uses the GPU when faiss-gpu is installed and finds one."""

    def __init__(self, path: Path, index: Any, ids: list[str], manifest: Manifest):
        self.path, self.index, self.ids, self.manifest = path, index, ids, manifest
        self._row = {item: row for row, item in enumerate(ids)}
        self._mapping = threading.Lock()

    @classmethod
    def open(cls, path: str | Path, encoder: str | None = None) -> "ItemIndex":
        """Raises UserError for a missing or corrupt index, or one of another encoder's vectors."""
        path = Path(path)
        manifest = read_manifest(path, "index", f"navigator index VECTORS --out {path}")
        made_by = manifest.config["encoder"]
        if encoder is not None and encoder != made_by:
            raise UserError(
                f"index {path} holds vectors of encoder {made_by}, but {encoder} is needed; build it from those vectors"
            )
        try:
            on_gpu = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
            index = faiss.read_index(str(path / "index.faiss"), 0 if on_gpu else faiss.IO_FLAG_MMAP_IFC)
            ids = pq.read_table(path / "ids.parquet")["item_id"].to_pylist()
        except (RuntimeError, OSError, pa.ArrowException) as error:
            raise UserError(
                f"index {path} is corrupt ({str(error).splitlines()[0][:120]}); build it again with `navigator index`"
            ) from error
        if index.ntotal != len(ids) or index.d != manifest.config["dim"]:
            raise UserError(
                f"index {path} is corrupt ({index.ntotal} vectors for {len(ids)} ids); build it again with `navigator index`"
            )
        if on_gpu:
            index = faiss.index_cpu_to_all_gpus(index)
        return cls(path, index, ids, manifest)

    def vector(self, item_id: str) -> np.ndarray:
        """(D,) stored vector of an item; UserError for an unknown id."""
        if item_id not in self._row:
            raise UserError(f"item {item_id!r} is not in index {self.path} ({len(self.ids):,} items); check the id")
        return self._vectors([item_id])[0]

    def search(
        self, queries: np.ndarray, k: int, exclude: list[set[str]] | None = None
    ) -> list[list[tuple[str, float]]]:
        """The k nearest items of each unit query (B, D), best first; items in `exclude[b]` are passed over."""
        banned = exclude or [set() for _ in queries]
        widest = min(len(self.ids), k + max((len(ids) for ids in banned), default=0))
        scores, rows = self.index.search(np.ascontiguousarray(queries, np.float32), widest)
        results = []
        for b, skip in enumerate(banned):
            found = [(self.ids[r], float(s)) for r, s in zip(rows[b], scores[b], strict=True) if r >= 0]
            results.append([(i, s) for i, s in found if i not in skip][:k])
        return results

    def search_content(
        self, content: np.ndarray, k: int, exclude: list[set[str]] | None = None
    ) -> list[list[tuple[str, float]]]:
        """The k nearest items of an encoder's unit vectors (B, E) by the cosine with their content, best first.

        An inner product with a query whose graph factors are zero prefers items that have none: all of their length is
        content. So OVERFETCH times as many are fetched and put in the order of their content cosines (with 30 % of
        openclipart's items without factors, 4 times as many held 99.8 % of the exact 200, once as many 47 %).
        """
        kept = self.manifest.config["content_dim"]
        wide = as_stored(content, kept, self.index.d)
        if kept == self.index.d:
            return self.search(wide, k, exclude)
        results = []
        for query, own in zip(wide, self.search(wide, k * OVERFETCH, exclude), strict=True):
            if own:
                cosines = normalise(self._vectors([item for item, _ in own])[:, :kept]) @ query[:kept]
                own = [(own[n][0], float(cosines[n])) for n in np.argsort(-cosines, kind="stable")]
            results.append(own[:k])
        return results

    def _vectors(self, items: list[str]) -> np.ndarray:
        """(n, D) stored vectors of indexed items."""
        if hasattr(self.index, "make_direct_map"):
            with self._mapping:  # made by whoever comes first
                self.index.make_direct_map()
        return np.stack([self.index.reconstruct(self._row[item]) for item in items])
