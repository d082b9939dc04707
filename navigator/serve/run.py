"""One process that listens: uvicorn around the app, a line that says where, and an end that finishes what is inside."""

import asyncio
import logging
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from navigator.contracts import UserError
from navigator.serve.app import build_app
from navigator.serve.door.content_filter import load_filter
from navigator.serve.door.options import DoorOptions
from navigator.serve.service import Service

BACKLOG = 2048
_KEEP_ALIVE_S = 30


class Server(uvicorn.Server):
    """Says at the first signal that it is about to stop, and stops listening `notice_s` later; a second signal is heard."""

    def __init__(self, config: uvicorn.Config, service: Service, notice_s: float):
        super().__init__(config)
        self._service, self._notice_s = service, notice_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        again, self._service.draining = self._service.draining, True
        if again or self._notice_s <= 0:
            return super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_later(self._notice_s, super().handle_exit, sig, frame)


def run(
    service: Service, door: DoorOptions, listening: socket.socket, blocked: Path | None = None, drain_s: float = 30.0,
    notice_s: float = 0.0, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Serve on a socket of `bound` until a signal comes; `more` goes to build_app."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    app = build_app(service, door, load_filter(blocked), drain_s=drain_s, **more)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, proxy_headers=False, server_header=False, backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=max(1, round(drain_s)), lifespan="on",
    )  # fmt: skip
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    print(f"release {service.engine.name} is served at {url} (Ctrl-C stops)", file=sys.stderr, flush=True)
    Server(config, service, notice_s).run([listening])
    return {"url": url, "release": service.engine.name, "text": "stopped"}


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address but does not listen yet: what is wrong with it is told before a model is opened.

    Raises:
        UserError: the address is taken, not ours, or no address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen on {host} port {port} ({error}); give another --port, 1 to 65535 (0 takes a free one)"
        ) from error
    return listening
