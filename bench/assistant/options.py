"""The options of `navigator-bench assistant`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.assistant.systems import Echo
from bench.provenance import command_words


@dataclass(frozen=True)
class Options:
    """In the order of the command; see bench.assistant.command."""

    url: str
    catalog: Path
    gold: Path | None
    split: str
    out: Path
    echo: Echo
    mode: str
    max_tokens: int
    baselines: bool
    timeout_s: float
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the set and the server."""
        names = ("split", "echo", "mode", "max_tokens", "baselines", "timeout_s", "seed")
        return {name: getattr(self, name) for name in names}

    def command_line(self) -> str:
        """The command that asks again."""
        return command_words(["navigator-bench", "assistant"], vars(self))
