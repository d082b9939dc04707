"""The options of a run; nothing heavy here, because the command line reads it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.provenance import command_words
from navigator.contracts.signals import Task

ResponseFormat = Literal["json_schema", "json_object", "text"]


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench frontier`, in its order; see bench.frontier.command."""

    catalog: Path
    vectors: Path
    graph: Path
    out: Path
    model_name: list[str]
    base_url: str | None
    queries: int
    candidates: int
    task: Task
    max_history: int
    titles: bool
    pictures: bool
    picture_px: int
    shuffle: bool
    response_format: ResponseFormat
    max_output_tokens: int
    reasoning_effort: str | None
    temperature: float | None
    prices: Path | None
    priced_as: dict[str, str]
    max_usd: float
    answers: Path | None
    timeout_s: float
    retries: int
    max_wait_s: float
    concurrency: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs; a limit of money that is none is null."""
        left_out = ("catalog", "vectors", "graph", "out", "answers", "prices")
        named = {name: value for name, value in vars(self).items() if name not in left_out}
        return named | {"max_usd": self.max_usd if math.isfinite(self.max_usd) else None}

    def command_line(self) -> str:
        """The command that makes this report again; the key is not among its words."""
        return command_words(["navigator-bench", "frontier"], vars(self))

    def journal(self) -> Path:
        """Where everything that is sent and answered is kept."""
        return self.answers or self.out.with_name(self.out.name + ".answers.jsonl")
