"""An answer on its way out: the door's headers on every one, refusals as JSON, and a word before the first byte leaves."""

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive, Send

from navigator.refusal import Refusal
from navigator.serve.door.headers import dressed

CLOSING = (408, 413)  # the rest of the request is not read


class Answer:
    """Wraps ASGI's `send`.

    Attributes:
        started: the client has a status; it cannot be changed any more.
        cut: set when the answer is broken off because its key stopped being good.
        code: of the refusal that this answer is, "" for others.
        api: an answer that must not be stored, unlike the page and its files.
        before: awaited with the status before it is sent, once.
        still_good: asked before every further piece of a streamed answer.
        listening: the application waits to hear that the client left.
    """

    def __init__(
        self, send: Send, request_id: str, extra: Callable[[], dict[str, str]], told: Callable[[Refusal], None]
    ):  # fmt: skip
        self._send, self._extra, self._told, self.request_id = send, extra, told, request_id
        self.started = self.listening = False
        self.cut = asyncio.Event()
        self.api = True
        self.code = ""
        self.before: Callable[[int], Awaitable[None]] | None = None
        self.still_good: Callable[[], bool] | None = None

    async def send(self, message: Message) -> None:
        """For the application.

        When the key of a streamed answer stops being good, the rest is dropped and the application hears that the client
        left, which cancels what it was waiting for.

        Raises:
            OSError: the same, for an application that does not listen.
        """
        if message["type"] == "http.response.start":
            before, self.before = self.before, None
            if before:
                await before(message["status"])
            self.started = True
            message = {**message, "headers": dressed(message.get("headers", ()), self.request_id, self.api)}
        elif message.get("more_body") and self.still_good and not self.still_good():
            self.cut.set()
            if not self.listening:
                raise OSError("the key that this answer streams for is no longer good")
        if not self.cut.is_set():
            await self._send(message)

    def listen(self, body: bytes, receive: Receive) -> Receive:
        """`receive` for the application: the body in one message, then that the client left, or is to be treated so."""
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def next_message() -> Message:
            if messages:
                return messages.pop()
            self.listening = True
            said, cut = asyncio.ensure_future(receive()), asyncio.ensure_future(self.cut.wait())
            try:
                await asyncio.wait({said, cut}, return_when=asyncio.FIRST_COMPLETED)
                return said.result() if said.done() else {"type": "http.disconnect"}
            finally:
                self.listening = False
                said.cancel()
                cut.cancel()

        return next_message

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal; nothing more is said where an answer has begun (the server then breaks it off)."""
        if self.started:
            return
        self.code = refusal.code
        self._told(refusal)
        body = json.dumps(refusal.body).encode()
        said = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **self._extra(),
            **refusal.headers,
        }
        if refusal.status == 401:
            said["WWW-Authenticate"] = 'Bearer realm="navigator"'
        if refusal.status in CLOSING:
            said["Connection"] = "close"
        self.api = True
        headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def trace_of(error: BaseException, depth: int = 0) -> str:
    """Where an error came from, for the log: places and kinds, and what led to it, but no messages.

    The message of an error often quotes what was being worked on, and what a client sent does not belong in a log.
    """
    text = "".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__
    led = [*getattr(error, "exceptions", ()), error.__cause__ or error.__context__]
    for inner in led if depth < 5 else ():
        if inner is not None:
            text += "\nafter\n" + trace_of(inner, depth + 1)
    return text
