"""`navigator-bench taste` as a whole: every system, tuning that cannot see the test, new arrivals, bad options."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.taste.command import SYSTEMS, taste
from bench.taste.figures import TasteReport
from bench.taste.tune import measures
from bench.taste.world import asked
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.signals import TasteSequence
from navigator.contracts.vectors import write_vectors
from taste_worlds import ONE, asks, taste_catalog


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Users who walk 0, 1, 2, ... in a circle of 12, from anywhere; two kinds of boards of three owners each."""
    from graph.commands import build_graph

    home = tmp_path_factory.mktemp("taste")
    log = [(f"u{u}", f"i{(u + t) % 12}", "save", 100 * t) for u in range(24) for t in range(7)]
    boards = [(f"b{b}", ("odd", "even")[b % 2], f"o{b // 2}") for b in range(40)]
    rng = np.random.default_rng(1)
    held = [
        (f"b{b}", f"i{i}", None)
        for b in range(40)
        for i in (np.arange(b % 2, 12, 2)[rng.permutation(6)[: 5 - b % 3 // 2]])
    ]
    catalog = taste_catalog(home / "catalog", log, boards, held)
    build_graph(
        home / "catalog",
        home / "graph",
        valid_fraction=1.0,
        walks=0,
        signals=False,
        unseen_owners=0.3,
        unseen_valid=0.3,
    )
    with publish(
        home / "vectors", "vectors", {"encoder": "e", "normalised": True}, {"catalog": catalog.fingerprint}
    ) as work:
        angle = 2 * np.pi * np.arange(12) / 12
        write_vectors(work.path, catalog.item_ids, np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32))
    return home


def test_a_whole_run(world, tmp_path):
    args = {
        "systems": list(SYSTEMS),
        "vectors": {"content": str(world / "vectors")},
        "rivals": ["popularity", "content"],
    }
    args |= {"sasrec_vectors": world / "vectors", "sasrec_seeds": [0, 1], "sasrec_epochs": 3, "device": "cpu"}
    found = taste(world / "catalog", world / "graph", tmp_path / "out", grids=replace(ONE, last=(0, 1)), **args)
    assert not found["unchanged"] and found["queries"] == 24 and "ease-short" in found["text"]
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert list(report.systems) == [*SYSTEMS, "content"] and set(report.slices) >= {"all", "gap"}
    assert report.slices["gap"].n == 24 and report.n_tuning == 24  # 100 s from save to save
    assert report.systems["content"].settings["content"]["last"] == 1  # the neighbours of the latest item, not of all
    assert len(report.systems["content"].tried["content"]) == 2
    assert report.systems["sasrec"].runs == ["sasrec@0", "sasrec@1"]
    assert report.systems["sasrec"].settings["sasrec"]["epochs"] <= 3
    every = report.slices["all"].systems
    assert set(every["ease"].against) == {"popularity", "content"} and set(every["content"].against) == {"popularity"}
    table = pq.read_table(tmp_path / "out" / "per_query.parquet").to_pandas()
    for name, own in every.items():
        mine = table[table["system"].astype(str).str.partition("@")[0] == name]
        assert own.figures["hr@10"].mean == pytest.approx(mine["hr@10"].mean())
    again = taste(world / "catalog", world / "graph", tmp_path / "out", grids=replace(ONE, last=(0, 1)), **args)
    assert again["unchanged"] and again["slices"] == found["slices"]
    assert "## Settings" in (tmp_path / "out" / "report.md").read_text()


def test_what_is_chosen_does_not_depend_on_the_test(world, tmp_path, monkeypatch):
    """With other test saves planted into the graph the same settings are tried, with the same figures."""
    from bench.taste import world as opened
    from bench.taste.run import compare_taste
    from graph.store import TasteGraph

    seen = []
    monkeypatch.setattr(
        "bench.taste.run.compare_taste", lambda options: seen.append(options) or {"out": "", "unchanged": True}
    )
    taste(
        world / "catalog",
        world / "graph",
        tmp_path / "a",
        vectors={"content": str(world / "vectors")},
        systems=["ease", "item-knn"],
    )
    options = seen[0]
    compare_taste(options)
    planted = [replace(s, test=tuple((i + 5) % 12 for i in s.test)) for s in opened.open_world(options).known]
    planted = [replace(s, test=(11 - s.items[0],)) for s in planted]
    monkeypatch.setattr(TasteGraph, "sequences", planted)
    compare_taste(replace(options, out=tmp_path / "b"))
    first, second = (
        TasteReport.model_validate_json((tmp_path / name / "report.json").read_text()) for name in ("a", "b")
    )
    assert first.split.queries != second.split.queries
    assert first.slices["all"] != second.slices["all"]
    for name, row in first.systems.items():
        assert row.tried == second.systems[name].tried and row.settings == second.systems[name].settings


def test_even_a_single_recipe_is_stopped_by_validation_and_never_by_the_test(world, tmp_path, monkeypatch):
    from bench.systems import sasrec_train
    from bench.taste import sequential

    stopped = []

    def train(saves, recipe, seed, stop, valid=None, device="cpu"):
        stopped.append(valid is not None)
        return sasrec_train.train_sasrec(saves, recipe, seed, replace(stop, epochs=min(stop.epochs, 2)), valid, device)

    monkeypatch.setattr(sequential, "train_sasrec", train)
    found = taste(
        world / "catalog",
        world / "graph",
        tmp_path / "out",
        systems=["sasrec"],
        sasrec_seeds=[0],
        grids=ONE,
        device="cpu",
    )
    assert stopped == [True, False] and found["settings"]["sasrec"]["sasrec"]["epochs"] in (1, 2)


@pytest.mark.parametrize("part", ["unseen-test", "unseen-valid"])
@pytest.mark.parametrize("show", [0, 2])
def test_unseen_boards_are_asked_by_title_or_by_some_items(world, tmp_path, part, show):
    found = taste(
        world / "catalog", world / "graph", tmp_path / "out", vectors={"content": str(world / "vectors")}, part=part,
        task="board-completion", show=show, systems=["popularity", "ease"], grids=replace(ONE, last=(0, 1)),
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    row = report.slices["all"]
    assert row.n == found["queries"] == row.clusters  # fewer than ten owners: boards are drawn
    assert any("over boards" in line for line in report.protocol)
    owners = [own.n for name, own in report.slices.items() if name.startswith("owner ")]
    assert owners and set(owners) == {2}
    assert report.systems["ease"].unanswered == (row.n if show == 0 else 0)
    assert row.systems["popularity"].figures["recall@50"].mean == 1  # twelve items


@pytest.mark.parametrize("show", [0, 2])
def test_new_arrivals_are_asked_among_new_arrivals(tmp_path, show):
    """Training knows items 0..5; one kind of unseen boards is made of them, the other of 6..11, which nobody saved."""
    from graph.commands import build_graph

    sets = list(combinations(range(6), 4))
    plan = [("keyword", "train", 0)] * 8 + [("keyword", "valid", 0)] * 2 + [("keyword", "test", 0)] * 3
    plan += [("late", "valid", 6)] * 2 + [("late", "test", 6)] * 3
    boards = [(f"b{n}", f"kind {n}", owner, part) for n, (owner, part, _) in enumerate(plan)]
    held = [(f"b{n}", f"i{first + i}", None) for n, (_, _, first) in enumerate(plan) for i in sets[n % 13]]
    taste_catalog(tmp_path / "catalog", [], boards, held)
    build_graph(tmp_path / "catalog", tmp_path / "graph", valid_fraction=1.0, walks=0, signals=False)
    scores = np.tile(-np.arange(12, dtype=np.float32), (6, 1))  # would show what everybody has
    np.save(tmp_path / "s.npy", scores)
    taste(
        tmp_path / "catalog", tmp_path / "graph", tmp_path / "out", systems=["popularity", "ease"], show=show, grids=ONE,
        scores={"theirs": str(tmp_path / "s.npy")}, part="unseen-test", task="board-completion",
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert {name: row.n for name, row in report.slices.items() if name != "cold"} == {
        "all": 6, "new": 3, "owner keyword": 3, "owner late": 3,
    }  # fmt: skip
    assert report.slices["new"].systems == report.slices["owner late"].systems
    assert any(line.startswith("Slice new, 3 of 6 queries") and "6 of 12 items" in line for line in report.protocol)
    late = [q for q in asked([], unseen_of(tmp_path), asks("unseen-test", show), "test")[0] if min(q.targets) > 5]
    lists = np.array([[i for i in range(6, 12) if i not in q.history] for q in late])
    wanted = measures(lists, [q.targets for q in late])["ndcg@10"].mean()
    for name in ("theirs", "popularity"):  # popularity: nobody saved them, so by number
        assert report.slices["new"].systems[name].figures["ndcg@10"].mean == pytest.approx(wanted)
    assert report.systems["ease"].unanswered == (6 if show == 0 else 0)


def unseen_of(home: Path) -> list[TasteSequence]:
    from graph.store import TasteGraph

    return TasteGraph.open(home / "graph", Catalog.open(home / "catalog"), purpose="bench").unseen


def test_an_encoder_lets_neighbours_start_from_titles(clip_project, tmp_path):
    from navigator.encode_commands import embed

    embed(clip_project / "catalog", tmp_path / "vectors", str(clip_project / "bert"), device="cpu")
    found = taste(
        clip_project / "catalog", clip_project / "graph", tmp_path / "out", vectors={"content": str(tmp_path / "vectors")},
        part="unseen-test", task="board-completion", show=0, systems=["ease"], encoder=str(clip_project / "bert"),
        grids=ONE,
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert report.systems["content"].unanswered == 0 and report.systems["ease"].unanswered == found["queries"]
    with pytest.raises(UserError, match="comes from encoder"):
        taste(
            clip_project / "catalog", clip_project / "graph", tmp_path / "out", vectors={"content": str(tmp_path / "vectors")},
            part="unseen-test", task="board-completion", show=0, encoder=str(clip_project / "native"), grids=ONE,
        )  # fmt: skip


def test_scores_of_another_system_take_part(world, tmp_path):
    scores = np.tile(np.arange(12, dtype=np.float32), (24, 1))
    np.save(tmp_path / "s.npy", scores)
    base = {"systems": ["popularity"], "scores": {"theirs@0": str(tmp_path / "s.npy")}}
    taste(world / "catalog", world / "graph", tmp_path / "out", **base)
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert list(report.slices["all"].systems) == ["popularity", "theirs"]
    np.save(tmp_path / "s.npy", scores[1:])
    with pytest.raises(UserError, match=r"needed are real numbers of shape \(24, 12\)"):
        taste(world / "catalog", world / "graph", tmp_path / "out", **base)


def test_a_swapped_model_takes_part(project, tmp_path):
    model = f"{project / 'swapped'}:{project / 'vectors'}"
    taste(
        project / "catalog", project / "graph", tmp_path / "out", systems=["ease"], grids=replace(ONE, decay=(1.0,)),
        vectors={"content": str(project / "vectors")}, models={"ours@0": model, "ours@1": model}, device="cpu",
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    every = report.slices["all"].systems
    # Before training a model starts where the plain mean is: the same lists.
    assert every["ours"].figures == every["content"].figures and report.systems["ours"].runs == ["ours@0", "ours@1"]


@pytest.mark.parametrize(
    "words, part",
    [
        (["--systems", "nobody"], "unknown system 'nobody'"),
        (["--systems", "sasrec-vectors"], "--sasrec_vectors"),
        (["--rivals", "nobody"], "rival 'nobody'"),
        (["--systems", "[]"], "no system given"),
        (["--vectors", "ease=x"], "every name once"),
        (["--part", "unseen-test"], "unseen owners have boards"),
        (["--grids.ease_lambda", "[0]"], "ease_lambda"),
        (["--grids.shrinks", "[0]"], "shrink"),
        (["--show", "-1"], "show is -1"),
        (["--models", "m=folder"], "MODELFOLDER:VECTORSFOLDER"),
    ],
)
def test_bad_options_are_one_line(world, tmp_path, capsys, words, part):
    assert main(["taste", str(world / "catalog"), str(world / "graph"), str(tmp_path / "out"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and part in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_graph_without_validation_says_how_to_build_one(world, tmp_path):
    from graph.commands import build_graph

    build_graph(world / "catalog", tmp_path / "graph", valid_fraction=0.0, walks=0, signals=False)
    with pytest.raises(UserError, match=r"--valid_fraction 1\.0"):
        taste(world / "catalog", tmp_path / "graph", tmp_path / "out", systems=["ease"])
    one = replace(ONE, last=(0,))
    assert taste(world / "catalog", tmp_path / "graph", tmp_path / "out", systems=["ease"], grids=one)["queries"] == 24
