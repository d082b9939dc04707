"""A catalogue whose graph has every kind of edge, built in five ways, and the checks of a graph by name."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from graph.commands import build_graph
from graph.leaks import Check, check_all
from graph.policy import DEFAULT
from graph.saved_files import open_files
from graph.store import TasteGraph
from navigator.contracts import Catalog, publish
from navigator.contracts.catalog import TABLES

N = 48


def picture() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (40, 24), "red").save(sink, "PNG")
    return sink.getvalue()


def write_catalog(folder: Path) -> Catalog:
    """Boards that share no item but one, four owners; six users that save in order of time and are shown more."""
    boards = {f"b{b}": [*range(6 * b, 6 * b + 6)] for b in range(7)}
    log = [
        {"user_id": f"u{u}", "item_id": f"i{(7 * u + 5 * t) % 42}", "action": "save", "at": 1_000 * t + u + 1}
        for u in range(6)
        for t in range(6)
    ]
    log += [{"user_id": f"u{u}", "item_id": f"i{42 + u}", "action": "show", "at": 1_500 + u} for u in range(5)]
    images = [{"bytes": picture(), "path": None}, None, {"bytes": b"broken", "path": None}]
    rows: dict[str, list[dict[str, Any]]] = {
        "items": [{"item_id": f"i{i}", "title": f"Thing $ {i}", "image": images[i % 3]} for i in range(N)],
        "boards": [{"board_id": b, "title": f"about {b}", "owner_id": f"o{n}"} for n, b in enumerate(boards)],
        "board_items": [
            {"board_id": b, "item_id": f"i{i}", "saved_at": 10} for b, items in boards.items() for i in items
        ],
        "interactions": log,
        "rejects": [],
    }
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(pa.Table.from_pylist(rows.get(name, []), schema=schema), work.path / f"{name}.parquet")
    return Catalog.open(folder)


def open_policy(folder: Path) -> Path:
    """The default policy, but statistics may show one person."""
    rules = yaml.safe_load(DEFAULT.read_text())
    rules["purposes"]["stats"]["minimum_group_size"] = 1
    path = folder / "open.yaml"
    path.write_text(yaml.safe_dump(rules))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stats")
    write_catalog(home / "catalog")
    options: dict[str, Any] = {
        "impressions": ["show"],
        "valid_fraction": 1.0,
        "walks": 100,
        "co_saves": 2,
        "policy": open_policy(home),
    }
    build_graph(home / "catalog", home / "last", unseen_owners=0.4, **options)
    build_graph(home / "catalog", home / "last-two", last=2, **options)
    build_graph(home / "catalog", home / "cut", user_split="global-time", global_quantile=0.7, **options)
    build_graph(home / "catalog", home / "last-plain", **({**options, "co_saves": 0}))
    build_graph(home / "catalog", home / "closed", **({**options, "policy": None}))
    return home


def checks(home: Path, folder: Path) -> dict[str, Check]:
    catalog = Catalog.open(home / "catalog")
    found = check_all(open_files(TasteGraph.open(folder, catalog, purpose="stats"), catalog))
    return {check.name: check for check in found}
