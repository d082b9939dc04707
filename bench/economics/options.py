"""The options of a run; light, because the command line reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.economics.lines import Capacity
from bench.economics.speeds import Device
from bench.provenance import command_words


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench cost`, in its order; see bench.economics.command."""

    out: Path
    latency: Path | None
    shape: str | None
    throughput: dict[str, float]
    embed: Path | None
    encoder: str | None
    embed_per_second: float | None
    device: Device | None
    ours: str
    native: str
    frontier: list[str] | None
    capacity: Capacity
    assume: dict[str, float]

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        return {name: value for name, value in vars(self).items() if name not in ("out", "latency", "embed")}

    def command_line(self) -> str:
        """The command that makes this report again."""
        given = {name: value for name, value in vars(self).items() if name != "assume"}
        assumed = {f"assume.{name}": f"{value:g}" for name, value in self.assume.items()}
        return command_words(["navigator-bench", "cost"], given | assumed)
