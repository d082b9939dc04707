"""The options of `navigator-bench shadow`; no torch here, because the command line reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.provenance import command_words
from navigator.contracts.signals import Part, Task


@dataclass(frozen=True)
class Options:
    """The options in their order; see bench.shadow.command."""

    old: str
    new: str
    catalog: Path
    log: Path | None
    graph: Path | None
    out: Path
    thresholds: Path
    task: Task
    part: Part
    requests: int
    k: int
    last: int
    old_encoder: str | None
    new_encoder: str | None
    timeout_ms: float | None
    cold_max: int
    short: int
    long: int
    rows: int
    device: str
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the answers beside the inputs."""
        left_out = ("catalog", "graph", "log", "out", "thresholds", "device")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def command_line(self) -> str:
        """The command that makes this report again."""
        return command_words(["navigator-bench", "shadow"], vars(self))
