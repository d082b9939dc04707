"""What passes between the service and an engine: requests with their pictures, answers with their release, refusals."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from navigator.answers import Recommendation
from navigator.contracts import UnknownNameError, UserError
from navigator.refusal import Refusal

Body = TypeVar("Body")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Asked(Generic[Body]):
    """A request's body and the bytes of its picture, if it has one."""

    body: Body
    picture: bytes | None = None


@dataclass(frozen=True)
class Done(Generic[Answer]):
    """An answer, the release that gave it, and milliseconds by stage of the batch it was part of."""

    answer: Answer
    release: str
    stages_ms: dict[str, float]


@dataclass(frozen=True)
class Found:
    """Items, best first, and their scores."""

    items: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Advice:
    """Recommendations of so many candidates, and whether the model ordered them."""

    results: list[Recommendation]
    candidates: int
    ranked: bool


@contextmanager
def stage(name: str, spent_ms: dict[str, float]) -> Iterator[None]:
    """Adds the milliseconds of the block."""
    begun = time.perf_counter()
    yield
    spent_ms[name] = round(spent_ms.get(name, 0.0) + (time.perf_counter() - begun) * 1000, 3)


def as_refusal(error: Exception) -> Exception:
    """A UserError as what HTTP calls it; the paths of this machine stay inside."""
    if not isinstance(error, UserError):
        return error
    if isinstance(error, UnknownNameError):
        return Refusal(404, "not_found", str(error))
    return Refusal(400, "invalid_request", str(error))
