"""ItemVectors: one vector an item, memory-mapped, and never mistaken for another encoder's.

vectors.safetensors   "vectors" (n, D) float16 | float32 | int8, and "scale" (D,) float32 with int8
ids.parquet           item_id, in row order; of embedded items also `content`, the hash of what was read, and `problem`
manifest.json         kind "vectors"; config.encoder is the fingerprint of what made them
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from navigator.contracts.errors import UnknownNameError, UserError
from navigator.contracts.manifest import Manifest, read_manifest
from navigator.contracts.vector_file import FILE, map_tensors, write_tensors

_TRIES = 5  # a store may be replaced while it is opened


@dataclass(frozen=True)
class ItemVectors:
    """(n, D) vectors with their ids.

    Attributes:
        ids: external item ids, row order.
        matrix: (n, D) array or memory map; int8 rows are multiplied by `scale`.
        encoder: fingerprint of the encoder (or of the recipe) that made them.
        normalised: whether every row has unit L2 norm (up to rounding).
        scale: (D,) float32 for int8, else None.
    """

    ids: list[str]
    matrix: np.ndarray
    encoder: str
    normalised: bool
    scale: np.ndarray | None = None
    manifest: Manifest | None = None

    def __post_init__(self):
        if self.matrix.ndim != 2 or len(self.ids) != self.matrix.shape[0]:
            raise ValueError(f"vectors of shape {self.matrix.shape} for {len(self.ids)} ids: need (n, D) with n ids")
        if len(self.index) != len(self.ids):
            raise ValueError("item ids of a vector store must be unique")
        if self.matrix.dtype == np.int8 and (self.scale is None or self.scale.shape != (self.dim,)):
            raise ValueError("int8 vectors need a scale of shape (D,)")

    @classmethod
    def open(cls, path: str | Path, encoder: str | None = None) -> "ItemVectors":
        """Memory-map a store.

        Raises:
            UserError: missing or broken store, or vectors of another encoder than the `encoder` fingerprint given.
        """
        path = Path(path)
        if not (path / FILE).is_file() and (path / "items" / FILE).is_file():
            raise UserError(
                f"{path} holds stores of items and of their owners, each its own folder; give {path / 'items'}"
            )
        for _ in range(_TRIES):
            manifest = read_manifest(path, "vectors", f"navigator embed CATALOG --out {path}")
            made_by = manifest.config["encoder"]
            if encoder is not None and made_by != encoder:
                raise UserError(
                    f"vectors {path} were made by encoder {made_by}, but {encoder} is needed; "
                    f"embed the catalogue again with that encoder or use the model that belongs to these vectors"
                )
            try:
                store = cls._map(path, manifest)
            except UserError:
                if not _replaced(path, manifest):
                    raise
                continue
            if not _replaced(path, manifest):
                return store
        raise UserError(f"vector store {path} was replaced {_TRIES} times while it was opened; try again")

    @classmethod
    def _map(cls, path: Path, manifest: Manifest) -> "ItemVectors":
        tensors, config = map_tensors(path / FILE), manifest.config
        try:
            ids = pq.read_table(path / "ids.parquet", columns=["item_id"])["item_id"].to_pylist()
            normalised = bool(config["normalised"])
            return cls(ids, tensors["vectors"], config["encoder"], normalised, tensors.get("scale"), manifest)
        except (KeyError, ValueError, OSError) as error:  # Arrow's errors are ValueErrors
            raise UserError(f"vector store {path} is broken ({error}); embed the catalogue again") from error

    @property
    def dim(self) -> int:
        return self.matrix.shape[1]

    @property
    def content_dim(self) -> int:
        """How many of the D dimensions come from the encoder; graph factors may lie behind them (navigator refine)."""
        return int(self.manifest.config.get("content_dim", self.dim)) if self.manifest else self.dim

    @cached_property
    def index(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.ids)}

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Row numbers of external ids; UnknownNameError names the first unknown one."""
        unknown = next((i for i in ids if i not in self.index), None)
        if unknown is not None:
            raise UnknownNameError(
                f"item {unknown!r} has no vector in this store ({len(self.ids):,} items); check the id or embed it"
            )
        return np.array([self.index[i] for i in ids], dtype=np.int64)

    def float32(self, rows: np.ndarray | slice = slice(None), prefix: int | None = None) -> np.ndarray:
        """Rows as float32, shape (len(rows), prefix or D). A prefix (Matryoshka) is normalised again."""
        if prefix is not None and not 1 <= prefix <= self.dim:
            raise UserError(f"prefix {prefix} of {self.dim}-dimensional vectors: allowed are 1 to {self.dim}")
        values = np.asarray(self.matrix[rows, :prefix], dtype=np.float32)
        if self.scale is not None:
            values = values * self.scale[:prefix]
        if prefix is not None and prefix < self.dim and self.normalised:
            values = normalise(values)
        return values


def write_vectors(folder: Path, ids: list[str], matrix: np.ndarray) -> None:
    """Write the two data files of a store into a work folder (see navigator.contracts.manifest.publish)."""
    write_tensors(folder / FILE, [matrix], matrix.shape, matrix.dtype)
    pq.write_table(pa.table({"item_id": pa.array(ids, pa.string())}), folder / "ids.parquet")


def as_stored(content: np.ndarray, content_dim: int, dim: int) -> np.ndarray:
    """An encoder's unit vectors (B, E) as vectors of a store (B, dim): its Matryoshka prefix, then zeros.

    Args:
        content: vectors of texts or pictures that are not in the store.
        content_dim: dimensions that the store keeps of the encoder's, at most E; a shorter prefix is normalised again.
        dim: of the store; behind the content lie graph factors, which a newcomer does not have.
    """
    if content.shape[1] < content_dim:
        raise UserError(
            f"the encoder gives {content.shape[1]} dimensions, the store keeps {content_dim}; use the store's own encoder"
        )
    kept = content if content.shape[1] == content_dim else normalise(content[:, :content_dim])
    return np.pad(kept, ((0, 0), (0, dim - content_dim))).astype(np.float32)


def normalise(values: np.ndarray, epsilon: float = 1e-12) -> np.ndarray:
    """Rows scaled to unit L2 norm; a zero row stays zero."""
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), epsilon)


def _replaced(path: Path, manifest: Manifest) -> bool:
    """Whether another store took this one's place since its manifest was read."""
    return read_manifest(path, "vectors", "navigator embed").fingerprint != manifest.fingerprint
