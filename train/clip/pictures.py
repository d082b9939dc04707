"""Pictures for training, by row: features of a locked tower, or pixels, decoded once when they fit.

Pixels are kept as bytes. When the whole catalogue does not fit the limit, its encoded pictures are laid into one flat
file instead and the workers decode them at every visit.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from encoders.load import Encoder
from encoders.pictures import UnreadablePictureError
from navigator.contracts import Catalog, UserError
from train.clip.features import filled
from train.clip.towers import Towers

_BLOCK = 256


class PictureSource(Protocol):
    """Attributes:
    has: (n,) bool, rows with a readable picture.
    """

    has: np.ndarray

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """(b,) row numbers -> (b, F) float features or (b, 3, S, S) uint8 pixels; anything where there is no picture."""
        ...


class Stored:
    """Features or decoded pixels in a memory map."""

    def __init__(self, store: np.ndarray):
        self.store = store
        self.has = store["ok"] == 1

    def rows(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self.store["values"][rows])


class Encoded:
    """Encoded pictures in one flat file; decoded when asked for."""

    def __init__(self, catalog: Catalog, encoder: Encoder, folder: Path):
        self.encoder, self.ids = encoder, catalog.item_ids
        self.data, self.offsets = _flat_file(catalog, folder)
        self.has = np.diff(self.offsets) > 0

    def rows(self, rows: np.ndarray) -> np.ndarray:
        pixels = np.full((len(rows), 3, *self.encoder.size), 255, np.uint8)
        for i, row in enumerate(rows):
            data = bytes(self.data[self.offsets[row] : self.offsets[row + 1]])
            if data:
                try:
                    pixels[i] = to_bytes(self.encoder, self.encoder.prepare(data))
                except UnreadablePictureError as error:
                    raise UserError(
                        f"the picture of item {self.ids[row]!r} cannot be read ({error}); import the catalogue again"
                    ) from error
        return pixels


def open_pictures(
    catalog: Catalog, encoder: Encoder, towers: Towers, folder: Path, limit_gb: float, workers: int
) -> PictureSource:
    """Features if the picture tower is locked, else pixels, decoded beforehand if all of them take at most `limit_gb`."""
    n, device = catalog.rows("items"), encoder.device

    def features(start: int) -> Iterator[np.ndarray]:
        for pixels, ok in _prepared(catalog, encoder, start, workers):
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=encoder.autocast):
                values = towers.picture_features(pixels.to(device)).cpu().numpy()
            yield _records(values.astype(np.float16), ok)

    def pixels(start: int) -> Iterator[np.ndarray]:
        for prepared, ok in _prepared(catalog, encoder, start, workers):
            yield _records(to_bytes(encoder, prepared), ok)

    if towers.locked["picture"]:
        with torch.inference_mode():
            width = towers.picture_features(torch.zeros(1, 3, *encoder.size, device=device)).shape[1]
        dtype = np.dtype([("ok", "u1"), ("values", "f2", (width,))])
        return Stored(filled(folder / "picture_features.npy", n, dtype, features, "picture features"))
    dtype = np.dtype([("ok", "u1"), ("values", "u1", (3, *encoder.size))])
    if n * dtype.itemsize <= limit_gb * 2**30:
        return Stored(filled(folder / "pixels.npy", n, dtype, pixels, "decode pictures"))
    return Encoded(catalog, encoder, folder)


def to_bytes(encoder: Encoder, prepared: torch.Tensor) -> np.ndarray:
    """Prepared pictures (..., 3, S, S) back to the bytes they were before open_clip normalised them."""
    mean, std = _statistics(encoder)
    return ((prepared * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def from_bytes(encoder: Encoder, pixels: torch.Tensor) -> torch.Tensor:
    """(b, 3, S, S) uint8 -> float32 as the picture tower reads it, on the same device."""
    mean, std = _statistics(encoder)
    return (pixels.float() / 255 - mean.to(pixels.device)) / std.to(pixels.device)


def _statistics(encoder: Encoder) -> tuple[torch.Tensor, torch.Tensor]:
    given = encoder.model.visual.preprocess_cfg
    mean, std = (torch.tensor(given[name], dtype=torch.float32)[:, None, None] for name in ("mean", "std"))
    return mean, std


def _records(values: np.ndarray, ok: np.ndarray) -> np.ndarray:
    records = np.zeros(len(ok), [("ok", "u1"), ("values", values.dtype, values.shape[1:])])
    records["ok"], records["values"] = ok, values
    return records


def _prepared(
    catalog: Catalog, encoder: Encoder, start: int, workers: int
) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """Blocks of prepared pictures from a row on; zeros where there is none."""

    def read(data: bytes | None) -> torch.Tensor | None:
        try:
            return encoder.prepare(data) if data else None
        except UnreadablePictureError:
            return None

    empty, seen = torch.zeros(3, *encoder.size), 0
    with ThreadPoolExecutor(workers) as pool:
        for batch in catalog.batches(["image"], _BLOCK):
            rows = [(row or {}).get("bytes") for row in batch["image"].to_pylist()][max(0, start - seen) :]
            seen += batch.num_rows
            if rows and seen > start:
                found = list(pool.map(read, rows))
                ok = np.array([picture is not None for picture in found])
                yield torch.stack([empty if picture is None else picture for picture in found]), ok


def _flat_file(catalog: Catalog, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All encoded pictures end to end, and (n + 1,) where each begins."""
    data, offsets = folder / "pictures.bin", folder / "pictures.npy"
    if not offsets.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        ends = [0]
        with data.open("wb") as sink:
            for batch in catalog.batches(["image"], _BLOCK):
                for row in batch["image"].to_pylist():
                    ends.append(ends[-1] + sink.write((row or {}).get("bytes") or b""))
        np.save(folder / "offsets.part.npy", np.array(ends, np.int64))
        (folder / "offsets.part.npy").replace(offsets)
    found = np.load(offsets, allow_pickle=False)
    return (np.memmap(data, np.uint8, "r") if found[-1] else np.zeros(0, np.uint8)), found
