"""Catalogue in, item vectors out: one fused unit vector an item, in bounded memory, resumable and incremental.

The work is cut into shards (encoders.shards), which this process or a Ray cluster (encoders.ray_embed) embeds into the
work folder of `publish`. After an interruption finished shards are skipped; at the end they are merged (encoders.merge).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from encoders.fusion import CONFIG_FILE as GATE_FILE
from encoders.load import Encoder, folder_dim, folder_fingerprint, load_encoder, local_folder
from encoders.merge import drop_reused, merge, merged
from encoders.reuse import reusable
from encoders.shards import Job, embed_shards
from encoders.source import Source, open_graph
from navigator.contracts import Catalog, UserError, is_current, publish
from navigator.contracts.manifest import Work

SHARD = 512
PRECISIONS = ("float16", "float32", "int8")
ENGINES = ("local", "ray")
PICTURE_WEIGHT = 0.5


@dataclass(frozen=True)
class Settings:
    """How to embed; see navigator.encode_commands.embed, whose options these are.

    `encoder` is a name that `load_encoder` knows and `label` what the manifest calls it.
    """

    encoder: str
    label: str
    batch_size: int
    picture_weight: float
    precision: str
    dim: int | None
    device: str
    workers: int
    strict: bool
    engine: str
    actors: int

    def __post_init__(self):
        if min(self.batch_size, self.workers, self.actors) < 1:
            given = f"batch size {self.batch_size}, workers {self.workers} and actors {self.actors}"
            raise UserError(f"{given}: all must be at least 1")
        if not 0 <= self.picture_weight <= 1:
            raise UserError(f"picture weight {self.picture_weight}: allowed are 0 (text only) to 1 (picture only)")
        for name, allowed in (("precision", PRECISIONS), ("engine", ENGINES)):
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} {getattr(self, name)!r}: allowed are {', '.join(allowed)}")


def embed_catalog(
    catalog_path: Path, out: Path, settings: Settings, taste_graph: Path | None = None, fresh: bool = False,
    beside: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Embed a catalogue; see navigator.encode_commands.embed for the options.

    Args:
        catalog_path: catalogue folder.
        out: where the store goes.
        settings: how.
        taste_graph: graph of that catalogue whose training boards' titles are read.
        fresh: take nothing from an older store, nor leave one that is current.
        beside: another store that may hold unchanged rows.

    Raises:
        UserError: bad arguments, missing catalogue, unknown encoder or, with `strict`, an unreadable picture.
    """
    catalog = Catalog.open(catalog_path)
    place = torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    )
    compute = fast_dtype(place)
    config, loaded = _config(settings, place, compute)
    inputs = {"catalog": catalog.fingerprint}
    if taste_graph is not None:
        inputs["graph"] = open_graph(taste_graph, catalog).fingerprint
    head = {"out": str(out), "dim": config["dim"], "encoder": config["encoder"]}
    if not fresh and is_current(out, "vectors", config, inputs):
        return head | {"unchanged": True, "items": catalog.rows("items")}
    old = None if fresh else reusable([path for path in (out, beside) if path is not None], config)
    started = time.perf_counter()
    with publish(out, "vectors", config, inputs) as work:
        job = Job(
            catalog_path, taste_graph, old, work.path / "shards", SHARD, settings.encoder, str(place),
            compute == torch.bfloat16, config["dim"], "float16" if settings.precision == "float16" else "float32",
            settings.picture_weight, settings.batch_size, settings.workers, settings.strict, torch.get_num_threads(),
        )  # fmt: skip
        if fresh:
            drop_reused(work, job)
        _embed(work, job, settings, loaded)
        work.metrics["seconds"] = round(time.perf_counter() - started, 1)
    return head | {"unchanged": False, **work.metrics}


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, float32 elsewhere.

    On a 2-core CPU with avx512_bf16 the embedded picture tower runs 1.8 times as fast so (178 against 98 pictures/s),
    its vectors at a cosine of at least .99 to the float32 ones.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def _config(settings: Settings, place: torch.device, compute: torch.dtype) -> tuple[dict[str, Any], Encoder | None]:
    """The recipe that the manifest keeps, and the encoder where it had to be loaded to know it."""
    folder = local_folder(settings.encoder)
    loaded = None if folder else load_encoder(settings.encoder, place, compute)
    if loaded is not None:
        fingerprint, full, gated = loaded.fingerprint, loaded.dim, False
    else:
        assert folder is not None
        fingerprint, full, gated = folder_fingerprint(folder), folder_dim(folder), (folder / GATE_FILE).is_file()
    if gated and settings.picture_weight != PICTURE_WEIGHT:
        raise UserError(
            f"picture weight {settings.picture_weight}: encoder {settings.label} weighs the parts of an item by its own "
            f"learned gate; leave --picture_weight out"
        )
    dim = full if settings.dim is None else settings.dim
    if not 1 <= dim <= full:
        raise UserError(f"dim {dim}: allowed are 1 to {full}, the dimensions of encoder {settings.label}")
    fusion = "gate" if gated else {"picture_weight": settings.picture_weight}
    return {
        "encoder": fingerprint, "encoder_name": settings.label, "normalised": True, "dim": dim, "encoder_dim": full,
        "precision": settings.precision, "fusion": fusion, "compute": str(compute).removeprefix("torch."),
    }, loaded  # fmt: skip


def _embed(work: Work, job: Job, settings: Settings, loaded: Encoder | None) -> None:
    """Every shard that is not there yet, then the merge."""
    source = Source(job.catalog, job.taste_graph, job.old)
    items = source.catalog.rows("items")
    shards = -(-items // job.rows)
    if not merged(work):
        job.out.mkdir(exist_ok=True)
        todo = [number for number in range(shards) if not job.finished(number)]
        done = items - sum(min(job.rows, items - number * job.rows) for number in todo)
        with tqdm(total=items, initial=done, desc="embed", unit="item", smoothing=0) as bar:
            for count in _run(job, source, settings, loaded, todo):
                bar.update(count)
    merge(work, job, source, shards, settings.precision)


def _run(job: Job, source: Source, settings: Settings, loaded: Encoder | None, todo: list[int]) -> Iterator[int]:
    if settings.engine == "ray":
        from encoders.ray_embed import embed_with_ray

        return embed_with_ray(job, todo, settings.actors)
    dtype = torch.bfloat16 if job.bfloat16 else torch.float32
    return embed_shards(job, source, loaded or load_encoder(job.encoder, job.device, dtype), todo)
