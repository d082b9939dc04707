"""What every route shares: the service of the app, deadlines, answers with their headers, refusals, measured requests."""

import re
import time
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from navigator.refusal import RELEASE_HEADER, Refusal
from navigator.serve.door.content_filter import refuse_blocked
from navigator.serve.door.pictures import picture_of
from navigator.serve.engine import Engine
from navigator.serve.exchange import Asked
from navigator.serve.service import Reply, Service

TYPE_NAME = re.compile(
    r"(constrained-|list\[|str$|TextPart$|ImagePart$|ItemPart$)"
)  # of a union, in the place of an error
_SAID = 300  # characters of a validation message that are repeated

TimeoutMs = Annotated[
    float | None,
    Header(alias="X-Timeout-Ms", gt=0, le=3_600_000, description="milliseconds after which the answer is not wanted"),
]


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    error: ErrorDetail


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request cannot be answered as it is"},
    401: {"model": ErrorBody, "description": "No key, or one that is not valid"},
    403: {"model": ErrorBody, "description": "The key may not do this"},
    404: {"model": ErrorBody, "description": "No such item, board or keyword"},
    413: {"model": ErrorBody, "description": "The body or a picture is too large"},
    415: {"model": ErrorBody, "description": "Not JSON, or a picture of another format"},
    422: {"model": ErrorBody, "description": "A field is missing or has a value that is not allowed"},
    429: {"model": ErrorBody, "description": "Too many requests; Retry-After says when to come back"},
    503: {"model": ErrorBody, "description": "The server is stopping or not ready"},
    504: {"model": ErrorBody, "description": "No answer before the deadline"},
}  # fmt: skip


def service_of(request: Request) -> Service:
    return request.app.state.service


def engine_of(request: Request) -> Engine:
    """The release that was live when the request came; what takes no place in a line is answered by it."""
    return request.state.engine


async def read_body(request: Request, body: Any, words: str, picture_url: str | None) -> Asked:
    """The body with its picture's bytes, after the content filter and the limits on pictures."""
    refuse_blocked(words, "text", request.app.state.content_filter)
    return Asked(body, None if picture_url is None else await read_picture(request, picture_url, "image"))


async def read_picture(request: Request, url: str, param: str) -> bytes:
    """See navigator.serve.door.pictures; decoding is work, so it is done beside the event loop."""
    return await run_in_threadpool(picture_of, url, request.app.state.door, param)


async def ask(request: Request, response: Response, kind: str, asked: Any, timeout_ms: float | None) -> Reply:
    """The service's reply, told in headers and to Prometheus."""
    service = service_of(request)
    reply = await service.ask(kind, asked, None if timeout_ms is None else timeout_ms / 1000)
    tell(request, response, reply.release, reply.stages_ms)
    return reply


def tell(request: Request, response: Response, release: str, stages_ms: dict[str, float]) -> None:
    """X-Navigator-Release and Server-Timing, whose "work" is all that is not queue."""
    service_of(request).telemetry.stages(request.url.path.rsplit("/v1/", 1)[-1], stages_ms)
    response.headers[RELEASE_HEADER] = release
    response.headers["Server-Timing"] = server_timing(stages_ms)


def server_timing(stages_ms: dict[str, float]) -> str:
    work = sum(spent for name, spent in stages_ms.items() if name != "queue")
    shown = {"queue": stages_ms.get("queue", 0.0), "work": work} | stages_ms
    return ", ".join(f"{name};dur={spent:.3f}" for name, spent in shown.items())


def answer_errors(app: FastAPI) -> None:
    """Whatever goes wrong is told as a Refusal's body; the trace of what nobody foresaw goes to the log alone."""

    def refused(request: Request, error: Any) -> JSONResponse:
        service_of(request).telemetry.refused(error.code)
        return JSONResponse(error.body, error.status, headers=error.headers)

    def invalid(request: Request, error: Any) -> JSONResponse:
        found = error.errors()[0]
        steps = [str(step) for step in found["loc"][1:]]
        place = ".".join(step for step in steps if not TYPE_NAME.match(step)) or None
        if not request.headers.get("content-type", "").startswith("application/json") and request.method == "POST":
            said = "send the body as JSON, with the header Content-Type: application/json"
            return refused(request, Refusal(415, "not_json", said))
        if found["type"] == "json_invalid":
            return refused(request, Refusal(400, "invalid_json", f"the body is not JSON ({found['ctx']['error']})"))
        said = str(found["msg"])[:_SAID].removeprefix("Value error, ")
        return refused(
            request, Refusal(422, "invalid_field", said if place is None else f"{place[:100]}: {said}", place)
        )

    def by_status(request: Request, error: Any) -> JSONResponse:
        code = {404: "no_such_path", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        body = Refusal(error.status_code, code, f"{error.detail}; GET /openapi.json lists what there is").body
        service_of(request).telemetry.refused(code)
        return JSONResponse(body, error.status_code, headers=dict(error.headers or {}))

    def unforeseen(request: Request, error: Exception) -> JSONResponse:  # raised again, so the door logs its trace
        number = getattr(request.state, "request_id", "this request")
        message = f"the server failed at this request; its log says why under {number}"
        return refused(request, Refusal(500, "internal_error", message))

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, by_status)
    app.add_exception_handler(Exception, unforeseen)


class Measured:
    """Counts every request by route and status, and names the release that was live when it came where the route did not."""

    def __init__(self, app: ASGIApp, service: Service):
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, status, engine = time.perf_counter(), 500, self.service.engine
        scope.setdefault("state", {})["engine"] = engine
        name = RELEASE_HEADER.lower().encode()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                if not any(key.lower() == name for key, _ in headers):
                    headers.append((name, engine.name.encode("latin-1", "replace")))
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            scope["state"].pop("engine", None)  # connections and threads keep the scope of their last request
            path = getattr(scope.get("route"), "path", "other")
            self.service.telemetry.answered(path, status, time.perf_counter() - begun)
