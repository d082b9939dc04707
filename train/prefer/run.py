"""One run of the preference stage: open the world, make the pairs, train, and publish an ordinary model folder."""

import importlib.util
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from navigator.contracts import UserError, publish
from navigator.contracts.manifest import Work
from navigator.importers.rejects import Rejects
from navigator.texts import text_vectors
from train.loop import LoopConfig, make_accelerator, training_loop
from train.parts import split_parts
from train.prefer.config import PreferConfig
from train.prefer.grades import grade_pairs, read_grades
from train.prefer.objective import Preference
from train.prefer.pairs import Pairs, graph_pairs
from train.stage import ndcg
from train.world import World, open_world

_VALID_PAIRS = 2_000  # measured at each validation, at most
_WHAT = {
    "shown": "saved over shown: what users were shown before and did not save",
    "hard": "saved over hard negatives: near items that nobody saved with the saved one, a guess and no user's choice",
    "grades": "a higher over a lower grade for the same request",
}


@dataclass
class Source:
    """The pairs of a run and where they come from.

    Attributes:
        train: what is learned from.
        valid: pairs of held-out saves and requests.
        about: for the answer and the manifest.
        bad: rows of the grades that could not be used.
    """

    train: Pairs = field(default_factory=lambda: Pairs.of([]))
    valid: Pairs = field(default_factory=lambda: Pairs.of([]))
    about: dict[str, Any] = field(default_factory=dict)
    bad: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, kind: str, train: Pairs, valid: Pairs, **counts: Any) -> None:
        self.train, self.valid = self.train + train, self.valid + valid
        self.about[kind] = {"what": _WHAT[kind], "pairs": len(train), "valid_pairs": len(valid), **counts}


@dataclass(frozen=True)
class Run:
    """Everything that was opened."""

    accelerator: Accelerator
    world: World
    source: Source
    objective: PreferConfig
    loop: LoopConfig

    @classmethod
    def open(
        cls, model: Path, vectors: Path, catalog: Path, graph: Path, grades: Path | None, strict: bool,
        config: dict[str, Any], objective: PreferConfig, loop: LoopConfig,
    ) -> "Run":  # fmt: skip
        """Raises UserError where TRL is missing, an artefact is, or no pairs result."""
        if importlib.util.find_spec("trl") is None:
            raise UserError("train.prefer needs TRL, which is not installed; pip install 'navigator[prefer]'")
        accelerator = make_accelerator(loop)
        world = open_world(model, vectors, catalog, graph, False, accelerator.device)
        if config["encoder"]:
            world.recommender.text_vectors = text_vectors(config["encoder"], world.recommender.vectors)
        source = open_source(world, grades, strict, config, objective.max_history, loop.seed)
        return cls(accelerator, world, source, objective, loop)


def open_source(
    world: World, grades: Path | None, strict: bool, config: dict[str, Any], max_history: int, seed: int
) -> Source:  # fmt: skip
    """The pairs that `config` (of the command) asks for."""
    source = Source()
    if config["negatives"] != "none":
        found = graph_pairs(
            world, config["negatives"], config["pairs_per_query"], max_history, config["max_pairs"], seed
        )
        source.add(config["negatives"], *found)
    if grades is not None:
        read = read_grades(grades, {item: row for row, item in enumerate(world.recommender.vectors.ids)}, strict)
        found = grade_pairs(
            read, config["min_margin"], config["pairs_per_query"], max_history, config["grades_valid"], seed
        )
        source.add("grades", *found, **read.counts())
        source.bad = read.bad
    if len(source.valid) > _VALID_PAIRS:
        source.valid = source.valid.rows(
            np.sort(np.random.default_rng(seed).permutation(len(source.valid))[:_VALID_PAIRS])
        )
    return source


def train_and_publish(run: Run, out: Path, config: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any]:
    """Train and publish; returns the answer of the command."""
    from train.prefer.trainer import ItemDPO  # TRL takes seconds to import

    accelerator, model, source = run.accelerator, run.world.recommender.model, run.source
    parts, lora = split_parts(model, config["language"], config["lora_rank"])
    module = Preference(
        run.world, source.train, source.valid, run.objective, ItemDPO(model, run.objective, accelerator.device)
    )
    main = accelerator.is_main_process
    beside = nullcontext(Work(out.with_name(out.name + ".work"), True))
    with publish(out, "model", config, inputs, run.loop.seed) if main else beside as work:
        accelerator.wait_for_everyone()
        work.metrics |= {"pairs": source.about, **_train(run, module, parts, config["valid_queries"], work.path)}
        if main:
            trained: Any = lora.merge_and_unload() if lora is not None else model
            trained.save_pretrained(work.path)
            run.world.recommender.processor.save_pretrained(work.path)
            with Rejects(work.path / "rejects.parquet", False) as rejects:
                for row in source.bad:
                    rejects.add("grades", *row)
            for leftover in ("state.safetensors", "best.safetensors"):
                (work.path / leftover).unlink(missing_ok=True)
    return {"out": str(out), "unchanged": False, **work.metrics}


def _train(run: Run, module: Preference, parts: Any, valid_queries: int, work: Path) -> dict[str, Any]:
    """Fix the reference, train, and tell what it added."""
    loop = run.loop
    queries = run.world.valid_queries(valid_queries)
    module.model.train()
    drawn = [module.draw(loop.batch_size, loop.seed, step).examples for step in range(loop.steps)]
    module.remember(np.unique(np.concatenate([np.zeros(0, np.int64), *drawn])), run.accelerator)

    def validate() -> dict[str, float]:
        return (ndcg(run.world, queries) if queries else {}) | module.figures()

    figures = training_loop(
        run.accelerator, module, parts, lambda step: module.draw(loop.batch_size, loop.seed, step), loop, work,
        validate if queries or len(module.valid) else None,
    )  # fmt: skip
    if "valid_best" in figures:
        start, best = figures["valid_start"], figures["valid_best"]
        figures["added"] = {name: best[name] - value for name, value in start.items() if name in best}
        if figures["best_step"] == 0:
            print(
                "note: no step was better than the start, which is kept: preference pairs add nothing here",
                file=sys.stderr,
            )
    return figures
