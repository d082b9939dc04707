"""The options of `navigator-bench gold`; no torch here, because the command line reads it."""

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from bench.provenance import command_words
from bench.taste.options import Grids
from navigator.contracts.errors import UserError

Kind = Literal["board", "title", "user", "text"]
KINDS: tuple[Kind, ...] = ("board", "title", "user", "text")
Allocation = Literal["equal", "proportional"]
CLASSIC = ("popularity", "item-knn", "item-knn-short", "ease", "ease-short")


@dataclass(frozen=True)
class Settings:
    """Settings of the systems: one value each, because a gold set is no place to tune; take those that taste chose.

    Attributes:
        ease_lambda: regularisation of EASE.
        shrink: of item-kNN, added to the product of the norms.
        short: latest items that ease-short and item-knn-short read.
        last: latest items that a kNN system over --vectors reads; 0 is all.
        decay: weight of an item against the one after it.
        graph_weight: gain of the graph part of a query; 1 leaves the store as it is.
        title_weight: weight of a title beside the newest item.
        model_last: latest items that a model reads.
    """

    ease_lambda: float = 200.0
    shrink: float = 0.0
    short: int = 5
    last: int = 20
    decay: float = 1.0
    graph_weight: float = 1.0
    title_weight: float = 1.0
    model_last: int = 20

    def grids(self) -> Grids:
        """The same as grids of one value."""
        return replace(Grids(), **{name: (value,) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Systems:
    """Which systems rank, and with which settings."""

    systems: list[str]
    vectors: dict[str, str]
    models: dict[str, str]
    encoder: str | None
    settings: Settings
    device: str

    def check(self, taken: tuple[str, ...] = ()) -> None:
        """Refuse unknown and repeated names (`taken` are further ones) and settings out of range.

        Raises:
            UserError: see above.
        """
        unknown = next((name for name in self.systems if name not in CLASSIC), None)
        if unknown is not None:
            raise UserError(f"unknown system {unknown!r}; allowed are {', '.join(CLASSIC)}; name stores with --vectors")
        named = [*self.vectors, *self.models, *taken]
        every = [*self.systems, *named]
        odd = next((n for n in named if not re.fullmatch(r"[\w.-]+", n) or every.count(n) > 1), None)
        if odd is not None:
            raise UserError(f"name {odd!r}: allowed are letters, digits, dot, dash and underscore, and every name once")
        least = {"short": 1, "model_last": 1, "last": 0, "title_weight": 0, "shrink": 0}
        for name, value in vars(self.settings).items():
            if (value < least[name]) if name in least else (value <= 0):
                allowed = f"from {least[name]}" if name in least else "above 0"
                raise UserError(f"settings.{name} is {value:g}; allowed are numbers {allowed}")

    def config(self) -> dict[str, Any]:
        """What decides the rankings beside the inputs."""
        named = {kind: [f"{n}={f}" for n, f in getattr(self, kind).items()] for kind in ("vectors", "models")}
        return {"systems": self.systems, **named, "encoder": self.encoder, "settings": vars(self.settings)}

    def words(self) -> dict[str, Any]:
        """The same as options of a command line."""
        given = {name: value for name, value in vars(self).items() if name != "settings"}
        changed = {f.name: getattr(self.settings, f.name) for f in fields(Settings)}
        changed = {n: value for n, value in changed.items() if value != getattr(Settings(), n)}
        return given | {f"settings.{name}": value for name, value in changed.items()}


@dataclass(frozen=True)
class MakeOptions:
    """The options of `navigator-bench gold make`; see bench.gold.command."""

    catalog: Path
    graph: Path
    out: Path
    ranked_by: Systems
    queries: int
    kinds: list[Kind] | None
    texts: Path | None
    allocation: Allocation
    depth: int
    random: int
    held_out: bool
    annotators: list[str]
    overlap: float
    show: int
    seed: int

    def check(self) -> None:
        """Refuse odd names and values out of range.

        Raises:
            UserError: see above.
        """
        self.ranked_by.check()
        names = self.annotators
        odd = next((name for name in names if not re.fullmatch(r"[\w-][\w.-]*", name) or names.count(name) > 1), None)
        if odd is not None or not names:
            raise UserError(
                f"annotators {', '.join(names) or 'none'}: allowed are names of letters, digits, dot, dash and underscore, "
                "each once"
            )
        for name, least in (("queries", 1), ("depth", 1), ("random", 0), ("show", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; allowed are whole numbers from {least}")
        if not 0 <= self.overlap <= 1:
            raise UserError(f"overlap is {self.overlap}; allowed is a share from 0 to 1, such as 0.25")

    def config(self) -> dict[str, Any]:
        """What decides the sample beside the inputs."""
        left_out = ("catalog", "graph", "out", "texts", "ranked_by")
        return {n: v for n, v in vars(self).items() if n not in left_out} | self.ranked_by.config()

    def command_line(self) -> str:
        """The command that makes this task again."""
        given = {name: value for name, value in vars(self).items() if name != "ranked_by"}
        return command_words(["navigator-bench", "gold", "make"], given | self.ranked_by.words())


@dataclass(frozen=True)
class CheckOptions:
    """The options of `navigator-bench gold check`; see bench.gold.command."""

    task: Path
    grades: dict[str, str]
    out: Path
    third: Path | None
    tolerance: int
    freeze: Path | None
    allow_missing: bool
    simulated: bool
    worst: int
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the outcome beside the inputs."""
        return {n: getattr(self, n) for n in ("tolerance", "allow_missing", "simulated", "worst", "seed")}

    def command_line(self) -> str:
        """The command that checks this again."""
        return command_words(["navigator-bench", "gold", "check"], vars(self))


@dataclass(frozen=True)
class RunOptions:
    """The options of `navigator-bench gold run`; see bench.gold.command."""

    gold: Path
    catalog: Path | None
    graph: Path | None
    out: Path
    ranked_by: Systems
    runs: dict[str, str]
    rivals: list[str]
    expect: str | None
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        named = {"runs": [f"{n}={f}" for n, f in self.runs.items()], "rivals": self.rivals, "seed": self.seed}
        return named | self.ranked_by.config()

    def command_line(self) -> str:
        """The command that makes this report again."""
        given = {name: value for name, value in vars(self).items() if name != "ranked_by"}
        return command_words(["navigator-bench", "gold", "run"], given | self.ranked_by.words())
