"""Part vectors of a whole catalogue on disk, one float16 memory map a part, and item vectors made from them.

Encoding is what costs; every modality and the control rows are then made from the same part vectors. A part's file is
written beside and renamed, has.npy last, so that an interrupted run goes on with the encoders it had finished.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.lib.format import open_memmap
from tqdm import tqdm

from encoders.fusion import PARTS, GatedFusion, fuse
from encoders.load import Encoder
from encoders.parts import ItemParts, encode_parts, mean_titles
from encoders.pictures import UnreadablePictureError
from navigator.contracts import Catalog
from navigator.contracts.vectors import normalise

PICTURE, TEXT, BOARDS, CAPTIONS = range(len(PARTS))
_ROWS = 4096  # items made into vectors at once
_TITLED = 16384  # items whose board titles are encoded at once
_WORKERS = 2


@dataclass(frozen=True)
class PartStore:
    """Part vectors of the catalogue's n items.

    Attributes:
        arrays: part number -> (n, D) float16 memory map; parts that no item has are absent.
        has: (n, M) bool; an item with nothing at all has the empty text's vector, but no mark.
    """

    arrays: dict[int, np.ndarray]
    has: np.ndarray

    def parts(self, rows: slice, which: Sequence[int]) -> ItemParts:
        """The named parts of some items as float32; the others are missing."""
        has = np.zeros_like(self.has[rows])
        has[:, which] = self.has[rows][:, which]
        dim = self.arrays[TEXT].shape[1]
        values = np.zeros((len(has), len(PARTS), dim), np.float32)
        for part in set(which) & self.arrays.keys():
            values[:, part] = normalise(self.arrays[part][rows].astype(np.float32))
        nothing = ~self.has[rows][:, [p for p in range(len(PARTS)) if p != BOARDS or BOARDS in which]].any(1)
        has[nothing, TEXT] = True  # the empty text; zero here unless the text is named
        return ItemParts(values * has[:, :, None], has)

    def vectors(self, gate: GatedFusion | None, picture_weight: float, which: Sequence[int]) -> np.ndarray:
        """(n, D) float32 unit item vectors of the named parts; a row without any of them is zero."""
        blocks = []
        for start in range(0, len(self.has), _ROWS):
            parts = self.parts(slice(start, start + _ROWS), which)
            if gate is None:
                blocks.append(fuse(parts.values, parts.has, picture_weight))
            else:
                with torch.inference_mode():
                    blocks.append(gate(torch.from_numpy(parts.values), torch.from_numpy(parts.has)).numpy())
        return np.concatenate(blocks)


def open_store(
    catalog: Catalog, opener: Any, folder: Path, titles: list[list[str]] | None, batch_size: int, label: str
) -> PartStore:
    """The part vectors of one encoder, made now or found in `folder` from an interrupted run.

    Args:
        catalog: what is encoded.
        opener: called without arguments, gives the Encoder; only when something is left to encode.
        folder: where the arrays lie.
        titles: per item the titles of its training boards; None: no such part.
        batch_size: items a forward pass.
        label: for the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo_boards = titles is not None and not (folder / "boards.npy").is_file()
    todo = not (folder / "has.npy").is_file()
    encoder: Encoder | None = opener() if todo or todo_boards else None
    if encoder and titles is not None and todo_boards:
        _write_titles(encoder, folder / "boards.npy", titles)
    if encoder and todo:
        body = encoder.picture_body()
        features = None if body is None else _body_features(catalog, encoder, folder.parent / body, batch_size)
        _write_parts(catalog, encoder, folder, batch_size, label, features)
    has = np.load(folder / "has.npy")
    if titles is not None:
        has[:, BOARDS] = [any(title.strip() for title in row) for row in titles]
    found = {part: folder / f"{name}.npy" for part, name in enumerate(PARTS)}
    arrays = {p: np.load(path, mmap_mode="r") for p, path in found.items() if path.is_file()}
    return PartStore(arrays, has)


def _body_features(catalog: Catalog, encoder: Encoder, folder: Path, batch_size: int) -> np.ndarray:
    """(n,) records of ok and features (F,): a body that several encoders share (tuned with locked towers) runs once."""
    path = folder / "features.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        n, start = catalog.rows("items"), 0
        width = encoder.picture_features(torch.zeros(1, 3, *encoder.size)).shape[1]
        beside = path.with_name(path.name + ".tmp")
        sink = open_memmap(beside, "w+", np.dtype([("ok", "?"), ("features", "f4", (width,))]), (n,))
        with ThreadPoolExecutor(_WORKERS) as pool, tqdm(total=n, desc="picture tower", unit="item") as bar:
            for batch in catalog.batches(["image"], batch_size):
                pictures = list(pool.map(lambda image: _prepare(encoder, image), batch["image"].to_pylist()))
                rows = np.array([picture is not None for picture in pictures])
                sink["ok"][start : start + len(rows)] = rows
                if rows.any():
                    found = encoder.picture_features(torch.stack([p for p in pictures if p is not None]))
                    sink["features"][start + np.flatnonzero(rows)] = found
                start += len(rows)
                bar.update(len(rows))
        sink.flush()
        beside.replace(path)
    return np.load(path, mmap_mode="r")


def _write_parts(
    catalog: Catalog, encoder: Encoder, folder: Path, batch_size: int, label: str, features: np.ndarray | None
) -> None:
    """Pictures (from features where there are some), texts and captions of every item in one pass over the catalogue."""
    captioned = "caption" in pq.read_schema(catalog.path / "items.parquet").names
    kept = [PICTURE, TEXT, *([CAPTIONS] if captioned else [])]
    n = catalog.rows("items")
    sinks = {p: _sink(folder / f"{PARTS[p]}.npy", n, encoder.dim) for p in kept}
    has, start = np.zeros((n, len(PARTS)), bool), 0
    columns = ["text", *(["image"] if features is None else []), *(["caption"] if captioned else [])]
    with ThreadPoolExecutor(_WORKERS) as pool, tqdm(total=n, desc=f"encode {label}", unit="item") as bar:
        for batch in catalog.batches(columns, batch_size):
            rows = batch.to_pydict()
            texts = [text or "" for text in rows["text"]]
            captions = [text or "" for text in rows["caption"]] if captioned else None
            stop = start + len(texts)
            pictures: list[torch.Tensor | None] = [None] * len(texts)
            if features is None:
                pictures = list(pool.map(lambda image: _prepare(encoder, image), rows["image"]))
            parts = encode_parts(encoder, pictures, texts, captions=captions)
            if features is not None:
                part = features[start:stop]
                parts.has[:, PICTURE] = part["ok"]
                parts.values[:, PICTURE] = (
                    encoder.pictures_of(np.ascontiguousarray(part["features"])) * part["ok"][:, None]
                )
            for part, sink in sinks.items():
                sink[start:stop] = parts.values[:, part]
            has[start:stop] = parts.has
            has[start:stop, TEXT] = [bool(text.strip()) for text in texts]
            start = stop
            bar.update(len(texts))
    for part, sink in sinks.items():
        _finish(sink, folder / f"{PARTS[part]}.npy")
    with (folder / "has.npy.tmp").open("wb") as handle:
        np.save(handle, has)
    (folder / "has.npy.tmp").replace(folder / "has.npy")


def _write_titles(encoder: Encoder, path: Path, titles: list[list[str]]) -> None:
    sink = _sink(path, len(titles), encoder.dim)
    for start in range(0, len(titles), _TITLED):
        sink[start : start + _TITLED] = mean_titles(encoder, titles[start : start + _TITLED])
    _finish(sink, path)


def _sink(path: Path, n: int, dim: int) -> np.memmap:
    return open_memmap(path.with_name(path.name + ".tmp"), "w+", np.float16, (n, dim))


def _finish(sink: np.memmap, path: Path) -> None:
    sink.flush()
    path.with_name(path.name + ".tmp").replace(path)


def _prepare(encoder: Encoder, image: dict[str, Any] | None) -> torch.Tensor | None:
    data = (image or {}).get("bytes")
    try:
        return encoder.prepare(data) if data else None
    except UnreadablePictureError:
        return None
