"""A catalogue of few people with its graph, and the oracle of forgetting: the graph that never had them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph.audit import audit_path, read_audit
from graph.commands import build_graph
from graph.forget import forget
from navigator.contracts import UserError, publish
from navigator.contracts.catalog import FOLLOWS, TABLES
from navigator.contracts.vectors import normalise, write_vectors

OPTIONS: dict[str, Any] = {"seed": 3, "min_board": 3, "valid_fraction": 0.5, "walks": 30, "length": 6}


OWNERS = {"b0": "ada", "b1": "ben", "b2": "cleo", "b3": "ben", "b4": "cleo", "b5": None}


def tables() -> dict[str, list[dict[str, Any]]]:
    """40 items; ada saves, follows and owns b0; ben owns b1 and b3 and does nothing else; dan only saves; eve only follows."""
    chance = np.random.default_rng(5)

    def saves(user: str, count: int) -> list[dict[str, Any]]:
        items = chance.choice(40, count, replace=False).tolist()
        return [{"user_id": user, "item_id": f"i{i}", "action": "save", "at": 100 * n} for n, i in enumerate(items, 1)]

    boards = {board: chance.choice(40, 7, replace=False).tolist() for board in OWNERS}
    follows = [("ada", "b1"), ("ada", "b2"), ("cleo", "b0"), ("eve", "b0"), ("eve", "b4"), ("dan", "b3")]
    return {
        "items": [{"item_id": f"i{i}", "title": f"t{i}", "keywords": [], "text": ""} for i in range(40)],
        "boards": [{"board_id": b, "title": f"about {b}", "owner_id": owner} for b, owner in OWNERS.items()],
        "board_items": [{"board_id": b, "item_id": f"i{i}"} for b, items in boards.items() for i in items],
        "interactions": [row for user in ("ada", "cleo", "dan", "fay") for row in saves(user, 8)],
        "follows": [{"user_id": user, "board_id": board, "at": 50} for user, board in follows],
        "rejects": [],
    }


def without(rows: dict[str, list[dict[str, Any]]], user: str) -> dict[str, list[dict[str, Any]]]:
    """The oracle: strike every row of the user and of the boards they own."""
    boards = {row["board_id"] for row in rows["boards"] if row["owner_id"] == user}
    return {
        name: [row for row in table if row.get("user_id") != user and row.get("board_id") not in boards]
        for name, table in rows.items()
    }


def write_catalog(folder: Path, rows: dict[str, list[dict[str, Any]]]) -> Path:
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in {**TABLES, "follows": FOLLOWS}.items():
            pq.write_table(pa.Table.from_pylist(rows[name], schema=schema), work.path / f"{name}.parquet")
    return folder


@pytest.fixture(scope="session")
def first_town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("first")
    build_graph(write_catalog(root / "catalog", tables()), root / "g", **OPTIONS)
    return root


@pytest.fixture
def town(first_town: Path, tmp_path: Path) -> Path:
    """A copy of the catalogue and its graph, to be changed."""
    shutil.copytree(first_town, tmp_path, dirs_exist_ok=True)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("manifest.json")
    return found


def never_had(folder: Path, *users: str) -> Path:
    rows = tables()
    for user in users:
        rows = without(rows, user)
    build_graph(write_catalog(folder / "never", rows), folder / "never-g", **OPTIONS)
    return folder / "never-g"


def refused(
    town: Path, said: str, user: str = "ada", catalog: str = "catalog", vectors: list[Path] | None = None
) -> None:
    """Refused in one line, in the log too, and nothing was changed."""
    before = {path: path.read_bytes() for path in town.rglob("*") if path.is_file() and path.suffix != ".jsonl"}
    with pytest.raises(UserError) as error:
        forget(user, town / "g", town / catalog, vectors)
    assert said in str(error.value) and "\n" not in str(error.value)
    line = read_audit(audit_path(town / "g"))[-1]
    assert (line["what"], line["outcome"]) == ("graph forget", "refused") and user not in line["reason"].split("'")
    assert {path: path.read_bytes() for path in town.rglob("*") if path.is_file() and path.suffix != ".jsonl"} == before


def vectors(folder: Path, ids: list[str], config: dict[str, Any] | None = None, **inputs: str) -> Path:
    matrix = normalise(np.random.default_rng(len(ids)).standard_normal((len(ids), 8))).astype(np.float16)
    with publish(folder, "vectors", {"encoder": "e", "normalised": True, **(config or {})}, inputs) as work:
        write_vectors(work.path, ids, matrix)
    return folder
