"""What align and posttrain share: open the world, train, and publish an ordinary Hugging Face folder."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from navigator.cli_tools import run_function
from navigator.contracts import Catalog, ItemVectors, is_current, publish, read_manifest
from navigator.contracts.manifest import Work
from navigator.contracts.signals import Query
from navigator.metrics import nearest, per_query
from train.loop import LoopConfig, make_accelerator, training_loop
from train.objective import Objective, ObjectiveConfig
from train.parts import split_parts
from train.tasks import check_tasks
from train.world import World, open_world


def run_stage(
    stage: str, model: Path, vectors: Path, catalog: Path, taste_graph: Path | None, out: Path, native: bool,
    objective: ObjectiveConfig, language: str, lora_rank: int, valid_queries: int, loop: LoopConfig,
) -> dict[str, Any]:  # fmt: skip
    """Train `model` by `objective` and publish it as `out`; returns the answer of the command."""
    store = ItemVectors.open(vectors)
    assert store.manifest is not None
    inputs = {
        "model": read_manifest(model, "model", "navigator swap").fingerprint,
        "vectors": store.manifest.fingerprint,
        "catalog": Catalog.open(catalog).fingerprint,
    }
    if taste_graph is not None:
        inputs["graph"] = read_manifest(
            taste_graph, "graph", f"navigator graph build {catalog} --out {taste_graph}"
        ).fingerprint
    config = {
        "stage": stage, "native": native, "language": language, "lora_rank": lora_rank, "valid_queries": valid_queries,
        "objective": asdict(objective), "loop": asdict(loop),
    }  # fmt: skip
    if is_current(out, "model", config, inputs):
        return {"out": str(out), "unchanged": True}
    accelerator = make_accelerator(loop)
    world = open_world(model, vectors, catalog, taste_graph, native, accelerator.device)
    weights = check_tasks(objective.tasks, world)
    parts, lora = split_parts(world.recommender.model, language, lora_rank)
    module = Objective(world, objective)
    queries = world.valid_queries(valid_queries) if taste_graph is not None else []
    main = accelerator.is_main_process
    beside = nullcontext(Work(out.with_name(out.name + ".work"), True))
    with publish(out, "model", config, inputs, loop.seed) if main else beside as work:
        accelerator.wait_for_everyone()
        world.recommender.model.train()
        work.metrics |= training_loop(
            accelerator, module, parts, lambda step: module.draw(weights, loop.batch_size, loop.seed, step), loop, work.path,
            (lambda: ndcg(world, queries)) if queries else None,
        )  # fmt: skip
        if main:
            trained: Any = lora.merge_and_unload() if lora is not None else world.recommender.model
            trained.save_pretrained(work.path)
            world.recommender.processor.save_pretrained(work.path)
            for leftover in ("state.safetensors", "best.safetensors"):
                (work.path / leftover).unlink(missing_ok=True)
    return {"out": str(out), "unchanged": False, **work.metrics}


def ndcg(world: World, queries: list[Query]) -> dict[str, float]:
    """Mean NDCG@10 and HR@10 of validation queries over the whole catalogue, history excluded."""
    model = world.recommender.model
    model.eval()
    asked = world.recommender.query_vectors([q.history for q in queries])
    model.train()
    ranked = nearest(asked, world.matrix, 50, [q.history for q in queries])
    figures = per_query(ranked, [q.targets for q in queries])
    return {name: float(figures[name].mean()) for name in ("ndcg@10", "hr@10")}


def main(prog: str, function: Callable[..., dict[str, Any]], argv: list[str] | None = None) -> int:
    """Run a training command; of several processes only the first one answers on stdout."""
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = sys.stderr
    return run_function(prog, function, sys.argv[1:] if argv is None else argv)
