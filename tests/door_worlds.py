"""A tiny application behind the door, and a client that can send what no honest client would."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from navigator.refusal import Refusal
from navigator.serve.door.commands import create_key
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions

HOST = (b"host", b"localhost:8080")


@dataclass
class Heard:
    """What a client got. `error` is the code of a refusal, "" for others; `whole` whether the answer ended properly."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]["code"] if self.status >= 400 else ""


class Echo:
    """Answers with the length of the body, and remembers what reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.states: list[dict[str, Any]] = []

    async def __call__(self, scope, receive, send) -> None:
        body = (await receive())["body"]
        self.seen.append((scope["path"], body))
        self.states.append(dict(scope["state"]))
        if b"refuse" in body:
            raise Refusal(504, "deadline", "too late")
        if b"crash" in body:
            raise ValueError(f"cannot use {body.decode()}")
        headers = [(b"content-type", b"text/plain"), (b"x-request-id", b"the-app"), (b"x-frame-options", b"ALLOWALL")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": str(len(body)).encode()})


async def talk(
    app: Any, path: str, headers: Iterable[tuple[bytes, bytes]] = (HOST,), method: str = "POST",
    chunks: Iterable[bytes] = (b"{}",), client: str = "127.0.0.1", pause: float = 0.0, leaves: bool = False,
    root: str = "", read: list[bytes] | None = None,
) -> Heard | None:  # fmt: skip
    """One request as the server would hand it over; None if nothing was answered.

    The body comes in `chunks`, with `pause` seconds before each; with `leaves` the client is gone after them. `read`
    takes those that were asked for.
    """
    pieces = list(chunks)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        if pieces:
            if read is not None:
                read.append(pieces[0])
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces) or leaves}
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": list(headers),
        "query_string": b"", "client": (client, 1), "root_path": root, "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await app(scope, receive, send)
    return heard(sent)


def heard(sent: list[dict[str, Any]]) -> Heard | None:
    """The messages of an answer, put together."""
    if not sent:
        return None
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"][: len(sent)]
    assert [message["type"] for message in sent].count("http.response.start") == 1
    names = [name.decode() for name, _ in sent[0]["headers"]]
    assert len(names) == len(set(names)), f"a header twice: {names}"
    said = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Heard(sent[0]["status"], said, body, len(sent) > 1 and not sent[-1].get("more_body", False))


def ask(app: Any, path: str, **how: Any) -> Heard:
    """`talk` for tests that need no event loop of their own; something must be answered."""
    answer = asyncio.run(talk(app, path, **how))
    assert answer is not None
    return answer


def bearer(secret: str) -> tuple[tuple[bytes, bytes], ...]:
    """Headers of an honest client with a key."""
    return (HOST, (b"authorization", f"Bearer {secret}".encode()))


def keyed(folder: Path, scopes: dict[str, list[Any]], **options: Any) -> tuple[Door, Echo, dict[str, str], Path]:
    """A door with keys: the door, what is behind it, the keys by name, their file."""
    path = folder / "keys.json"
    secrets = {name: create_key(path, name, opened)["key"] for name, opened in scopes.items()}
    echo = Echo()
    return Door(echo, DoorOptions(keys=path, **options)), echo, secrets, path


def open_door(clock: Callable[[], float] = lambda: 0.0, **options: Any) -> tuple[Door, Echo]:
    """A door without keys, on loopback, whose clock stands still."""
    echo = Echo()
    return Door(echo, DoorOptions(**options), clock=clock), echo
