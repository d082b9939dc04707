"""/v1/items and /v1/boards: what the page shows of the catalogue; /v1/release, /healthz, /readyz, /metrics."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from navigator.refusal import Refusal
from navigator.serve.http import REFUSALS, engine_of, service_of
from navigator.serve.schemas import Board, BoardContent, BoardItem, Item
from navigator.serve.service import stopping
from navigator.serve.shelf import SIZES, picture_path
from navigator.serve.telemetry import CONTENT_TYPE

BOARD_ITEMS = 200
router = APIRouter(responses=REFUSALS)
Id = Annotated[str, "an external id; percent-encoded where it holds a slash"]


@router.get("/v1/items/{item_id:path}/picture", tags=["catalogue"], response_class=Response)
async def picture(item_id: Id, request: Request, size: Annotated[int, Query(ge=16, le=512)] = 256) -> Response:
    """The item's picture as WebP, its longer side `size` pixels at most (rounded up to 64, 128, 256 or 512)."""
    shelf = engine_of(request).shelf
    made = await run_in_threadpool(shelf.picture, item_id, next(one for one in SIZES if one >= size))
    headers = {"Cache-Control": "private, max-age=86400"}
    return Response(made, media_type="image/webp", headers=headers)


@router.get("/v1/items/{item_id:path}", tags=["catalogue"])
def item(item_id: Id, request: Request) -> Item:
    """Title, description and keywords of an item."""
    return Item.model_validate(engine_of(request).shelf.item(item_id))


@router.get("/v1/boards", tags=["catalogue"])
def boards(
    request: Request,
    query: Annotated[str, Query(max_length=200, description="words in the title")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[Board]:
    """Boards of the catalogue, the largest first."""
    return [Board.model_validate(row) for row in engine_of(request).shelf.find_boards(query, limit)]


@router.get("/v1/boards/{board_id:path}", tags=["catalogue"])
def board(board_id: Id, request: Request) -> BoardContent:
    """The items of a board, the first two hundred."""
    engine = engine_of(request)
    title, items, more = engine.shelf.board(board_id, BOARD_ITEMS)
    listed = [BoardItem(item=one, title=engine.title(one), picture=picture_path(one)) for one in items]
    return BoardContent(board=board_id, title=title, items=listed, more=more)


@router.get("/v1/release", tags=["operation"])
def release(request: Request) -> dict[str, str | int | bool | None]:
    """What answers now, and since when a newly promoted release cannot be opened, if one cannot."""
    engine, watcher = engine_of(request), service_of(request).watcher
    failed = None if watcher is None or watcher.failed is None else watcher.failed.at.isoformat(timespec="seconds")
    return {
        "release": engine.name, "opened_at": engine.created, "items": len(engine.pipeline.store.ids),
        "encoder": engine.encoder is not None, "native": engine.native is not None,
        "events": request.app.state.events is not None, "follows": watcher is not None,
        "cannot_open_since": failed,
    }  # fmt: skip


@router.post("/v1/admin/reload", tags=["operation"])
async def reload(request: Request) -> dict[str, str | bool]:
    """Look for a newly promoted release now, and try again one that could not be opened; what answers then."""
    watcher = service_of(request).watcher
    if watcher is None:
        raise not_served("releases", "it was started with one model; start it with --releases ROOT")
    held = await run_in_threadpool(watcher.look)
    return {"release": held.release.name, "failed": watcher.failed is not None}


@router.get("/healthz", tags=["operation"])
async def healthz() -> dict[str, str]:
    """Whether the process answers at all."""
    return {"status": "ok"}


@router.get("/readyz", tags=["operation"])
async def readyz(request: Request) -> dict[str, str]:
    """Whether it takes requests: 503 while it is being stopped."""
    if service_of(request).draining:
        raise stopping()
    return {"status": "ready", "release": engine_of(request).name}


@router.get("/metrics", tags=["operation"], response_class=Response)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(service_of(request).telemetry.page(), media_type=CONTENT_TYPE)


def not_served(what: str, how: str) -> Refusal:
    """A part that this server was started without."""
    return Refusal(503, "not_served", f"this server has no {what}; {how}")
