"""The options of a run, and the grids that validation chooses from; no torch here, because the command line reads it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from bench.provenance import command_words
from navigator.contracts.signals import Task

Part = Literal["test", "valid", "unseen-test", "unseen-valid"]


@dataclass(frozen=True)
class Grids:
    """What is tried on validation, in this order; of equals the first is kept. One value each: nothing is tuned.

    Attributes:
        ease_lambda: regularisation of EASE.
        shrink: of item-kNN, added to the product of the norms.
        short: latest items of the history that ease-short and item-knn-short read.
        last: latest items that a kNN system reads; 0 is all.
        decay: weight of an item against the one after it.
        graph_weight: gain of the graph part of a query, 1 leaves the store as it is (see navigator.start).
        title_weight: weight of a title beside the newest item, where a request has both.
        model_last: latest items that a model reads.
        sasrec_dim: width of SASRec.
        sasrec_dropout: of SASRec.
        sasrec_loss: of SASRec: bce (one negative, as published), sampled or full softmax.
        sasrec_length: latest items that SASRec reads.
        sasrec_rate: learning rate of SASRec.
        sasrec_decay: weight decay of SASRec.
    """

    ease_lambda: tuple[float, ...] = (10, 20, 50, 100, 200, 500, 1000, 2000)
    shrink: tuple[float, ...] = (0, 5, 20, 100, 500)
    short: tuple[int, ...] = (5, 1, 2, 3, 10, 20)
    last: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 50, 0)
    decay: tuple[float, ...] = (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    graph_weight: tuple[float, ...] = (1, 0.25, 0.5, 2, 4)
    title_weight: tuple[float, ...] = (1, 0, 0.5, 2, 4)
    model_last: tuple[int, ...] = (20,)
    sasrec_dim: tuple[int, ...] = (64, 128)
    sasrec_dropout: tuple[float, ...] = (0.2, 0.5)
    sasrec_loss: tuple[Literal["bce", "sampled", "full"], ...] = ("full", "bce")
    sasrec_length: tuple[int, ...] = (50,)
    sasrec_rate: tuple[float, ...] = (1e-3,)
    sasrec_decay: tuple[float, ...] = (0.0,)


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench taste`, in its order; see bench.taste.command."""

    catalog: Path
    graph: Path
    out: Path
    systems: list[str]
    vectors: dict[str, str]
    models: dict[str, str]
    scores: dict[str, str]
    rivals: list[str]
    task: Task
    part: Part
    show: int
    titles: bool
    encoder: str | None
    refit: bool
    tune_queries: int
    cold_max: int
    gap: float
    sasrec_vectors: Path | None
    sasrec_seeds: list[int]
    sasrec_seconds: float
    sasrec_epochs: int
    sasrec_patience: int
    grids: Grids
    device: str
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        left_out = ("catalog", "graph", "out", "sasrec_vectors", "grids", "device")
        named = {name: value for name, value in vars(self).items() if name not in left_out}
        named["grids"] = {name: list(value) for name, value in vars(self.grids).items()}
        return named | {kind: [f"{n}={f}" for n, f in named[kind].items()] for kind in ("vectors", "models", "scores")}

    def command_line(self) -> str:
        """The command that makes this report again."""
        given = {name: value for name, value in vars(self).items() if not isinstance(value, Grids)}
        return command_words(["navigator-bench", "taste"], given | _changed(self.grids))


def _changed(grids: Grids) -> dict[str, str]:
    """The grids that are not the declared ones, as options of the command line."""
    given = {f.name: getattr(grids, f.name) for f in fields(grids) if getattr(grids, f.name) != f.default}
    return {f"grids.{name}": str(list(values)).replace("'", "") for name, values in given.items()}
