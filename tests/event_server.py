"""A server of events that is killed under load, and the clients that note what it acknowledged.

`python event_server.py STORE ROUNDS SEED` serves the route alone, from a forked child; `killed_rounds` takes any server.
"""

import http.client
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CLIENTS = 4


def killed_rounds(
    start: Callable[[int], int], rounds: int, seed: int, seconds: tuple[float, float], patience_s: float = 60
) -> tuple[set[str], int]:
    """Start, load, kill, again; returns ids of acknowledged events, and how many requests had no answer.

    Args:
        start: gets a port, returns the process that will listen on it.
        rounds: how often.
        seed: of the moments.
        seconds: shortest and longest load before the kill.
        patience_s: for a server to listen.
    """
    chance, acknowledged, unanswered = random.Random(seed), set[str](), 0
    for number in range(rounds):
        port = free_port()
        process = start(port)
        _await_port(port, patience_s)
        told: list[list[str]] = [[] for _ in range(CLIENTS)]
        lost: list[int] = []
        clients = [
            threading.Thread(target=_client, args=(port, f"r{number}-c{n}", told[n], lost)) for n in range(CLIENTS)
        ]
        for thread in clients:
            thread.start()
        until = time.monotonic() + patience_s
        while not all(told) and time.monotonic() < until:  # the kill comes when everybody was answered at least once
            time.sleep(0.01)
        time.sleep(chance.uniform(*seconds))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        for thread in clients:
            thread.join()
        acknowledged |= {event_id for ids in told for event_id in ids}
        unanswered += len(lost)
    return acknowledged, unanswered


def give_engine(app: Any, service: Any) -> None:
    """What the whole server's outermost layer does: the request knows which release was live when it came."""
    app.state.service = service

    @app.middleware("http")
    async def named(request: Any, call_next: Any) -> Any:
        request.state.engine = service.engine
        return await call_next(request)


def _client(port: int, name: str, told: list[str], lost: list[int]) -> None:
    """Post events of two, without a pause, until the server is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for turn in range(1_000_000):
        ids = [f"{name}-{turn}-{part}" for part in range(2)]
        events = [{"kind": "save", "user_id": name, "item_id": "i1", "event_id": event_id} for event_id in ids]
        try:
            connection.request(
                "POST", "/v1/events", json.dumps({"events": events}), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            lost.append(turn)
            return
        if response.status == 200 and answer["accepted"] == 2:
            told += ids


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _await_port(port: int, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _serve(store: Path, port: int) -> None:
    """The route, with a release that has a name, and nothing else."""
    import uvicorn
    from fastapi import FastAPI

    from navigator.events.store import EventStore, Limits
    from navigator.serve.routes_events import router

    app = FastAPI()
    give_engine(app, SimpleNamespace(engine=SimpleNamespace(name="v7")))
    app.state.events = EventStore.open(store, limits=Limits(segment_bytes=20_000, compact_s=0.05))
    app.include_router(router)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    import fastapi
    import uvicorn

    import navigator.serve.routes_events  # noqa: F401  imported once, before the forks

    assert fastapi and uvicorn

    def forked(port: int) -> int:
        child = os.fork()
        if child == 0:
            try:
                _serve(Path(sys.argv[1]), port)
            finally:
                os._exit(1)
        return child

    ids, unanswered = killed_rounds(forked, int(sys.argv[2]), int(sys.argv[3]), (0.05, 0.3))
    print(json.dumps({"acknowledged": sorted(ids), "unanswered": unanswered}))
