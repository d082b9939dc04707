"""What align and posttrain share: open the world, train, and publish an ordinary Hugging Face folder."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from navigator.contracts import Catalog, read_manifest
from navigator.contracts.signals import Query
from navigator.emission import add_emission
from navigator.metrics import nearest, per_query
from train.card import card
from train.chat import POOL, talk_pool
from train.chat_step import self_answered
from train.chat_valid import HeldOut, settle
from train.frame import answer, published
from train.items import Items, make_items, own_vectors
from train.language import perplexities
from train.loop import LoopConfig, make_accelerator, training_loop
from train.objective import Objective, ObjectiveConfig
from train.parts import checkpoint_activations, learning_rates, merged, split_parts, without_rate
from train.qlora import loading_place
from train.tasks import check_tasks
from train.world import World, open_world

HELD = {"ndcg@10": 0.005, "chat_ndcg@10": 0.0}  # what learning to emit may cost the queries, at most


def run_stage(
    stage: str, model: Path, vectors: Path, catalog: Path, taste_graph: Path | None, out: Path, native: bool,
    objective: ObjectiveConfig, language: str, lora_rank: int, valid_queries: int, loop: LoopConfig,
    checkpointing: bool = False, push_to_hub: str = "", encoder: str = "", language_check: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Train `model` by `objective` and publish it as `out`, on a hub too if asked; returns the answer of the command."""
    loop = replace(loop, learning_rates=learning_rates(loop.learning_rates))
    folders = {"model": model, "vectors": vectors, "catalog": catalog}
    if taste_graph is not None:
        folders["graph"] = taste_graph
    inputs = fingerprints(folders)
    config = {
        "stage": stage, "native": native, "language": language, "lora_rank": lora_rank, "valid_queries": valid_queries,
        "checkpointing": checkpointing, "encoder": encoder, "language_check": language_check,
        "objective": asdict(objective), "loop": asdict(loop),
    }  # fmt: skip
    return answer(
        out, "model", config, inputs, lambda: _train(folders, out, config, inputs, objective, loop), push_to_hub
    )


def fingerprints(folders: dict[str, Path]) -> dict[str, str]:
    """Of the inputs, by kind; a folder that is not such an artefact is refused with the command that makes one."""
    makers = {"model": "navigator swap", "vectors": f"navigator embed {folders['catalog']}"}
    makers["graph"] = f"navigator graph build {folders['catalog']} --out {folders.get('graph')}"
    found = {
        kind: read_manifest(folder, kind, makers[kind]).fingerprint
        for kind, folder in folders.items()
        if kind != "catalog"
    }
    return found | {"catalog": Catalog.open(folders["catalog"]).fingerprint}


def _train(
    folders: dict[str, Path], out: Path, config: dict[str, Any], inputs: dict[str, str], objective: ObjectiveConfig,
    loop: LoopConfig,
) -> dict[str, Any]:  # fmt: skip
    """One run; returns its metrics."""
    accelerator = make_accelerator(loop)
    world = open_world(
        folders["model"], folders["vectors"], folders["catalog"], folders.get("graph"), config["native"],
        loading_place(accelerator, config["language"]), config["encoder"], objective.max_history,
    )  # fmt: skip
    model = world.recommender.model
    weights = check_tasks(objective.tasks, world)
    if "chat" in weights:
        add_emission(model)
    parts, lora = split_parts(model, config["language"], config["lora_rank"])
    world.recommender.device = accelerator.device
    if config["checkpointing"]:
        checkpoint_activations(model)
    items = make_items(world, objective, set(weights) - {"describe"} != set())
    if items.residual is not None:
        parts["items"] = {"residual": items.residual}
    module = Objective(world, objective, items)
    limit = config["valid_queries"]
    queries = world.valid_queries(limit, "board-title" in weights) if "graph" in folders else []
    held = None
    if "chat" in weights:
        parts, held = without_rate(parts, loop.learning_rates), HeldOut.of(world, "valid", limit)
        module.talks = self_answered(world, talk_pool(world, "train", POOL, loop.seed))
    with published(accelerator, out, "model", config, inputs, loop.seed) as work:
        model.train()
        work.metrics |= {"tasks": weights} | training_loop(
            accelerator, module, parts, lambda step: module.draw(weights, loop.batch_size, loop.seed, step), loop, work.path,
            (lambda: _validate(world, queries, items, config["language_check"], held)) if queries or held else None,
            model.model.language_model.layers, HELD if held else None,
        )  # fmt: skip
        if accelerator.is_main_process:
            if work.metrics.get("best_step") == 0:
                print("note: no step validated better than the start, which is kept", file=sys.stderr)
            model.config.max_history = objective.max_history
            if held is not None:
                work.metrics["chat"] = settle(world, held, limit)
            if items.residual is not None:
                own_vectors(work.path, world, items, inputs)
            write_model(work.path, world, merged(model, lora, config["language"]))
            readme = card(config["stage"], out.name, model, folders, config, inputs, work.metrics)
            (work.path / "README.md").write_text(readme)
    return work.metrics


def write_model(folder: Path, world: World, model: Any) -> None:
    """The trained model and its processor as an ordinary folder, without what only a resumed run needs."""
    model.save_pretrained(folder)
    world.recommender.processor.save_pretrained(folder)
    for leftover in ("state.safetensors", "best.safetensors"):
        (folder / leftover).unlink(missing_ok=True)


def _validate(
    world: World, queries: list[Query], items: Items, language: bool, held: HeldOut | None
) -> dict[str, float]:
    found = ndcg(world, queries, items) if queries else {}
    chat = held.measured(world).figures() if held is not None else {}
    return chat | found | (perplexities(world) if language else {})


def ndcg(world: World, queries: list[Query], items: Items | None = None) -> dict[str, float]:
    """Mean NDCG@10 and HR@10 of validation queries over the whole catalogue, history excluded.

    A query of which training knows no item at all (new arrivals) is asked among the items that nobody has saved.
    """
    model, recommender = world.recommender.model, world.recommender
    if items is not None and items.residual is not None:
        recommender.vectors = replace(recommender.vectors, matrix=items.all().detach().cpu().numpy(), scale=None)
    model.eval()
    asked = recommender.query_vectors([q.history for q in queries], [q.title for q in queries])
    model.train()
    warm = np.flatnonzero(world.warm).tolist()
    excluded = [[*q.history, *warm] if q.among_new(world.warm) else q.history for q in queries]
    ranked = nearest(asked, recommender.vectors.float32(), 50, excluded)
    figures = per_query(ranked, [q.targets for q in queries])
    return {name: float(figures[name].mean()) for name in ("ndcg@10", "hr@10")}
