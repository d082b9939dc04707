"""The options of a run; no torch and no aiohttp here, because the command line reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.provenance import command_words

HEADERS_VARIABLE = "NAVIGATOR_LOAD_HEADERS"


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench load`, in its order; see bench.load.command."""

    url: str | None
    bodies: Path | None
    catalog: Path | None
    system: str | None
    model: Path | None
    vectors: Path | None
    out: Path
    seconds: float
    concurrency: list[int]
    fractions: list[float]
    rates: list[float]
    saturation: float | None
    overload: float
    calm: float
    timeout_s: float
    max_lateness_ms: float
    json_answers: bool
    workers: int
    waiting: int
    work_ms: float
    spread: float
    max_history: int
    device: str
    dtype: str
    warm_up: float
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        inputs = ("bodies", "catalog", "model", "vectors", "out")
        return {name: value for name, value in vars(self).items() if name not in inputs}

    def command_line(self) -> str:
        """The command that makes this report again; without headers, which come from the environment."""
        return command_words(["navigator-bench", "load"], vars(self))
