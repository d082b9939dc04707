"""`train.prefer` by its command: what it publishes, names and refuses."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from navigator.contracts import UserError
from navigator.recommend import Recommender
from prefer_worlds import needs_trl, write_csv
from train.loop import LoopConfig
from train.prefer.__main__ import prefer
from train.prefer.config import PreferConfig


def inputs(project: Path) -> dict[str, Any]:
    names = {"model": "swapped", "vectors": "vectors", "catalog": "catalog", "graph": "graph"}
    return {option: project / name for option, name in names.items()}


def small(**changes) -> LoopConfig:
    return LoopConfig(**{"steps": 3, "batch_size": 4, "warmup": 1, "precision": "no", "eval_every": 3} | changes)


@pytest.fixture(scope="module")
def with_views(project: Path, tmp_path_factory) -> Path:
    """The project's catalogue and graph, whose users were also shown items."""
    from graph.commands import build_graph
    from navigator.catalog_commands import import_table

    home, tables = tmp_path_factory.mktemp("views"), project / "tables"
    log = pq.read_table(tables / "interactions.parquet")
    seen = [(f"u{u}", f"i{(7 * u + step) % 60:02}", "view", u * 100 - 50) for u in range(6) for step in range(12)]
    views = pa.table({name: [row[at] for row in seen] for at, name in enumerate(log.column_names)}, schema=log.schema)
    pq.write_table(pa.concat_tables([log, views]), home / "interactions.parquet")
    import_table(
        home / "catalog", tables / "items.parquet", interactions=home / "interactions.parquet",
        boards=tables / "boards.parquet", board_items=tables / "board_items.parquet",
    )  # fmt: skip
    build_graph(home / "catalog", home / "graph", valid_fraction=0.5, impressions=["view"])
    return home


def test_a_graph_without_impressions_is_refused_by_the_command(project, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    with pytest.raises(UserError, match="this graph has no impressions"):
        prefer(**inputs(project), out=tmp_path / "out", loop=small())
    assert not list(tmp_path.iterdir())


def test_without_trl_the_command_says_how_to_get_it(project, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'navigator\[prefer\]'"):
        prefer(**inputs(project), out=tmp_path / "out", loop=small())


@needs_trl
def test_the_command_publishes_a_model_that_is_not_below_its_start(project, with_views, tmp_path, capsys):
    from train.frame import main

    words = ["--model", project / "swapped", "--vectors", project / "vectors", "--catalog", with_views / "catalog"]
    words += ["--graph", with_views / "graph", "--out", tmp_path / "out", "--loop.steps", 3, "--loop.batch_size", 4]
    words += [
        "--objective.max_history",
        7,
        "--loop.precision",
        "no",
        "--loop.eval_every",
        3,
        "--pairs_per_query",
        4,
        "--json",
    ]
    assert main("train.prefer", prefer, [str(word) for word in words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (
        answer["pairs"]["shown"]["pairs"] > 50 and answer["valid_best"]["ndcg@10"] >= answer["valid_start"]["ndcg@10"]
    )
    assert set(answer["valid_start"]) < set(answer["valid_last"])  # training's own rewards beside
    assert answer["added"]["ndcg@10"] >= 0 and {"pair_accuracy", "rewards/margins"} <= set(answer["valid_start"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["config"]["negatives"]) == ("model", "shown")
    opened = Recommender.open(tmp_path / "out", project / "vectors", "cpu", "float32")
    assert opened.model.config.max_history == 7 and opened.rank([0, 1], [2, 3]).shape == (2,)
    assert main("train.prefer", prefer, [str(word) for word in words]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is True


@needs_trl
def test_grades_and_hard_negatives_are_named_in_the_answer(project, tmp_path):
    rows = [(f"red {n}", "i01|i02", f"i{item:02}", str(item % 5 + 1)) for n in range(6) for item in range(10, 15)]
    grades = write_csv(tmp_path / "grades.csv", [*rows, ("red", "", "ghost", "3")])
    answer = prefer(
        **inputs(project), out=tmp_path / "out", grades=grades,
        negatives="hard", loop=small(), objective=PreferConfig(score="retrieve"),
    )  # fmt: skip
    assert "a guess" in answer["pairs"]["hard"]["what"] and answer["pairs"]["grades"]["bad_rows"] == {"unknown item": 1}
    assert "a guess and no user's choice" in (tmp_path / "out" / "README.md").read_text()
    assert set(answer["valid_best"]) == set(answer["valid_start"]) == set(answer["added"])
    rejects = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert rejects == [{"table": "grades", "row": 31, "id": "ghost", "reason": "unknown item"}]
