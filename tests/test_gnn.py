"""A whole run of train.gnn: stores like any other, resumed to the same vectors, folds, validation, bad options."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gnn_worlds import LOOP, SMALL, N, learn, two_tastes
from graph.commands import build_graph
from graph.relation import HOLDS, SAVED
from graph.store import TasteGraph
from navigator.contracts import Catalog, ItemVectors, UserError
from navigator.contracts.vectors import normalise
from train.frame import main
from train.gnn.__main__ import gnn
from train.gnn.config import GnnConfig
from train.gnn.draw import Drawer
from train.gnn.lightgcn import LightGCN
from train.gnn.neighbours import sample_neighbourhoods
from train.gnn.valid import Validation
from train.gnn.world import open_world
from train.loop import LoopConfig


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of two tastes as boards and users, its graph, and content vectors that say nothing of taste."""
    folder = tmp_path_factory.mktemp("gnn")
    make_shop(folder)
    return folder


def make_shop(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from navigator.contracts import publish
    from navigator.contracts.vectors import write_vectors
    from navigator.importers.table import import_table

    world = two_tastes()
    rows = [(f"b{o}" if o < 30 else f"u{o}", f"i{i}") for o in range(60) for i in world.owners.saves(np.array([o]))[1]]
    files = {
        "items": {"item_id": [f"i{n}" for n in range(N)], "title": [f"thing {n}" for n in range(N)]},
        "boards": {"board_id": [f"b{o}" for o in range(30)], "title": [f"board {o}" for o in range(30)]},
        "board_items": {
            "board_id": [o for o, _ in rows if o[0] == "b"],
            "item_id": [i for o, i in rows if o[0] == "b"],
        },
        "interactions": {
            "user_id": [o for o, _ in rows if o[0] == "u"],
            "item_id": [i for o, i in rows if o[0] == "u"],
        },
    }
    for name, columns in files.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    import_table(folder / "catalog", **{name: folder / f"{name}.parquet" for name in files})
    build_graph(folder / "catalog", folder / "graph", min_board=3, valid_fraction=0.5, walks=50)
    content = np.random.default_rng(1).normal(size=(N, 6))
    with publish(folder / "vectors", "vectors", {"encoder": "none", "normalised": True}, {}) as work:
        write_vectors(work.path, [f"i{n}" for n in range(N)], normalise(content).astype(np.float16))


def run(shop: Path, out: Path, content: bool, objective: GnnConfig = SMALL, loop: LoopConfig = LOOP):
    return gnn(
        shop / "catalog", shop / "graph", out, shop / "vectors" if content else None, objective=objective, loop=loop
    )


@pytest.mark.parametrize("content", [True, False])
def test_a_run_writes_stores_that_open_like_any_other(shop: Path, tmp_path: Path, content: bool):
    answer = run(shop, tmp_path / "out", content)
    items, boards, users = (ItemVectors.open(tmp_path / "out" / name) for name in ("items", "boards", "users"))
    assert items.ids == Catalog.open(shop / "catalog").item_ids and items.dim == (12 if content else 8)
    assert items.content_dim == (6 if content else 8)
    assert boards.ids[0].startswith("b") and users.ids[0].startswith("u")
    assert np.allclose(np.linalg.norm(users.float32(), axis=1), 1, atol=1e-2)
    assert answer["vectors"] == {"items": N, "boards": len(boards.ids), "users": len(users.ids)}
    assert run(shop, tmp_path / "out", content)["unchanged"]
    log = [json.loads(line) for line in (tmp_path / "out.audit.jsonl").read_text().splitlines()]
    assert log[-1]["what"] == "train.gnn" and log[-1]["outcome"] == "done"


def test_ids_alone_beside_content(shop: Path, tmp_path: Path):
    run(shop, tmp_path / "out", True, replace(SMALL, encoder="lightgcn"))
    items, content = ItemVectors.open(tmp_path / "out" / "items"), ItemVectors.open(shop / "vectors")
    assert items.dim == 6 + 8 and items.content_dim == 6
    assert np.allclose(normalise(items.float32()[:, :6]), normalise(content.float32()), atol=2e-3)
    assert not items.float32()[38:, 6:].any()  # nobody saved them: content alone


@pytest.mark.parametrize("content", [True, False])
def test_an_interrupted_run_ends_with_the_same_vectors(shop: Path, tmp_path: Path, content: bool, monkeypatch):
    run(shop, tmp_path / "whole", content)
    monkeypatch.setattr(Drawer, "__call__", interrupt_at(3, Drawer.__call__))
    with pytest.raises(KeyboardInterrupt):
        run(shop, tmp_path / "cut", content)
    monkeypatch.undo()
    run(shop, tmp_path / "cut", content)
    for name in ("items", "users"):
        whole, cut = (ItemVectors.open(tmp_path / folder / name).matrix for folder in ("whole", "cut"))
        assert np.array_equal(whole, cut)


def interrupt_at(step: int, draw):
    def stopped(self, now: int):
        if now == step:
            raise KeyboardInterrupt
        return draw(self, now)

    return stopped


def test_a_fold_is_sampled_without_its_own_owners(shop: Path):
    taste_graph = TasteGraph.open(shop / "graph", Catalog.open(shop / "catalog"))
    world = open_world(taste_graph, ItemVectors.open(shop / "vectors"), False, 0)
    fold = np.random.default_rng(0).integers(2, size=len(world.owners.ids))
    found = sample_neighbourhoods(taste_graph, world.owners, fold, world.content, replace(SMALL, top_contexts=40), 0, 1)
    middle = world.owners.first["next-item"]
    for name, owners, folds, edge_type in (
        ("board", world.owners.ids[:middle], fold[:middle], HOLDS), ("user", world.owners.ids[middle:], fold[middle:], SAVED),
    ):  # fmt: skip
        of = dict(zip(owners, folds.tolist(), strict=True))
        ids = taste_graph.node_ids(name)
        for left_out in (0, 1):
            seen = {of[ids[n]] for n in np.unique(found.nodes[name][left_out]) if n >= 0}
            assert seen == {1 - left_out}
        assert {of[ids[n]] for n in np.unique(found.nodes[name][-1]) if n >= 0} == {0, 1}
        assert len(taste_graph.edges(edge_type).src)


def test_validation_sees_what_the_owner_saved_and_ranks_the_rest(shop: Path):
    taste_graph = TasteGraph.open(shop / "graph", Catalog.open(shop / "catalog"))
    world = open_world(taste_graph, None, False, 0)
    model = LightGCN(world, 8, "random", 0)
    before = Validation(model, world.queries)()
    learn(world, model, replace(SMALL, folds=1), 80)
    after = Validation(model, world.queries)()
    assert after["ndcg@20"] > before["ndcg@20"] + 0.05
    assert len(open_world(taste_graph, None, False, 5).queries) == 5


@pytest.mark.parametrize(
    "options, message",
    [
        (["--objective.encoder", "omnisage"], "reads content; give --vectors"),
        (["--objective.hide", "1.5"], "shares between 0 and 1"),
        (["--objective.refresh", "3"], "must be a multiple of objective.refresh"),
        (["--objective.negatives", "0", "--objective.in_batch", "false"], "leave nothing to tell a target from"),
        (["--loop.learning_rates", "{tower: 1}"], "'tower'; the parts are table, encoder"),
        (["--loop.batch_size", "0"], "loop.batch_size 0"),
        (["--purpose", "nosy", "--loop.precision", "no"], "nosy"),
        (["--purpose", "stats"], "vectors of single users"),
        (["--objective.encodr", "x"], "encodr"),
    ],
)
def test_bad_options_are_one_line(shop: Path, tmp_path: Path, capsys, options: list[str], message: str):
    common = ["--catalog", shop / "catalog", "--graph", shop / "graph", "--out", tmp_path / "out"]
    assert main("train.gnn", gnn, [str(word) for word in [*common, *options]]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_vectors_of_other_items_are_refused(shop: Path, tmp_path: Path):
    store = ItemVectors.open(shop / "vectors")
    fewer = ItemVectors(store.ids[:-1], store.matrix[:-1], "none", True)
    taste_graph = TasteGraph.open(shop / "graph", Catalog.open(shop / "catalog"))
    with pytest.raises(UserError, match="not of this catalogue"):
        open_world(taste_graph, fewer, False, 0)
