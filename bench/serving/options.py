"""The options of a run; nothing heavy here, because the command line reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.provenance import command_words

LOADS = ("search", "recommend", "recommend-short", "chat")
BATCHED, UNBATCHED = "batched", "unbatched"


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench serving`, in its order; see bench.serving.command."""

    url: str
    catalog: Path
    compare: str | None
    out: Path
    loads: list[str]
    concurrency: list[int]
    seconds: float
    rounds: int
    bar_clients: int
    bar: float
    timeout_s: float
    wrk: str
    seed: int

    @property
    def servers(self) -> dict[str, str]:
        """What is measured by its name in the report."""
        return {BATCHED: self.url} | ({} if self.compare is None else {UNBATCHED: self.compare})

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        return {name: value for name, value in vars(self).items() if name not in ("catalog", "out")}

    def command_line(self) -> str:
        """The command that makes this report again."""
        return command_words(["navigator-bench", "serving"], vars(self))
