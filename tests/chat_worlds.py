"""A chat endpoint on loopback that reacts as a test tells it: late, wrong, cut off, or well."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Reaction:
    """What the chat server does with a request: text is the model's message, raw the whole body in its place."""

    text: str | None = '{"ranking": [2, 1]}'
    status: int = 200
    raw: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False
    usage: dict[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 1000, "completion_tokens": 50})
    message: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"

    def body(self) -> bytes:
        message = {"role": "assistant", "content": self.text} | self.message
        completion = {"choices": [{"index": 0, "message": message, "finish_reason": self.finish}], "usage": self.usage}
        return (json.dumps(completion) if self.raw is None else self.raw).encode()


class ChatServer(ThreadingHTTPServer):
    """Speaks /v1/chat/completions on loopback; `react` decides, `seen` keeps what came, `at_once` the most under way."""

    daemon_threads = True

    def __init__(self, react: Callable[[dict[str, Any], int], Reaction]):
        super().__init__(("127.0.0.1", 0), _ChatHandler)
        self.react, self.lock = react, threading.Lock()
        self.seen: list[tuple[dict[str, Any], dict[str, str], float]] = []
        self.under_way = self.at_once = 0
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _ChatHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen.append((body, {k.lower(): v for k, v in self.headers.items()}, time.monotonic()))
            number = len(self.server.seen)
            self.server.under_way += 1
            self.server.at_once = max(self.server.at_once, self.server.under_way)
        reaction = self.server.react(body, number)
        time.sleep(reaction.delay_s)
        with self.server.lock:
            self.server.under_way -= 1
        self._answer(reaction)

    def _answer(self, reaction: Reaction) -> None:
        sent = reaction.body()
        self.close_connection = reaction.cut
        try:
            self.send_response(reaction.status)
            named = {"Content-Type": "application/json", "Content-Length": str(len(sent))} | reaction.headers
            for name, value in named.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent[: len(sent) // 2] if reaction.cut else sent)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client gave up

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def chat_server() -> Iterator[Callable[..., ChatServer]]:
    """Starts servers that react as told: with one reaction always, or as a function of the body and its number (from 1)."""
    started: list[ChatServer] = []

    def start(react: Reaction | Callable[[dict[str, Any], int], Reaction]) -> ChatServer:
        server = ChatServer((lambda body, number: react) if isinstance(react, Reaction) else react)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def reaction() -> type[Reaction]:
    return Reaction
