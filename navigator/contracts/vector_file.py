"""vectors.safetensors: written block by block, read as memory maps, so that neither grows with the catalogue."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from navigator.contracts.errors import UserError

FILE = "vectors.safetensors"
_DTYPES = {"F16": np.float16, "F32": np.float32, "I8": np.int8}


def write_tensors(
    path: Path, blocks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype, scale: np.ndarray | None = None
) -> None:
    """Write the file whole or not at all.

    Args:
        path: where.
        blocks: (b, D) arrays of `dtype`, together the (n, D) of `shape`.
        shape: (n, D).
        dtype: float16, float32 or int8.
        scale: (D,) float32 of int8 vectors.
    """
    code = next(code for code, known in _DTYPES.items() if known == dtype)
    front = b"" if scale is None else scale.astype(np.float32).tobytes()  # first, so that it stays aligned
    end = len(front) + int(np.prod(shape)) * dtype.itemsize
    header: dict[str, Any] = {} if scale is None else {"scale": _entry("F32", scale.shape, 0, len(front))}
    text = json.dumps(header | {"vectors": _entry(code, shape, len(front), end)}).encode()
    text += b" " * (-len(text) % 8)
    beside = path.with_name(path.name + ".tmp")
    with beside.open("wb") as sink:
        sink.write(len(text).to_bytes(8, "little") + text + front)
        for block in blocks:
            sink.write(np.ascontiguousarray(block, dtype).tobytes())
    beside.replace(path)


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """safetensors as numpy memory maps: 8 bytes header length, JSON header, then raw little-endian data.

    Raises:
        UserError: the file is missing or broken.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(length))
        start = 8 + length
        return {
            name: _map(path, np.dtype(_DTYPES[info["dtype"]]), start + info["data_offsets"][0], tuple(info["shape"]))
            for name, info in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, MemoryError) as error:
        raise UserError(f"{path} is not a readable vector file ({error}); embed the catalogue again") from error


def _entry(code: str, shape: tuple[int, ...], start: int, end: int) -> dict[str, Any]:
    return {"dtype": code, "shape": list(shape), "data_offsets": [start, end]}


def _map(path: Path, dtype: np.dtype, start: int, shape: tuple[int, ...]) -> np.ndarray:
    return (
        np.memmap(path, dtype, "r", start, shape) if all(shape) else np.zeros(shape, dtype)
    )  # nothing cannot be mapped
