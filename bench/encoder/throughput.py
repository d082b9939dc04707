"""Embedding speed against the model's own: `navigator embed` beside the bare open_clip forward, in one run.

The two take turns, because a shared machine speeds up and slows down within minutes. What starting costs (loading the
weights, opening files) is not counted: `embed` runs over a small and over the whole catalogue, and the additional items
are divided by the additional seconds. The bare forward reads tensors and tokens that lie ready where the model is, in
the precision of `embed`, with as many at once as `embed` was told or as the encoder takes at once, whichever is
faster here, texts in the order of their length as `embed` has them.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from bench.encoder.figures import Throughput
from encoders.load import Encoder, load_encoder, masked_padding
from encoders.pictures import UnreadablePictureError
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES
from navigator.encode_commands import embed

REPEATS = 5
_PREPARED = 512  # items held as tensors
_SMALL_FORWARD = {"cpu": 8, "cuda": 256}  # pictures that encoders.load takes at once


@dataclass(frozen=True)
class Ready:
    """Items as tensors on the device.

    Attributes:
        items: how many.
        pictures: (p, 3, S, S) of those that have one.
        tokens: (t, L) of those that have text, by the length of the text; little padding, as `embed` has it.
        widths: per text the columns of tokens that the tower must read.
    """

    items: int
    pictures: torch.Tensor
    tokens: torch.Tensor
    widths: list[int]


def measure_throughput(
    catalog: Catalog, encoder: str, items: int, batch_size: int, device: torch.device, dtype: torch.dtype
) -> Throughput:
    """Items a second over the first `items` of the catalogue, medians of REPEATS turns.

    Args:
        catalog: where items come from; fewer are taken when it has fewer.
        encoder: a name that `load_encoder` knows.
        items: how many, at least 8.
        batch_size: of `embed`.
        device: where to run, in `dtype`.

    Raises:
        UserError: too few items to time.
    """
    items = min(items, catalog.rows("items"))
    if items < 8:
        raise UserError(f"throughput over {items} items cannot be timed; give at least 8, or --throughput 0")
    few = batch_size if items >= 4 * batch_size else items // 4
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        small, large = (_excerpt(catalog, folder / f"catalog-{n}", n) for n in (few, items))
        model = load_encoder(encoder, device, dtype)
        ready = _prepare(large, model)
        bare: dict[int, list[float]] = {size: [] for size in {batch_size, _SMALL_FORWARD[device.type]}}
        whole: list[float] = []
        for turn in tqdm(range(REPEATS), desc="throughput", unit="turn"):
            for size, rates in bare.items():
                rates.append(_bare(model, ready, size, items))
            spent = [
                _embed_seconds(source, folder / f"{turn}-{source.name}", encoder, batch_size, device)
                for source in (small, large)
            ]
            whole.append((items - few) / max(spent[1] - spent[0], 1e-9))
    best = max(bare, key=lambda size: float(np.median(bare[size])))
    medians = float(np.median(bare[best])), float(np.median(whole))
    return Throughput(
        items=items, batch_size=batch_size, bare_batch=best, bare_items_per_s=medians[0],
        embed_items_per_s=medians[1],
        ratio=float(np.median(np.divide(whole, bare[best]))), bare_runs=bare[best], embed_runs=whole,
    )  # fmt: skip


def _embed_seconds(source: Path, out: Path, encoder: str, batch_size: int, device: torch.device) -> float:
    started = time.perf_counter()
    embed(catalog=source, out=out, encoder=encoder, batch_size=batch_size, device=str(device))
    return time.perf_counter() - started


def _excerpt(catalog: Catalog, folder: Path, n: int) -> Path:
    """A catalogue of the first n items, without boards."""
    with publish(folder, "catalog", {"items": n}, {"catalog": catalog.fingerprint}) as work:
        for name, schema in TABLES.items():
            if name != "items":
                pq.write_table(schema.empty_table(), work.path / f"{name}.parquet")
        schema, left = pq.read_schema(catalog.path / "items.parquet"), n
        with pq.ParquetWriter(work.path / "items.parquet", schema) as writer:
            for batch in catalog.batches(schema.names, min(n, 64)):
                rows = pa.Table.from_batches([batch.slice(0, left)]).cast(schema)
                writer.write_table(rows)
                left -= rows.num_rows
                if not left:
                    break
    return folder


def _prepare(source: Path, model: Encoder) -> Ready:
    """The first items of a catalogue, up to _PREPARED, as the model reads them."""
    rows = [row for batch in Catalog.open(source).batches(["text", "image"], 64) for row in batch.to_pylist()]
    rows = rows[:_PREPARED]
    pictures = [picture for row in rows if (picture := _picture(model, row)) is not None]
    if not pictures:
        raise UserError("none of the items to time has a readable picture; give --throughput 0")
    texts = sorted((row["text"] for row in rows if (row["text"] or "").strip()), key=len)
    tokens = model.tokenizer(texts or [""])[: len(texts)]
    widths = [tokens.shape[1]] * len(texts)
    padding = masked_padding(model.model)
    if padding is not None:  # it can be cut
        used = tokens != padding
        widths = (used * torch.arange(1, tokens.shape[1] + 1)).amax(1).tolist()
    stacked = torch.stack(pictures).to(model.device, memory_format=torch.channels_last)
    return Ready(len(rows), stacked, tokens.to(model.device), widths)


def _picture(model: Encoder, row: dict[str, Any]) -> torch.Tensor | None:
    data = (row["image"] or {}).get("bytes")
    try:
        return model.prepare(data) if data else None
    except UnreadablePictureError:
        return None


def _bare(model: Encoder, ready: Ready, batch: int, items: int) -> float:
    """Items a second of model.encode_image and model.encode_text, over the ready items until `items` went through."""
    passes = max(1, round(items / ready.items))
    _synchronise(model.device)
    started = time.perf_counter()
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=model.autocast):
        for _ in range(passes):
            for start in range(0, len(ready.pictures), batch):
                model.model.encode_image(ready.pictures[start : start + batch])
            for start in range(0, len(ready.widths), batch):
                rows = slice(start, start + batch)
                model.model.encode_text(ready.tokens[rows, : max(ready.widths[rows])])
    _synchronise(model.device)
    return passes * ready.items / (time.perf_counter() - started)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
