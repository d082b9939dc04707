"""The door before a FastAPI application in a real server, spoken to over sockets: what only bytes on a wire can show."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from navigator.serve.door.commands import create_key, revoke_key
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions


def application(options: DoorOptions, left: list[str]) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post("/v1/search")
    async def search(body: dict[str, Any], request: Request) -> dict[str, Any]:
        if "crash" in body:
            raise ValueError(f"cannot use {body}")
        return {"fields": len(body), "key": request.state.key_name}

    @app.post("/v1/chat/completions")
    async def chat() -> StreamingResponse:
        async def pieces():
            try:
                for number in range(500):
                    yield f"data: {number}\n\n"
                    await asyncio.sleep(0.02)
            finally:
                left.append("chat")

        return StreamingResponse(pieces(), media_type="text/event-stream")

    app.add_middleware(Door, options=options)
    return app


@contextmanager
def served(options: DoorOptions) -> Iterator[tuple[int, list[str]]]:
    """Port of a running server, and what its application noticed."""
    left: list[str] = []
    server = uvicorn.Server(
        uvicorn.Config(application(options, left), port=0, log_level="critical", proxy_headers=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1], left
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def connected(port: int, head: str, body: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n" + body)
        yield wire


def rest(wire: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while piece := wire.recv(65536):
        received += piece
    return received


def exchange(
    port: int, path: str, headers: str = "", body: bytes = b"{}", length: str | None = None
) -> tuple[int, bytes]:
    """Status and everything received for one POST."""
    length = f"Content-Length: {len(body)}\n" if length is None else length
    head = f"POST {path} HTTP/1.1\nHost: localhost:{port}\nConnection: close\nContent-Type: application/json\n{length}{headers}"
    with connected(port, head, body) as wire:
        received = rest(wire)
    return int(received.split(b" ", 2)[1]), received


def comes(noticed: list[str]) -> list[str]:
    """What the application notices within two seconds."""
    deadline = time.perf_counter() + 2
    while not noticed and time.perf_counter() < deadline:
        time.sleep(0.01)
    return noticed


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_requests_answers_and_refusals_over_the_wire(capfd: pytest.CaptureFixture[str]):
    with served(DoorOptions(body_bytes=1000, body_timeout_s=0.5)) as (port, _):
        status, received = exchange(port, "/v1/search", body=b'{"a": 1}')
        assert status == 200 and b'{"fields":1,"key":null}' in received
        assert b"content-security-policy:" in received and b"cache-control: no-store" in received
        status, received = exchange(port, "/v1/search", body=b'{"crash": "wish"}')
        assert status == 500 and json.loads(received.split(b"\r\n\r\n", 1)[1])["error"]["code"] == "internal_error"
        assert exchange(port, "/v1/search", body=b"{" + b" " * 999 + b"}")[0] == 413
        transfer = "Transfer-Encoding: chunked\n"
        assert exchange(port, "/v1/search", body=chunked(b"{", b"}"), length=transfer)[0] == 200
        assert exchange(port, "/v1/search", body=chunked(*[b"x" * 300] * 4), length=transfer)[0] == 413
        assert exchange(port, "/v1/search", length="Content-Length: 50\n")[0] == 408  # claims more than it sends
        both = exchange(
            port, "/v1/search", body=chunked(b"{}"), length="Content-Length: 2\nTransfer-Encoding: chunked\n"
        )
        assert both[0] in (200, 400) and both[1].count(b"HTTP/1.1 ") == 1  # never two requests out of one
        assert exchange(port, "/v1/search", length="Content-Length: 2\nContent-Length: 3\n")[0] == 400
    assert "wish" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "path",
    ["//v1/admin/reload", "/v1/%2e%2e/v1/admin/reload", "/v1/items/..%2fadmin%2freload", "/static/%5c..%5cx",
     "/v1/search%00", "/v1/%61dmin//x", "/v1/items/%2e", "http://evil.example//v1/admin/reload"],
)  # fmt: skip
def test_paths_cannot_be_disguised_on_the_wire(path: str):
    with served(DoorOptions()) as (port, _):
        assert exchange(port, path)[0] == 400
        assert (
            exchange(port, "/v1/%73earch")[0] == 200
        )  # the same path, spelt otherwise, for the door as for the router
        assert exchange(port, "/v1/%73earch/")[0] == exchange(port, "/V1/search")[0] == 404


def test_request_ids_cannot_carry_headers():
    with served(DoorOptions()) as (port, _):
        for odd in ("a\tb", "x" * 500, "a;b", "a\r\n\tSet-Cookie: x=1"):
            status, received = exchange(port, "/v1/search", f"X-Request-Id: {odd}\n")
            assert status in (200, 400) and b"set-cookie" not in received.lower() and odd.encode() not in received
        assert b"x-request-id: mine-1\r\n" in exchange(port, "/v1/search", "X-Request-Id: mine-1\n")[1]


def test_a_key_revoked_in_flight_ends_its_stream_within_a_second(tmp_path: Path):
    path = tmp_path / "keys.json"
    headers = f"Authorization: Bearer {create_key(path, 'alice', ['chat'])['key']}\nContent-Length: 0\n"
    with served(DoorOptions(keys=path)) as (port, left):
        with connected(port, f"POST /v1/chat/completions HTTP/1.1\nHost: localhost\n{headers}") as wire:
            assert b"200 OK" in wire.recv(65536)
            assert b"data:" in wire.recv(65536)  # pieces come one by one, nothing is held back
            revoke_key(path, "alice")
            started = time.perf_counter()
            received = rest(wire)
            assert time.perf_counter() - started < 1 and not received.endswith(b"0\r\n\r\n")
        assert comes(left) == ["chat"]
        assert exchange(port, "/v1/chat/completions", headers)[0] in (400, 401)


def test_the_application_stops_when_the_client_leaves():
    with served(DoorOptions()) as (port, left):
        with connected(port, "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Length: 0\n") as wire:
            assert b"200 OK" in wire.recv(65536)
        assert comes(left) == ["chat"]


def test_many_slow_clients_do_not_keep_others_out():
    with served(DoorOptions(body_timeout_s=1.0, per_minute=0)) as (port, _):
        head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(100)]
        for wire in slow:
            wire.sendall(head.encode())
        started = time.perf_counter()
        assert exchange(port, "/v1/search")[0] == 200 and time.perf_counter() - started < 0.9
        assert {rest(wire).split(b" ", 2)[1] for wire in slow} == {b"408"}
        for wire in slow:
            wire.close()
