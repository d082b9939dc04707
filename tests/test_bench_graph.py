"""`navigator-bench graph rank`: metrics against a plain loop and ir_measures, systems, seeds, and the pinterest figures."""

import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from bench.cli import main
from bench.graph.baselines import cosine_weights, ease_weights, fit
from bench.graph.commands import rank, sampler
from bench.graph.figures import RankReport
from bench.graph.metrics import intervals, recall_among
from bench.intervals import bootstrap
from bench.systems.ease import Ease
from bench.systems.item_knn import ItemKnn
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES
from navigator.contracts.signals import Query, TasteSequence, write_sequences
from navigator.contracts.vectors import write_vectors
from navigator.metrics import ranking_metrics

ROOT = Path(__file__).parents[1]
PINTEREST = ROOT.parent / "shared" / "data" / "pinterest-graph"

# ---- metrics


def drawn(q: int = 60, n: int = 40, k: int = 20) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    rng = np.random.default_rng(1)
    ranked = np.stack([rng.permutation(n)[:k] for _ in range(q)])
    ranked[3, 5:] = -1
    ranked[4] = -1
    return ranked, [tuple(rng.permutation(n)[: rng.integers(1, 31)].tolist()) for _ in range(q)]


def by_hand(row: list[int], targets: set[int], k: int) -> tuple[float, float, float]:
    """A loop a child could follow."""
    found, gain, ideal = 0, 0.0, 0.0
    for place, item in enumerate(row[:k]):
        if item in targets:
            found += 1
            gain += 1 / math.log2(place + 2)
    for place in range(min(len(targets), k)):
        ideal += 1 / math.log2(place + 2)
    return found / len(targets), gain / ideal, float(found > 0)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_metrics_are_those_of_a_plain_loop(k):
    ranked, targets = drawn()
    got = ranking_metrics(ranked, targets, k)
    for q, own in enumerate(targets):
        want = by_hand(ranked[q].tolist(), set(own), k)
        assert tuple(got[f"{name}@{k}"][q] for name in ("recall", "ndcg", "hr")) == pytest.approx(want, abs=1e-12)


def test_metrics_are_those_of_ir_measures():
    ranked, targets = drawn()
    names = {"recall@20": ir_measures.R @ 20, "ndcg@20": ir_measures.nDCG @ 20, "hr@20": ir_measures.Success @ 20}
    qrels = [ir_measures.Qrel(str(q), str(item), 1) for q, own in enumerate(targets) for item in own]
    run = [
        ir_measures.ScoredDoc(str(q), str(item), float(-place))
        for q, row in enumerate(ranked.tolist())
        for place, item in enumerate(row)
        if item >= 0
    ]
    got = ranking_metrics(ranked, targets, 20)
    for name, measure in names.items():
        theirs = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}
        assert [theirs.get(str(q), 0.0) for q in range(len(targets))] == pytest.approx(got[name].tolist(), abs=1e-6)


def test_a_repeated_target_counts_once_and_short_lists_are_misses():
    got = ranking_metrics(np.array([[2, 0], [-1, -1]]), [(0, 0, 5), (1,)], 2)
    assert got["recall@2"].tolist() == [0.5, 0.0] and got["hr@2"].tolist() == [1.0, 0.0]
    assert ranking_metrics(np.array([[2, 0]]), [(0,)], 10)["ndcg@10"] == pytest.approx([1 / math.log2(3)])


def test_recall_among_counts_only_marked_targets_and_their_owners():
    ranked = np.array([[0, 1, 2], [3, 4, 5], [5, 1, 0]])
    marked = np.array([False, True, False, False, False, True])
    asked, recall = recall_among(ranked, [(1, 5, 0), (3,), (5, 2)], marked, 2)
    assert asked.tolist() == [0, 2] and recall.tolist() == [0.5, 1.0]


def test_intervals_are_those_of_the_bootstrap_of_the_bench():
    values = np.random.default_rng(0).random((300, 3))
    for mine, theirs in zip(intervals(values, 7), bootstrap(values, 7), strict=True):
        assert mine.mean == pytest.approx(theirs.mean) and mine.ci95 == pytest.approx(theirs.ci95, abs=1e-12)
    assert intervals(values[:1], 7)[0].ci95 is None


# ---- systems


def test_dense_weights_give_the_lists_of_the_systems_of_the_bench():
    rng = np.random.default_rng(2)
    rows = [tuple(np.flatnonzero(rng.random(25) < 0.3).tolist()) for _ in range(40)]
    queries = [Query(str(i), row, ((row[0] + 1) % 25,)) for i, row in enumerate(rows) if row]
    for name, other in (("item-knn", ItemKnn.fit(rows, 25)), ("ease", Ease.fit(rows, 25, 30.0))):
        mine, scores = fit(name, rows, 25, 30.0).recommend(queries, 10)
        theirs, expected = other.recommend(queries, 10)
        assert (mine == theirs).mean() > 0.99  # float32 may swap what float64 tells apart by the last digit
        assert np.allclose(scores, expected, atol=1e-4)


def test_weights_in_the_head():
    # Items 0 and 1 are saved by the same two owners, item 2 by one of them, item 3 by nobody.
    saves = sparse.csr_array(np.array([[1.0, 1, 1, 0], [1, 1, 0, 0]]))
    cosine = cosine_weights(saves)
    assert cosine == pytest.approx(
        np.array([[0, 1, 0.5**0.5, 0], [1, 0, 0.5**0.5, 0], [0.5**0.5] * 2 + [0, 0], [0] * 4])
    )
    inverse = np.linalg.inv((saves.T @ saves).toarray() + 2 * np.eye(4))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert ease_weights(saves, 2.0) == pytest.approx(expected, abs=1e-6)


# ---- the command

ITEMS = [f"i{n}" for n in range(8)]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Eight items; three users who saved items of one half each; i7 is cold. u0 holds out i2 and i7, u1 i6, u2 none."""
    with publish(tmp_path / "catalog", "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            table = schema.empty_table()
            if name == "items":
                table = pa.table([ITEMS, ITEMS, [""] * 8, [[]] * 8, [None] * 8, ITEMS], schema=schema)
            pq.write_table(table, work.path / f"{name}.parquet")
    catalog = Catalog.open(tmp_path / "catalog")
    own = [
        TasteSequence("next-item", "u0", "", (0, 1), (3,), (2, 7)),
        TasteSequence("next-item", "u1", "", (4, 5), (), (6,)),
        TasteSequence("next-item", "u2", "", (0, 1, 2, 3), (), ()),
        TasteSequence("next-item", "u3", "", (4, 5, 6), (), ()),
        TasteSequence("board-completion", "b0", "first", (0, 1), (), (2,)),
    ]
    with publish(tmp_path / "graph", "graph", {"user_split": "given"}, {"catalog": catalog.fingerprint}) as work:
        write_sequences(work.path / "sequences.parquet", own, ITEMS)
    return tmp_path


def store(path: Path, ids: list[str], matrix: np.ndarray, inputs: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    with publish(path, "vectors", {"encoder": "e", "normalised": False, "ids": ids}, inputs or {}) as work:
        write_vectors(work.path, ids, matrix.astype(np.float32))
    return path


def run(world: Path, *words: str) -> int:
    return main(["graph", "rank", str(world / "catalog"), str(world / "graph"), str(world / "report"), *words])


def report(world: Path) -> RankReport:
    return RankReport.model_validate_json((world / "report" / "report.json").read_text())


def test_the_command_ranks_for_every_owner_with_targets(world: Path, capsys):
    assert run(world, "--k", "2") == 0
    text = capsys.readouterr().out
    found = report(world)
    assert (found.n_owners, found.n_targets, found.n_items, found.n_cold_items) == (2, 3, 8, 1)
    # u0 knows 0, 1, 3 (3 from validation): item 2 is next by co-saves, the cold 7 cannot be found. u1: 6.
    knn = found.systems["item-knn"]
    assert knn.figures["recall@2"].mean == pytest.approx((0.5 + 1) / 2) and knn.figures["hr@2"].mean == 1
    ideal = 1 + 1 / math.log2(3)
    assert knn.figures["ndcg@2"].mean == pytest.approx((1 / ideal + 1) / 2)
    assert knn.cold is not None and (knn.cold.owners, knn.cold.targets, knn.cold.recall.mean) == (1, 1, 0.0)
    # Popularity counts training and validation saves: 0, 1, 3, 4, 5, 2, 6; u0 gets 4, 5 and u1 gets 0, 1.
    popular = found.systems["popularity"]
    assert popular.figures["recall@2"].mean == 0 and popular.versus_first is None
    assert knn.versus_first is not None and knn.versus_first["recall@2"].mean == pytest.approx(0.75)
    assert "Recall@2 - popularity" in text and "report.md" in text
    rows = pq.read_table(world / "report" / "per_owner.parquet").to_pylist()
    assert len(rows) == 6 and {r["owner"] for r in rows} == {"u0", "u1"}
    assert [r["cold_recall"] for r in rows if r["system"] == "ease"] == [0.0, None]
    written = (world / "report" / "report.md").read_text()
    assert "navigator-bench graph rank" in written and "user_split given" in written
    assert rank(world / "catalog", world / "graph", world / "report", k=2)["unchanged"]


def test_the_valid_part_asks_what_training_alone_knows(world: Path):
    assert run(world, "--part", "valid", "--systems", "item-knn") == 0
    found = report(world)
    assert (found.n_owners, found.n_targets, found.split.part) == (1, 1, "valid")
    assert found.systems["item-knn"].figures["recall@20"].ci95 is None  # one owner has no interval


def test_vector_stores_ask_by_owner_or_by_the_mean_of_the_history(world: Path):
    halves = np.array([[1, 0]] * 4 + [[0, 1]] * 4, float)
    items = store(world / "gnn" / "items", ITEMS, halves * 3)
    store(world / "gnn" / "users", ["u1", "u0"], np.array([[0, 1.0], [1, 0]]))
    store(world / "plain", ITEMS[:7], halves[:7])
    assert run(world, "--systems", "[]", "--k", "1", "--vectors", f"gnn={world / 'gnn'},plain={world / 'plain'}") == 0
    gnn, plain = report(world).systems.values()
    assert (gnn.asks_by, plain.asks_by) == ("owner vector", "mean of the history")
    # u0: only 2 is left of its half; u1: 6 before 7, the smaller index.
    assert gnn.figures["recall@1"].mean == plain.figures["recall@1"].mean == pytest.approx(0.75)
    assert plain.versus_first is not None and plain.versus_first["ndcg@1"].mean == 0
    assert gnn.source == str(world / "gnn") and items.is_dir()
    # Boards ask by boards/, which is not there: by the mean of their history.
    assert run(world, "--task", "board-completion", "--systems", "[]", "--vectors", f"gnn={world / 'gnn'}") == 0
    assert report(world).systems["gnn"].asks_by == "mean of the history"


def test_an_owner_without_a_vector_is_a_miss_and_is_counted(world: Path):
    store(world / "gnn" / "items", ITEMS, np.array([[1, 0]] * 4 + [[0, 1]] * 4))
    store(world / "gnn" / "users", ["u1"], np.array([[0, 1]]))
    assert run(world, "--systems", "popularity", "--k", "1", "--vectors", f"gnn={world / 'gnn'}") == 0
    row = report(world).systems["gnn"]
    assert row.unanswered == 1 and row.figures["recall@1"].mean == 0.5
    assert "1 owners without an answer" in (world / "report" / "report.md").read_text()


def test_seeds_are_averaged_owner_by_owner(world: Path):
    halves = np.array([[1, 0]] * 4 + [[0, 1]] * 4, float)
    for seed, own in ((0, [[1, 0], [0, 1]]), (1, [[0, 1], [0, 1]])):
        store(world / f"s{seed}" / "items", ITEMS, halves)
        store(world / f"s{seed}" / "users", ["u0", "u1"], np.array(own))
    words = ["--systems", "item-knn", "--k", "1", "--vectors", f"gnn@0={world / 's0'},gnn@1={world / 's1'}"]
    assert run(world, *words) == 0
    row = report(world).systems["gnn"]
    assert row.runs == 2 and row.by_run is not None and row.by_run["hr@1"] == [1.0, 0.5]
    assert row.figures["hr@1"].mean == 0.75
    assert "hr@1 by run 1.0000, 0.5000" in (world / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "no"], "task 'no'; allowed are board-completion, next-item"),
        (["--part", "train"], "part 'train'; allowed are test, valid"),
        (["--systems", "magic"], "unknown system 'magic'; allowed are popularity, item-knn, ease"),
        (["--k", "0"], "allowed are at least one system or store, k >= 1"),
        (["--systems", "[]"], "allowed are at least one system or store"),
        (["--vectors", "a b=x"], "vectors name 'a b'"),
        (["--vectors", "ease=x"], "no system's name"),
        (["--vectors", "a=nowhere"], "neither a vector store nor a folder with items/ in it"),
        (["--part", "valid", "--task", "board-completion"], "the valid split of task 'board-completion' is empty"),
    ],
)
def test_bad_input_is_one_line(world: Path, capsys, words: list[str], message: str):
    assert run(world, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_vectors_of_another_graph_or_catalogue_are_refused(world: Path):
    other = store(world / "other", ITEMS, np.eye(8), {"graph": "feed"})
    with pytest.raises(UserError, match=r"made with graph feed, but .* they may know what it holds out"):
        rank(world / "catalog", world / "graph", world / "r", {"a": str(other)})
    foreign = store(world / "foreign", ["x", *ITEMS[1:]], np.eye(8))
    with pytest.raises(UserError, match="hold items that the catalogue lacks"):
        rank(world / "catalog", world / "graph", world / "r", {"a": str(foreign)})


# ---- the pinterest figures

FIGURES = {"popularity": (0.0150, 0.0101), "item-knn": (0.1515, 0.1082), "ease": (0.1556, 0.1119)}
HERE = pytest.mark.skipif(not PINTEREST.is_dir(), reason="../shared/data/pinterest-graph is not here")


def check_pinterest(home: Path, names: list[str]) -> None:
    script = ROOT / "configs" / "pinterest" / "prepare.sh"
    done = subprocess.run(
        ["sh", str(script), str(PINTEREST), str(home)], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer = rank(home / "catalog", home / "graph", home / "report", systems=names)
    assert answer["owners"] == 37_499
    for name in names:
        figures = answer["systems"][name]
        assert (figures["recall@20"], figures["ndcg@20"]) == pytest.approx(FIGURES[name], abs=0.002), name


@HERE
def test_the_published_split_gives_the_published_popularity(tmp_path: Path):
    check_pinterest(tmp_path, ["popularity"])


@HERE
@pytest.mark.slow
def test_the_published_split_gives_the_published_baselines(tmp_path: Path):
    check_pinterest(tmp_path, list(FIGURES))


def test_the_sampler_command_has_the_options_of_what_it_calls():
    from bench.graph.sampler_speed import sampler_speed

    assert inspect.signature(sampler) == inspect.signature(sampler_speed)
