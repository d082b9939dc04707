"""A request for an answer, from the line before the batch to its end: what it reads, what it has said, who waits for it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch

from navigator.refusal import Refusal


@dataclass(frozen=True)
class Prompt:
    """Attributes:
    ids: token ids, every item already as `tokens_per_item` placeholders.
    items: (n, D) float32 what the tower reads of the items, in reading order.
    guide: from the tokens said so far to those that may follow, None for any; see navigator.assistant.guide.
    """

    ids: list[int]
    items: np.ndarray
    guide: Callable[[Sequence[int]], list[int] | None] | None = None


@dataclass(frozen=True)
class Generated:
    """Tokens of an answer without its end; `finish` is "stop" or "length"; how long it waited and was worked on."""

    tokens: list[int]
    finish: str
    queue_s: float
    work_s: float


@dataclass
class Row:
    """A request in the line or under way; the columns after `max_new` count what it may still say."""

    prompt: Prompt
    max_new: int
    temperature: float
    no_repeat: int
    deadline: float
    on_token: Callable[[int], None] | None
    drawn_by: torch.Generator | None
    came: float
    begun: float = 0.0
    said: list[int] = field(default_factory=list)
    future: "Future[Generated]" = field(default_factory=Future)

    @property
    def longest(self) -> int:
        return len(self.prompt.ids) + self.max_new


def tell(row: Row, token: int) -> None:
    """Pass a token on; where its listener is gone (a closed event loop, say), nobody wants the answer."""
    try:
        if row.on_token is not None:
            row.on_token(token)
    except RuntimeError:
        row.future.cancel()


def gone(row: Row, now: float) -> bool:
    """Whether nobody wants its answer any more; whoever waited until the deadline is told."""
    if row.future.cancelled():
        return True
    if row.deadline > now:
        return False
    if row.future.set_running_or_notify_cancel():
        row.future.set_exception(Refusal(504, "deadline", "the answer was not ready before the request's deadline"))
    return True
