"""The door in front of the application: pure ASGI, so that answers stream through it and it hears when a client leaves.

In order: is the request well formed and for us (Host, path, Origin), who sends it (key, scope), how often (token bucket),
how much (body). Only then does the application see it. Whatever goes wrong, there or here, becomes a Refusal; no trace
of the code leaves the process.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from graph.audit import audit_path
from navigator.contracts import UserError
from navigator.refusal import Refusal
from navigator.serve.door.answer import Answer, trace_of
from navigator.serve.door.audit import AuditLog, Line
from navigator.serve.door.bodies import Bodies, ClientGone
from navigator.serve.door.headers import check_binding, check_host, check_origin, request_id
from navigator.serve.door.options import DoorOptions
from navigator.serve.door.places import ADMIN, place_of
from navigator.serve.door.visitors import KeyRefused, Visitors

log = logging.getLogger(__name__)

LONGEST_PATH = 200  # letters of a path in a log


class Door:
    """ASGI middleware, the outermost: `Door(app, options)`, or `app.add_middleware(Door, options=...)`, added last.

    Added the second way it sits within Starlette's own error page, which then never shows; the first way an application
    says itself how its errors look. It finds who asks in `request.state`: `request_id`, and `key_name`, None where there
    are no keys.

    Args:
        app: the application.
        options: see DoorOptions.
        extra: headers for the answers that the door gives itself, such as the release; the application adds its own.
        told: hears every refusal that the door answers with, to be counted.
        clock: seconds, never going back.

    Raises:
        UserError: no usable keys file, or other computers would be served without keys.
    """

    def __init__(
        self, app: ASGIApp, options: DoorOptions, extra: Callable[[], dict[str, str]] = dict,
        told: Callable[[Refusal], None] = lambda refusal: None, clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        check_binding(options.host, options.keys is not None, options.insecure)
        self.app, self.options, self._extra, self._told = app, options, extra, told
        self._visitors = Visitors(options, clock)
        self._bodies = Bodies(options)
        beside_keys = Path("serve.audit.jsonl") if options.keys is None else audit_path(options.keys)
        self._log = AuditLog(options.audit or beside_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":  # the server speaks no WebSocket
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(scope, receive, Answer(send, request_id(scope["headers"]), self._extra, self._told))

    async def _answer(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        line = Line(
            who=None, what=f"{scope['method']} {_path(scope)[:LONGEST_PATH]}", outcome="failed", reason="no answer",
            origin=_address(scope), request_id=answer.request_id,
        )  # fmt: skip
        try:
            await self._let_in(scope, receive, answer, line)
        except KeyRefused as refusal:
            unwritten, self._visitors.unwritten = self._visitors.unwritten, 0
            await self._write(_judged(line, refusal.status, refusal.code, refusal.who, unwritten), must=False)
            await answer.refuse(refusal)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except ClientGone:
            log.info("request %s: the client left before its body was whole", answer.request_id)
        except Exception as error:  # the outermost place: nothing above it would answer without a trace
            if answer.cut.is_set():
                return
            log.error("request %s: %s failed\n%s", answer.request_id, line.what, trace_of(error))
            message = f"the server failed at this request; its log says why under {answer.request_id}"
            await answer.refuse(Refusal(500, "internal_error", message))

    async def _let_in(self, scope: Scope, receive: Receive, answer: Answer, line: Line) -> None:
        headers, path = scope["headers"], _path(scope)
        place = place_of(path)
        answer.api = path != "/" and not path.startswith("/static/")
        if place.cost:  # probes ask by number, not by name, and what they get is no secret
            host = check_host(headers, self.options)
            check_origin(scope["method"], headers, host, self.options)
        key = self._visitors.admit(headers, place, line.origin or "")
        if key is not None:
            answer.still_good = partial(self._visitors.stands, key)
        scope.setdefault("state", {}).update(request_id=answer.request_id, key_name=key and key.name)
        try:
            if path.startswith(ADMIN):
                line = replace(line, who=key and key.name)
                await self._can_write()
                answer.before = lambda status: self._write(_judged(line, status, answer.code, line.who))
            async with self._bodies.read(receive, headers) as body:
                await self.app(scope, answer.listen(body, receive), answer.send)
        except (asyncio.CancelledError, ClientGone):
            if answer.before:  # an administrator who hears no answer; it may have been done
                await self._write(line, must=False)
            raise

    async def _can_write(self) -> None:
        """Nothing is done for an administrator that could not be written down."""
        try:
            await asyncio.to_thread(self._log.check)
        except UserError as error:
            raise _unwritable(error) from error

    async def _write(self, line: Line, must: bool = True) -> None:
        """Write an audit line; where it cannot be, say so in the log and, if it `must`, to the client."""
        try:
            await asyncio.to_thread(self._log.write, line)
        except UserError as error:
            refusal = _unwritable(error)
            if must:
                raise refusal from error


def _unwritable(error: UserError) -> Refusal:
    log.error("%s", error)
    return Refusal(
        503, "audit_unwritable", "the server cannot write its audit log; its owner finds the reason in its log"
    )


def _judged(line: Line, status: int, reason: str, who: str | None, unwritten: int = 0) -> Line:
    outcome = "done" if status < 400 else "refused" if status < 500 else "failed"
    return replace(line, status=status, reason=reason, who=who, outcome=outcome, not_written=unwritten)


def _path(scope: Scope) -> str:
    """The path as the router will see it: decoded once, without the prefix that a proxy serves us under."""
    path, root = scope["path"], scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "local"
