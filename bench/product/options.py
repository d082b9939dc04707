"""The options of `navigator-bench product`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.provenance import command_words


@dataclass(frozen=True)
class Options:
    """In the order of the command; see bench.product.command."""

    events: Path
    out: Path
    columns: dict[str, str]
    baseline: str | None
    split: dict[str, float]
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the log."""
        split = [f"{name}={share}" for name, share in self.split.items()]
        return {"columns": self.columns, "baseline": self.baseline, "split": split, "seed": self.seed}

    def command_line(self) -> str:
        """The command that makes this report again."""
        return command_words(["navigator-bench", "product"], vars(self))
