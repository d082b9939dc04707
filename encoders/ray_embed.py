"""The same shards on a Ray cluster: Ray Data hands shard numbers to actors, each with its own encoder.

Every actor calls the very function of the local engine with the same number of torch threads, so that on the same kind of
machine the vectors are the same to the last bit. The shard files lie in the work folder, which all nodes must see. Needs
the extra `ray`; which cluster it runs on is Ray's business (RAY_ADDRESS, or a local one is started).
"""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from encoders.load import load_encoder, local_folder
from encoders.shards import Job, embed_shards
from encoders.source import Source
from navigator.contracts import UserError


class ShardActor:
    """Loads the encoder and the board titles once, then embeds the shards it is given."""

    def __init__(self, job: Job):
        torch.set_num_threads(job.threads)
        self.job = job
        self.source = Source(job.catalog, job.taste_graph, job.old)
        self.encoder = load_encoder(job.encoder, job.device, torch.bfloat16 if job.bfloat16 else torch.float32)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """{"shard": number} -> its number of items, or what was wrong with the input."""
        try:
            return {"items": sum(embed_shards(self.job, self.source, self.encoder, [int(row["shard"])])), "error": ""}
        except UserError as error:
            return {"items": 0, "error": str(error)}


def embed_with_ray(job: Job, numbers: list[int], actors: int) -> Iterator[int]:
    """Embed shards with `actors` actors at once; yields the number of items of every finished shard.

    Raises:
        UserError: Ray is not installed, or what `embed_shards` raises.
    """
    for row in _map(_for_actors(job), numbers, actors) if numbers else []:
        if row["error"]:
            raise UserError(row["error"])
        yield row["items"]


def _map(job: Job, numbers: list[int], actors: int) -> Iterator[dict[str, Any]]:
    """What the actors answer, in the order they finish."""
    try:
        ray, data = importlib.import_module("ray"), importlib.import_module("ray.data")
    except ImportError as error:
        raise UserError(
            'engine ray: Ray is not installed; run `pip install "navigator[ray]"` or leave --engine out'
        ) from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    data.DataContext.get_current().enable_progress_bars = False
    shards = data.from_items([{"shard": number} for number in numbers], override_num_blocks=len(numbers))
    gpus = 1 if job.device == "cuda" else None
    pool = data.ActorPoolStrategy(size=min(actors, len(numbers)))
    return shards.map(ShardActor, fn_constructor_args=(job,), compute=pool, num_gpus=gpus).iter_rows()


def _for_actors(job: Job) -> Job:
    """The job with absolute paths, for an actor may stand in another folder; it sees its own GPU alone."""
    folder = local_folder(job.encoder)
    return replace(
        job, catalog=job.catalog.resolve(), out=job.out.resolve(),
        taste_graph=job.taste_graph.resolve() if job.taste_graph else None, old=job.old.resolve() if job.old else None,
        encoder=str(folder.resolve()) if folder else job.encoder, device=torch.device(job.device).type,
    )  # fmt: skip
