"""Bodies of requests: read whole before the application sees them, counted as they arrive, in bounded time and memory.

Every request here is JSON that is needed whole, so nothing is lost by reading first; and what is too long or too slow
ends at the door, where it can still be said properly. Answers are not touched: they stream.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from navigator.refusal import Refusal
from navigator.serve.door.headers import Headers, one
from navigator.serve.door.options import DoorOptions

DRAINED = 4  # times the limit: as much more is taken in and dropped, so that who sends too much gets to read why not


class ClientGone(Exception):
    """The client went away before its request was whole; there is nobody to answer."""


class Bodies:
    """Reads bodies and knows how many bytes of them are held at the moment."""

    def __init__(self, options: DoorOptions):
        self._options = options
        self.held = 0

    @asynccontextmanager
    async def read(self, receive: Receive, headers: Headers) -> AsyncIterator[bytes]:
        """The whole body; it counts as held until the block ends.

        Raises:
            Refusal: 400 for an odd Content-Length, 408 too slow, 413 too long, 503 while the bodies of others take all room.
            ClientGone: the rest of the body never came.
        """
        chunks: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self._options.body_timeout_s):
                    await self._collect(chunks, receive, headers)
            except TimeoutError as error:
                seconds = self._options.body_timeout_s
                raise Refusal(408, "slow_body", f"the body did not arrive within {seconds:g} seconds") from error
            chunks[:] = [b"".join(chunks)]
            yield chunks[0]
        finally:
            self.held -= sum(map(len, chunks))

    async def _collect(self, chunks: list[bytes], receive: Receive, headers: Headers) -> None:
        """Append what arrives to `chunks`, which is all that is held."""
        declared, limit = one(headers, "content-length"), self._options.body_bytes
        if declared is not None and not (declared.isascii() and declared.isdigit()):
            raise Refusal(400, "bad_length", "Content-Length is not a number")
        if declared is not None and int(declared[:20]) > limit:
            if one(headers, "expect") is None:  # else it waits for our word before it sends
                await _drain(receive, DRAINED * limit)
            raise self._too_large()
        length, more = 0, True
        while more:
            chunk, more = await _next(receive)
            length += len(chunk)
            if length > limit:
                await _drain(receive, DRAINED * limit if more else 0)
                raise self._too_large()
            if self.held + len(chunk) > self._options.bodies_bytes:
                raise Refusal(503, "busy", "the server holds as many bodies as it has room for", retry_after_s=1)
            chunks.append(chunk)
            self.held += len(chunk)

    def _too_large(self) -> Refusal:
        limit = self._options.body_bytes
        return Refusal(413, "body_too_large", f"the body is larger than the {limit:,} bytes that are allowed")


async def _next(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def _drain(receive: Receive, most: int) -> None:
    more = True
    while more and most > 0:
        chunk, more = await _next(receive)
        most -= len(chunk)
