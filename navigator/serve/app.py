"""The server as an ASGI application: routes, the page, and the door before them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from navigator.serve import routes, routes_catalog, routes_chat, routes_events, routes_openai
from navigator.serve.door.content_filter import ContentFilter, load_filter
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions
from navigator.serve.http import RELEASE_HEADER, Measured, answer_errors
from navigator.serve.service import Service

if TYPE_CHECKING:
    from navigator.events.store import EventStore

PAGE = Path(__file__).with_name("page")
API_VERSION = "1"
DRAIN_S = 30.0


class Files(StaticFiles):
    """Browsers ask again after ten minutes, and may show the old file while they do."""

    def file_response(self, *arguments: Any, **more: Any) -> Response:
        answer = super().file_response(*arguments, **more)
        answer.headers["Cache-Control"] = "public, max-age=600, stale-while-revalidate=86400"
        return answer


def build_app(
    service: Service, door: DoorOptions | None = None, content_filter: ContentFilter | None = None,
    events: "EventStore | None" = None, on_close: Callable[[], None] | None = None, drain_s: float = DRAIN_S,
) -> ASGIApp:  # fmt: skip
    """The application around a service.

    Args:
        service: what answers.
        door: limits and keys.
        content_filter: what words are refused; the default block list if none is given.
        events: where events are kept; None: they are refused.
        on_close: called at the end, when the last request has been answered.
        drain_s: how long the requests inside may take when the server stops.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.drain, drain_s)
        if events is not None:
            await run_in_threadpool(events.close)
        if on_close is not None:
            await run_in_threadpool(on_close)

    app = FastAPI(
        title="Navigator", version=API_VERSION, lifespan=life, redoc_url=None, docs_url=None,
        summary="Search, recommendation and conversation over a catalogue",
    )  # fmt: skip
    app.state.service, app.state.door = service, door or DoorOptions()
    app.state.events = events
    app.state.content_filter = content_filter or load_filter(None)
    answer_errors(app)
    for one in (routes, routes_openai, routes_chat, routes_events, routes_catalog):
        app.include_router(one.router)
    app.mount("/static", GZipMiddleware(Files(directory=PAGE)), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    app.add_middleware(Measured, service=service)
    return Door(
        app, app.state.door, lambda: {RELEASE_HEADER: service.engine.name},
        lambda refusal: service.telemetry.refused(refusal.code),
    )  # fmt: skip
