"""/v1/chat/completions, as OpenAI's: whole, or streamed as server-sent events."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from navigator.assistant.answering import MAX_NEW_TOKENS
from navigator.assistant.assistant import Retrieval
from navigator.assistant.conversation import ItemPart, Turn
from navigator.refusal import RELEASE_HEADER, Refusal
from navigator.serve import openai_schemas as schemas
from navigator.serve.chatting import Asking, Said, planned, say
from navigator.serve.door.content_filter import refuse_blocked
from navigator.serve.http import REFUSALS, TimeoutMs, read_picture, server_timing, service_of, tell
from navigator.serve.schemas import Shown
from navigator.serve.shelf import picture_path

LONGEST_ANSWER = 512
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "JSON, or events where stream is true"}
}
router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=REFUSALS)


@router.post("/chat/completions", response_model=schemas.ChatAnswer, responses=EVENT_STREAM)
async def chat(body: schemas.ChatRequest, request: Request, response: Response, timeout_ms: TimeoutMs = None) -> Any:
    """An answer that names only items of the catalogue that were found for it; `navigator` in it says which and how."""
    service = service_of(request)
    said = "\n".join(_words(message) for message in body.messages)
    refuse_blocked(said, "messages", request.app.state.content_filter)
    asking = Asking(
        tuple([await _turn(request, message) for message in body.messages]), Retrieval(**body.retrieval.model_dump()),
        min(body.max_completion_tokens or body.max_tokens or MAX_NEW_TOKENS, LONGEST_ANSWER), body.temperature or 0.0,
        body.seed, service.options.timeout_s if timeout_ms is None else timeout_ms / 1000,
    )  # fmt: skip
    answer = _answer(request, body, asking)
    begun = await anext(answer)  # the plan is made: what is refused is refused with a status
    assert isinstance(begun, dict)
    if body.stream:
        headers = {RELEASE_HEADER: begun["release"], "Server-Timing": server_timing(begun["stages_ms"])}
        events = _events(answer, body, begun["id"])
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    whole = [piece async for piece in answer][-1]
    assert isinstance(whole, Said)
    tell(request, response, whole.talk.engine.name, whole.stages_ms)
    return schemas.ChatAnswer(
        id=begun["id"], created=int(time.time()), model=body.model, usage=_usage(whole), navigator=_grounding(whole),
        choices=[
            schemas.Choice(
                message=schemas.AssistantMessage(content=whole.answer.text),
                finish_reason="length" if whole.answer.finish == "length" else "stop",
            )
        ],
    )  # fmt: skip


async def _answer(
    request: Request, body: schemas.ChatRequest, asking: Asking
) -> AsyncIterator[dict[str, Any] | str | Said]:
    """What is known when the answer begins, its pieces, the whole; the release is held until the end."""
    service, until = service_of(request), time.monotonic() + asking.timeout_s
    with service.talking() as talk:
        plan = await planned(service, talk, asking)
        yield {"id": f"chatcmpl-{secrets.token_hex(12)}", "release": talk.engine.name, "stages_ms": plan.stages_ms}
        async for piece in say(service, talk, asking, plan, until, request.app.state.content_filter):
            yield piece


async def _events(answer: AsyncIterator[Any], body: schemas.ChatRequest, number: str) -> AsyncIterator[str]:
    """OpenAI's chunks; an error after the first byte is an event, because the status was sent."""

    def chunk(**fields: Any) -> str:
        return _event(
            {"id": number, "object": "chat.completion.chunk", "created": created, "model": body.model, **fields}
        )

    def choice(delta: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]

    created = int(time.time())
    yield chunk(choices=choice({"role": "assistant", "content": ""}))
    try:
        async for piece in answer:
            if isinstance(piece, str):
                yield chunk(choices=choice({"content": piece}))
                continue
            finish = "length" if piece.answer.finish == "length" else "stop"
            yield chunk(choices=choice({}, finish), navigator=_grounding(piece).model_dump())
            if body.stream_options is not None and body.stream_options.include_usage:
                yield chunk(choices=[], usage=_usage(piece).model_dump())
    except Refusal as refusal:
        yield _event(refusal.body)
    yield "data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n"


async def _turn(request: Request, message: schemas.Message) -> Turn:
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, str):
        return Turn(role, (message.content,) if message.content else ())
    parts: list[str | bytes | ItemPart] = []
    for part in message.content:
        if isinstance(part, schemas.TextPart):
            parts.append(part.text)
        elif isinstance(part, schemas.ItemPart):
            parts.append(ItemPart(part.item))
        else:
            parts.append(await read_picture(request, part.image_url.url, "messages"))
    return Turn(role, tuple(parts))


def _words(message: schemas.Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content if isinstance(part, schemas.TextPart))


def _usage(said: Said) -> schemas.Usage:
    read, made = said.answer.prompt_tokens, said.answer.completion_tokens
    return schemas.Usage(prompt_tokens=read, completion_tokens=made, total_tokens=read + made)


def _grounding(said: Said) -> schemas.Grounding:
    answer = said.answer
    scores = answer.scores or [0.0] * len(answer.items)
    items = [
        Shown(item=item, title=title, score=round(score, 6), picture=picture_path(item))
        for item, title, score in zip(answer.items, answer.titles, scores, strict=True)
    ]
    return schemas.Grounding(
        release=said.talk.engine.name, items=items, retrieved=answer.retrieved, refused=answer.refused,
        grounded=answer.grounded, removed=answer.removed, templated=answer.templated, timings_ms=said.stages_ms,
    )  # fmt: skip
