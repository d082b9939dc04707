"""One turn of a conversation through a service: planned, said, checked sentence by sentence, counted."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from navigator.admission import Overloaded
from navigator.assistant.answering import MAX_NEW_TOKENS, Answer, Gate
from navigator.assistant.assistant import Plan, Retrieval
from navigator.assistant.conversation import Turn
from navigator.assistant.requests import Generated
from navigator.serve.door.content_filter import ContentFilter
from navigator.serve.service import Reply, Service, overloaded, too_late
from navigator.serve.talk import Talk

WITHHELD = "(Something was left out here.)"


@dataclass(frozen=True)
class Asking:
    """A turn to be answered.

    Attributes:
        turns: the conversation, the last turn the user's.
        retrieval: filters.
        max_tokens: of the answer.
        temperature: 0 is greedy. seed: of the draws above it.
        timeout_s: after which the answer is not wanted.
    """

    turns: tuple[Turn, ...]
    retrieval: Retrieval
    max_tokens: int = MAX_NEW_TOKENS
    temperature: float = 0.0
    seed: int | None = None
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Said:
    """The whole answer, the release's name and milliseconds by stage."""

    answer: Answer
    talk: Talk
    stages_ms: dict[str, float]


async def planned(service: Service, talk: Talk, asking: Asking) -> Reply:
    """The turn's plan by this very release; refusals come from here, before anything is sent."""
    return await service.ask("plan", (talk, asking.turns, asking.retrieval), asking.timeout_s)


async def say(
    service: Service, talk: Talk, asking: Asking, plan: Reply, until: float, content_filter: ContentFilter
) -> AsyncIterator[str | Said]:
    """Pieces of the answer as they pass the checks, then the whole.

    Args:
        service: whose telemetry is told.
        talk: the release that planned, held by the caller.
        asking: the turn.
        plan: of `planned`.
        until: of time.monotonic(), the deadline.
        content_filter: what it stops is not said.

    Raises:
        Refusal: 429 with no room, 504 past the deadline.
    """
    made: Plan = plan.answer
    gate = Gate(made, talk.assistant.titles, talk.assistant.processor.tokenizer)
    stages, pieces = dict(plan.stages_ms), []
    finish = "stop"
    if made.prompt is not None:
        async for token in _tokens(talk, made, asking, until):
            if isinstance(token, Generated):
                finish = token.finish
                stages["queue"] = round(stages["queue"] + token.queue_s * 1000, 3)
                stages["generate"] = round(token.work_s * 1000, 3)
                shared = max(
                    1, talk.batch.running
                )  # rows share the passes: their number at the end stands for all of them
                service.telemetry.worked("chat", token.work_s / shared)
            elif piece := _filtered(gate.push(token), content_filter):
                pieces.append(piece)
                yield piece
    last, answer = gate.close(finish)
    if last := _filtered(last, content_filter):
        pieces.append(last)
        yield last
    _count(service, answer)
    yield Said(replace(answer, text="".join(pieces)), talk, stages)  # what was sent, without what the filter stopped


async def _tokens(talk: Talk, plan: Plan, asking: Asking, until: float) -> AsyncIterator[int | Generated]:
    """Tokens as the batch makes them, then what it says of the whole; who stops listening leaves the batch."""
    assert plan.prompt is not None
    loop, line = asyncio.get_running_loop(), asyncio.Queue[int | None]()

    def on_token(token: int | None) -> None:
        loop.call_soon_threadsafe(line.put_nowait, token)

    try:
        future = talk.batch.submit(
            plan.prompt, asking.max_tokens, temperature=asking.temperature, seed=asking.seed, on_token=on_token, deadline=until
        )  # fmt: skip
    except Overloaded as full:
        raise overloaded(full) from full
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(line.put_nowait, None))
    try:
        while True:
            try:
                token = await asyncio.wait_for(line.get(), max(0.0, until - time.monotonic()) + 1)
            except TimeoutError as late:
                raise too_late(asking.timeout_s) from late
            if token is None:
                yield future.result()
                return
            yield token
    finally:
        future.cancel()


def _filtered(piece: str, content_filter: ContentFilter) -> str:
    stopped = piece.strip() and content_filter(piece) is not None
    return f" {WITHHELD}" if stopped and piece.startswith(" ") else WITHHELD if stopped else piece


def _count(service: Service, answer: Answer) -> None:
    telemetry = service.telemetry
    telemetry.tokens(answer.prompt_tokens, answer.completion_tokens)
    for outcome in ("retrieved", "refused", "grounded", "templated"):
        if getattr(answer, outcome):
            telemetry.chat(outcome)
    telemetry.chat("answered")
    if answer.removed:
        telemetry.chat("sentences_removed", answer.removed)
