"""A server that keeps the HTTP contract for the page's tests: no model, no torch, what came in is noted on the world."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from navigator.refusal import Refusal
from page_worlds import BOARDS, TITLES, World, brief, drawn, left

PAGE = Path(__file__).parents[1] / "navigator" / "serve" / "page"
HEADERS = {  # of the real server that could stop a page from working
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Navigator-Release": "v1",
}


def app_of(world: World) -> Starlette:
    """The application of a world."""
    app = Starlette(routes=ROUTES, middleware=[Middleware(Door)])
    app.state.world = world
    return app


def world_of(request: Request) -> World:
    return request.app.state.world


async def search(request: Request) -> Response:
    asked = await noted(request)
    if asked.get("text") == "nothing":
        return JSONResponse({"object": "search", "release": "v1", "results": [], "timings_ms": {}})
    results = [brief(item) for item in left(asked.get("exclude", []), asked["k"])]
    return JSONResponse({"object": "search", "release": "v1", "results": results, "timings_ms": {"encode": 3.2}})


async def recommend(request: Request) -> Response:
    asked = await noted(request)
    history = asked["history"]
    results = [
        brief(item)
        | {
            "sources": {"model": place, "content": place + 3}, "ranking": place,
            "because": {"item": history[-1], "title": TITLES[history[-1]], "cosine": 0.83} if history else None,
            "board": {"board": "bob/cold", "title": "Cold", "shared": 2} if place == 1 else None,
        }
        for place, item in enumerate(left([*history, *asked["exclude"]], asked["k"]), 1)
    ]  # fmt: skip
    body = {"object": "recommendations", "release": "v1", "candidates": 12, "ranked": True, "results": results}
    return JSONResponse(body | {"timings_ms": {"retrieve": 1.0, "rank": 2.0}})


async def chat(request: Request) -> Response:
    asked = await noted(request)
    if any(turn["content"] == "poison" for turn in asked["messages"]):
        return refused(Refusal(400, "content_blocked", "this shop does not answer that"))
    return StreamingResponse(spoken(world_of(request)), media_type="text/event-stream")


async def spoken(world: World) -> AsyncIterator[str]:
    for word in world.words:
        yield "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}) + "\n\n"
        await asyncio.sleep(world.pause_s)
    known = {
        "release": "v1", "items": [brief("i3"), brief("i4")], "retrieved": True, "refused": False, "grounded": True,
        "removed": 0, "timings_ms": {"generate": 80.0},
    }  # fmt: skip
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "navigator": known}
    yield "data: " + json.dumps(last) + "\n\ndata: [DONE]\n\n"


async def compare(request: Request) -> Response:
    asked = await noted(request)
    results = [brief(item) for item in left(asked["history"], asked["k"])]
    swapped = measured(40.0, 0.004, 26, results)
    sides: dict[str, Any] = {"release": "v1", "candidates": 12, "swapped": swapped, "native": None}
    if world_of(request).native:
        sides["native"] = measured(1840.0, 0.16, 980, results[::-1])
    return JSONResponse(sides)


async def events(request: Request) -> Response:
    world, body = world_of(request), await request.json()
    if world.full > 0:
        world.full -= 1
        world.turned.append(body)
        return refused(Refusal(503, "full", "The disk is full.", retry_after_s=0.1))
    accepted = world.keep(body["events"])
    await asyncio.sleep(world.slow_s)
    return JSONResponse({"accepted": accepted, "duplicates": len(body["events"]) - accepted, "refused": []})


async def item(request: Request) -> Response:
    known = request.path_params["item"]
    if known not in TITLES:
        return refused(Refusal(404, "unknown_item", "No item has this id."))
    words = ["round", TITLES[known]]
    return JSONResponse({"item": known, "title": TITLES[known], "description": f"About {known}", "keywords": words})


async def picture(request: Request) -> Response:
    return Response(drawn(request.path_params["item"], int(request.query_params["size"])), media_type="image/webp")


async def boards(request: Request) -> Response:
    wanted = request.query_params.get("query", "").casefold()
    found = [(i, t, len(items)) for i, (t, items) in BOARDS.items() if wanted in t.casefold()]
    return JSONResponse([{"board": i, "title": t, "items": n} for i, t, n in found])


async def board(request: Request) -> Response:
    title, items = BOARDS[request.path_params["board"]]
    return JSONResponse({"board": request.path_params["board"], "title": title, "items": [brief(i) for i in items]})


async def release(request: Request) -> Response:
    return JSONResponse({"release": "v1", "events": world_of(request).keeps})


async def models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": "navigator", "object": "model"}]})


async def index(request: Request) -> Response:
    return FileResponse(PAGE / "index.html")


async def noted(request: Request) -> Any:
    body = await request.json()
    world_of(request).asked.append((request.url.path, body))
    return body


ROUTES = [
    Route("/v1/search", search, methods=["POST"]), Route("/v1/recommend", recommend, methods=["POST"]),
    Route("/v1/chat/completions", chat, methods=["POST"]), Route("/v1/compare", compare, methods=["POST"]),
    Route("/v1/events", events, methods=["POST"]), Route("/v1/items/{item}/picture", picture),
    Route("/v1/items/{item}", item), Route("/v1/boards", boards), Route("/v1/boards/{board:path}", board),
    Route("/v1/release", release), Route("/v1/models", models), Route("/", index),
    Mount("/static", StaticFiles(directory=PAGE)),
]  # fmt: skip


class Door(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        refusal = turned_away(world_of(request), request)
        response = refused(refusal) if refusal else await call_next(request)
        response.headers.update(HEADERS)
        return response


def measured(latency_ms: float, usd: float, tokens: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"latency_ms": latency_ms, "usd_per_1000": usd, "tokens": tokens, "results": results}


def turned_away(world: World, request: Request) -> Refusal | None:
    """What the door says to a request; None: come in."""
    if not request.url.path.startswith("/v1/"):
        return None
    if world.key and request.headers.get("Authorization") != f"Bearer {world.key}":
        return Refusal(401, "invalid_api_key", "An API key is needed.")
    if world.busy > 0 and request.method == "POST" and request.url.path != "/v1/events":
        world.busy -= 1
        return Refusal(429, "overloaded", "Too many requests are waiting.", retry_after_s=0.1)
    return None


def refused(refusal: Refusal) -> Response:
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


@contextmanager
def served(world: World) -> Iterator[World]:
    """The world on a free port of the loopback; its `url` is set."""
    server = uvicorn.Server(
        uvicorn.Config(app_of(world), host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    world.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    try:
        yield world
    finally:
        server.should_exit = True
        thread.join(10)
