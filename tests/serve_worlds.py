"""A tiny release with an encoder that reads words and pictures, an engine over it, and an app or a live server around that."""

import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from clip_worlds import tiny_clip
from encoders.load import load_encoder
from navigator.contracts import Catalog, publish
from navigator.contracts.vectors import normalise, write_vectors
from navigator.model_commands import index as index_command
from navigator.model_commands import swap
from navigator.serve.app import build_app
from navigator.serve.door.options import DoorOptions
from navigator.serve.engine import Engine
from navigator.serve.options import ServeOptions
from navigator.serve.service import Service

LOOPBACK = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class World:
    """Folders of one release; its sixty items are i00 to i59, its boards b0 to b11, its words those of the tiny encoder."""

    home: Path
    catalog: Path

    def engine(self, name: str = "v1", encoder: bool = True) -> Engine:
        return Engine.open(
            name, self.home / "model", self.home / "index", self.home / "vectors", self.catalog,
            str(self.home / "encoder") if encoder else None, device="cpu", dtype="float32",
        )  # fmt: skip


@pytest.fixture(scope="session")
def world(project: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Content of 16 dimensions by the tiny encoder and graph factors of 2, which every third item lacks."""
    home = tmp_path_factory.mktemp("served")
    encoder = load_encoder(str(tiny_clip(home / "encoder")))
    catalog = Catalog.open(project / "catalog")
    titles = catalog.table("items", ["title"])["title"].to_pylist()
    factors = np.random.default_rng(3).normal(size=(len(titles), 2)) * 0.3
    factors[::3] = 0
    made = {
        "encoder": "mixed", "normalised": True, "content_encoder": encoder.fingerprint, "content_dim": encoder.dim,
        "encoder_name": str(home / "encoder"),
    }  # fmt: skip
    with publish(home / "vectors", "vectors", made, {"catalog": catalog.fingerprint}) as work:
        stored = normalise(np.hstack([encoder.encode_texts(titles), factors])).astype(np.float32)
        write_vectors(work.path, catalog.item_ids, stored)
    index_command(home / "vectors", home / "index")
    swap(home / "model", str(project / "stock"), vectors=home / "vectors")
    return World(home, project / "catalog")


@pytest.fixture(scope="session")
def engine(world: World) -> Engine:
    """One opened release; nobody changes it."""
    return world.engine()


@contextmanager
def client_of(service: Service, folder: Path, **door: Any) -> Iterator[TestClient]:
    """Calls an app in this process; it is drained at the end."""
    app = build_app(service, door_options(folder, **door))
    with TestClient(app, LOOPBACK, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def listening(service: Service, folder: Path, **more: Any) -> Iterator[str]:
    """The address of a server that really listens on loopback, for clients that bring their own HTTP; `more` to build_app."""
    config = uvicorn.Config(build_app(service, door_options(folder), **more), port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def door_options(folder: Path, **more: Any) -> DoorOptions:
    """Without a limit on requests a minute, and with the audit log where the test may write."""
    settings: dict[str, Any] = {"per_minute": 0.0, "audit": folder / "door.audit.jsonl"}
    return DoorOptions(**settings | more)


def service_of(engine: Engine, **options: Any) -> Service:
    settings: dict[str, Any] = {"window_ms": 0.0}
    return Service(engine, ServeOptions(**settings | options))


def data_url(colour: tuple[int, int, int] = (220, 30, 30), side: int = 20) -> str:
    """A picture of one colour as people send it."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
