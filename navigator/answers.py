"""What navigator.pipeline answers with, and what it knows of a request on the way there."""

from dataclasses import dataclass

import numpy as np

from navigator.ask import Ask
from navigator.explain import Because, OnBoard


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item, title: what it is.
        score: after diversification; comparable within one answer.
        sources: its place, from 1, in the list of each source that found it.
        ranking: its place by the model, from 1; None where the model had no voice.
        because, board: the explanation; None where there is none to give.
    """

    item: str
    title: str
    score: float
    sources: dict[str, int]
    ranking: int | None
    because: Because | None
    board: OnBoard | None


@dataclass(frozen=True)
class Answer:
    """Recommendations, best first, of so many candidates; whether the model ranked them; milliseconds by stage."""

    results: list[Recommendation]
    candidates: int
    ranked: bool
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Opened:
    """A request with its rows: of the history, of the part of it that is read, not to be found, alone to be found."""

    ask: Ask
    rows: np.ndarray
    seen: np.ndarray
    skip: set[int]
    allowed: np.ndarray | None


@dataclass(frozen=True)
class Found:
    """What the sources asked and found, and the fused candidates with their scores."""

    queries: dict[str, np.ndarray]
    lists: dict[str, np.ndarray]
    candidates: np.ndarray
    scores: np.ndarray
