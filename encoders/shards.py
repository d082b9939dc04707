"""A shard of items in, a shard of vectors out: the one function that every engine calls, so that all give the same bits.

Items are taken in shards of equal size, in catalogue order. Within a shard the items that must be encoded are sorted by
the length of their text (little padding) and cut into batches, which never cross a shard's border: a shard's vectors do
not depend on where, when or after what it is embedded. While one batch is in the encoder the pictures of the next ones
are decoded by threads, across the borders of shards. A finished shard is two files, the JSON written last.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.load import Encoder
from encoders.parts import encode_parts, join
from encoders.pictures import UnreadablePictureError
from encoders.source import Source
from navigator.contracts import UserError
from navigator.contracts.manifest import write_text
from navigator.contracts.vectors import as_stored

AHEAD = 2  # batches of pictures decoded before they are needed


@dataclass(frozen=True)
class Job:
    """What it takes to embed any shard of a catalogue, in plain values that travel to other processes.

    Attributes:
        catalog: catalogue folder.
        taste_graph: whose board titles are read, or None.
        old: store whose unchanged rows are copied, or None.
        out: folder of the shard files.
        rows: items a shard.
        encoder: a name for `load_encoder`, with `device` and `bfloat16`.
        dim: dimensions kept of the encoder's.
        dtype: of the shard files, float16 or float32.
        picture_weight: for encoders without a learned gate.
        batch_size: items a forward pass.
        workers: threads that decode pictures.
        strict: an unreadable picture is an error.
        threads: of torch, which the last bits of a sum can depend on.
    """

    catalog: Path
    taste_graph: Path | None
    old: Path | None
    out: Path
    rows: int
    encoder: str
    device: str
    bfloat16: bool
    dim: int
    dtype: str
    picture_weight: float
    batch_size: int
    workers: int
    strict: bool
    threads: int

    def stem(self, number: int) -> Path:
        """A shard's files: this with .npy and .json."""
        return self.out / f"{number:06d}"

    def finished(self, number: int) -> bool:
        return all(self.stem(number).with_suffix(ending).is_file() for ending in (".npy", ".json"))


@dataclass
class _Shard:
    number: int
    items: list[dict[str, Any]]
    vectors: np.ndarray
    problems: list[str | None]
    todo: list[int]


def embed_shards(job: Job, source: Source, encoder: Encoder, numbers: Sequence[int]) -> Iterator[int]:
    """Embed shards (ascending numbers) and write their files; yields the number of items after every batch.

    Raises:
        UserError: with `job.strict`, an unreadable picture.
    """
    with ThreadPoolExecutor(job.workers) as pool:
        for shard, batch, last, pictures in _decode_ahead(_batches(job, source, numbers), encoder, pool):
            if batch:
                _encode(job, encoder, shard, batch, [picture.result() for picture in pictures])
            if last:
                _write(job, shard)
            yield len(batch) + (len(shard.items) - len(shard.todo) if last else 0)


def _batches(job: Job, source: Source, numbers: Sequence[int]) -> Iterator[tuple[_Shard, list[int], bool]]:
    """Every batch as positions in its shard, and whether it is the shard's last; a copied shard is one empty batch."""
    for number, items in source.shards(numbers, job.rows):
        shard = _begin(job, source, number, items)
        starts = range(0, len(shard.todo), job.batch_size)
        batches = [shard.todo[start : start + job.batch_size] for start in starts] or [[]]
        for i, batch in enumerate(batches):
            yield shard, batch, i + 1 == len(batches)


def _begin(job: Job, source: Source, number: int, items: list[dict[str, Any]]) -> _Shard:
    """A shard with what the old store has of it."""
    vectors: np.ndarray = np.zeros((len(items), job.dim), job.dtype)
    shard = _Shard(number, items, vectors, [None for _ in items], list(range(len(items))))
    if source.old is not None:
        rows = source.old.find([item["item_id"] for item in items], [item["content"] for item in items])
        shard.vectors[rows >= 0] = source.old.vectors.float32(rows[rows >= 0])
        shard.problems = [source.old.problems.get(int(row)) for row in rows]
        shard.todo = np.flatnonzero(rows < 0).tolist()
    shard.todo.sort(key=lambda i: len(items[i]["text"]))
    if job.strict:
        _refuse_problems(shard, range(len(items)))
    return shard


def _decode_ahead(
    batches: Iterator[tuple[_Shard, list[int], bool]], encoder: Encoder, pool: ThreadPoolExecutor
) -> Iterator[tuple[_Shard, list[int], bool, list[Future[torch.Tensor | str | None]]]]:
    def read(data: bytes) -> torch.Tensor | str | None:
        try:
            return encoder.prepare(data) if data else None
        except UnreadablePictureError as error:
            return str(error)

    waiting: deque[Any] = deque()
    for shard, batch, last in batches:
        waiting.append((shard, batch, last, [pool.submit(read, shard.items[i]["picture"]) for i in batch]))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def _encode(
    job: Job, encoder: Encoder, shard: _Shard, batch: list[int], pictures: list[torch.Tensor | str | None]
) -> None:
    for i, picture in zip(batch, pictures, strict=True):
        shard.problems[i] = picture if isinstance(picture, str) else None
    if job.strict:
        _refuse_problems(shard, batch)
    items = [shard.items[i] for i in batch]
    parts = encode_parts(
        encoder,
        [picture if isinstance(picture, torch.Tensor) else None for picture in pictures],
        [item["text"] for item in items],
        [item["titles"] for item in items],
        [item["caption"] for item in items],
    )
    shard.vectors[batch] = as_stored(join(encoder, parts, job.picture_weight), job.dim, job.dim)


def _refuse_problems(shard: _Shard, positions: Sequence[int]) -> None:
    for i in positions:
        if shard.problems[i]:
            raise UserError(
                f"the picture of item {shard.items[i]['item_id']!r} cannot be read ({shard.problems[i]}); "
                f"repair it or drop --strict"
            )


def _write(job: Job, shard: _Shard) -> None:
    notes = {key: [item[key] for item in shard.items] for key in ("item_id", "content")}
    seen = {"picture": 0, "text": 0, "titles": 0, "caption": 0}
    neither = []
    for item, problem in zip(shard.items, shard.problems, strict=True):
        for key in seen:
            seen[key] += bool(item[key])
        words = any(item[key] for key in ("text", "titles", "caption"))
        if not words and (problem or not item["picture"]):
            neither.append(item["item_id"])
    reused = len(shard.items) - len(shard.todo)
    zero = [item["item_id"] for item, row in zip(shard.items, shard.vectors, strict=True) if not row.any()]
    notes |= {"problem": shard.problems, "seen": seen, "neither": neither, "zero": zero, "reused": reused}
    stem = job.stem(shard.number)
    np.save(stem.with_suffix(".npy"), shard.vectors)
    write_text(stem.with_suffix(".json"), json.dumps(notes))
