"""The options of `navigator-bench latency`, and the points of its grid; no torch here, because the command line reads it."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from bench.provenance import command_words

Dtype = Literal["bfloat16", "float16", "float32"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]
SMALL_SIDE = 224
PIXELS_A_TOKEN = 32  # a side: patches of 16 pixels, merged 2 by 2


@dataclass(frozen=True)
class Point:
    """One request of the grid: `history` + `candidates` items of `side` pixels, `text` tokens read, `generated` written."""

    shape: str
    history: int
    candidates: int
    side: int
    text: int
    generated: int

    @property
    def items(self) -> int:
        return self.history + self.candidates

    @property
    def before(self) -> int:
        """Text tokens before the items: who asks, and for what board; the question follows the items."""
        return self.text // 2

    def label(self) -> str:
        return f"{self.shape}, {self.history} + {self.candidates} items at {self.side} px"


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench latency`, in its order; see bench.speed.command."""

    shape: list[str]
    out: Path
    histories: list[int]
    candidates: list[int]
    sides: list[int]
    text: int
    generated: int
    cross: bool
    ways: list[str]
    dim: int
    repeats: int
    warm_up: int
    seconds: float
    batches: list[int]
    batch_seconds: float
    dtype: Dtype
    device: str
    attention: Attention
    cuda_graphs: bool
    compile: bool
    seed: int

    def points(self, shape: str) -> list[Point]:
        """The grid of one shape, its base point (the first of every list) first."""
        base = Point(shape, self.histories[0], self.candidates[0], self.sides[0], self.text, self.generated)
        if self.cross:
            every = product(self.histories, self.candidates, self.sides)
            return [replace(base, history=h, candidates=c, side=s) for h, c, s in every]
        return [
            base,
            *(replace(base, history=h) for h in self.histories[1:]),
            *(replace(base, candidates=c) for c in self.candidates[1:]),
            *(replace(base, side=s) for s in self.sides[1:]),
        ]

    def config(self) -> dict[str, Any]:
        """What decides the figures."""
        return {name: value for name, value in vars(self).items() if name != "out"}

    def command_line(self) -> str:
        """The command that makes this report again."""
        return command_words(["navigator-bench", "latency"], vars(self))
