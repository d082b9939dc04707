"""/v1/events: what people did with what they were shown, on the disk when the answer is there."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from navigator.refusal import Refusal
from navigator.serve.http import REFUSALS, engine_of
from navigator.serve.schemas import example

MOST = 1000
router = APIRouter(prefix="/v1", tags=["events"], responses=REFUSALS)


class EventsRequest(BaseModel):
    """Each event: kind (impression, click, save, board_created), user_id, item_id or board_id, and where known session,
    system (the release that showed it; by default the live one), at (seconds since 1970; by default now) and event_id (one
    that came before is counted once)."""

    model_config = example(events=[{"kind": "save", "user_id": "u1", "item_id": "animals-cat-01"}])

    events: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST)]


class Refused(BaseModel):
    index: int
    reason: str


class EventsAnswer(BaseModel):
    """Attributes:
    accepted: events that are on the disk now.
    duplicates: events whose id had come before: they are on the disk already.
    refused: the others, by their place in the request.
    """

    accepted: int
    duplicates: int
    refused: list[Refused]


@router.post("/events")
async def events(body: EventsRequest, request: Request) -> EventsAnswer:
    """Keep events; when this answers they survive a crash."""
    store = request.app.state.events
    if store is None:
        raise Refusal(503, "events_not_kept", "this server keeps no events; start it with --events DIR", "events")
    request_id = getattr(request.state, "request_id", None)
    kept = await store.append_async(body.events, system=engine_of(request).name, request_id=request_id)
    return EventsAnswer(
        accepted=kept.accepted, duplicates=kept.duplicates,
        refused=[Refused(index=index, reason=reason) for index, reason in kept.refused],
    )  # fmt: skip
