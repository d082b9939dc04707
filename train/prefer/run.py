"""One run of the preference stage: open the world, make the pairs, train, and publish an ordinary model folder."""

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from navigator.contracts import UserError
from navigator.importers.rejects import Rejects
from navigator.texts import text_vectors
from train.card import card
from train.frame import published
from train.loop import LoopConfig, make_accelerator, training_loop
from train.parts import checkpoint_activations, merged, split_parts
from train.prefer.config import PreferConfig
from train.prefer.objective import Preference
from train.prefer.source import Source, open_source
from train.qlora import loading_place
from train.stage import ndcg, write_model
from train.world import World, open_world


@dataclass(frozen=True)
class Run:
    """Everything that was opened.

    Attributes:
        folders: the artefacts by kind.
        config: of the command, as the manifest keeps it.
    """

    folders: dict[str, Path]
    accelerator: Accelerator
    world: World
    source: Source
    config: dict[str, Any]
    objective: PreferConfig
    loop: LoopConfig

    @classmethod
    def open(
        cls, folders: dict[str, Path], grades: Path | None, strict: bool, config: dict[str, Any], objective: PreferConfig,
        loop: LoopConfig,
    ) -> "Run":  # fmt: skip
        """Raises UserError where TRL is missing, an artefact is, or no pairs result."""
        if importlib.util.find_spec("trl") is None:
            raise UserError("train.prefer needs TRL, which is not installed; pip install 'navigator[prefer]'")
        accelerator = make_accelerator(loop)
        place = loading_place(accelerator, config["language"])
        world = open_world(folders["model"], folders["vectors"], folders["catalog"], folders["graph"], False, place)
        world.recommender.max_history = objective.max_history
        if config["encoder"]:
            world.recommender.text_vectors = text_vectors(config["encoder"], world.recommender.vectors)
        source = open_source(world, grades, strict, config, objective.max_history, loop.seed)
        return cls(folders, accelerator, world, source, config, objective, loop)


def train_and_publish(run: Run, out: Path, inputs: dict[str, str]) -> dict[str, Any]:
    """Train and publish; returns the metrics."""
    from train.prefer.trainer import ItemDPO  # TRL takes seconds to import

    accelerator, model, source, config = run.accelerator, run.world.recommender.model, run.source, run.config
    parts, lora = split_parts(model, config["language"], config["lora_rank"])
    run.world.recommender.device = accelerator.device
    if config["checkpointing"]:
        checkpoint_activations(model)
    loss = ItemDPO(model, run.objective, accelerator.device)
    module = Preference(run.world, source.train, source.valid, run.objective, loss)
    with published(accelerator, out, "model", config, inputs, run.loop.seed) as work:
        work.metrics |= {"pairs": source.about, **_train(run, module, parts, work.path)}
        if accelerator.is_main_process:
            model.config.max_history = run.objective.max_history
            write_model(work.path, run.world, merged(model, lora, config["language"]))
            readme = card("prefer", out.name, model, run.folders, config, inputs, work.metrics) + source.card()
            (work.path / "README.md").write_text(readme)
            with Rejects(work.path / "rejects.parquet", False) as rejects:
                for row in source.bad:
                    rejects.add("grades", *row)
    return work.metrics


def _train(run: Run, module: Preference, parts: Any, work: Path) -> dict[str, Any]:
    """Fix the reference, train, and tell what it added."""
    loop, model = run.loop, module.model
    queries = run.world.valid_queries(run.config["valid_queries"])
    model.train()
    drawn = [module.draw(loop.batch_size, loop.seed, step).examples for step in range(loop.steps)]
    module.remember(np.unique(np.concatenate([np.zeros(0, np.int64), *drawn])), run.accelerator)

    def validate() -> dict[str, float]:
        return (ndcg(run.world, queries) if queries else {}) | module.figures()

    figures = training_loop(
        run.accelerator, module, parts, lambda step: module.draw(loop.batch_size, loop.seed, step), loop, work,
        validate if queries or len(module.valid) else None, model.model.language_model.layers,
    )  # fmt: skip
    if "valid_best" in figures:
        start = figures["valid_start"]
        kept = {
            name: value for name, value in figures["valid_best"].items() if name in start
        }  # not what training logged
        added = {name: value - start[name] for name, value in kept.items()}
        figures |= {"valid_best": kept, "added": added}
        if run.accelerator.is_main_process:
            figures["valid_last"] = _last_validation(work)
        if figures["best_step"] == 0:
            said = "note: no step validated better than the start, which is kept: these pairs add nothing to it"
            print(said, file=sys.stderr)
    return figures


def _last_validation(work: Path) -> dict[str, float]:
    """What the last step came to, kept or not: pairs may be learned at the cost of finding items."""
    rows = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    return [row["valid"] for row in rows if "valid" in row][-1]
