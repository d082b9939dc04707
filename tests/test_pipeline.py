"""`navigator recommend` from end to end, and each of its steps against a plain loop."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import sparse

from navigator.cli import main
from navigator.contracts import Catalog, ItemVectors, UserError, publish
from navigator.contracts.catalog import BOARDS
from navigator.contracts.vectors import normalise, write_vectors
from navigator.diversify import diversify
from navigator.explain import Boards, nearest_history
from navigator.fuse import blend, fuse, places
from navigator.index import ItemIndex
from navigator.model_commands import index as index_command
from navigator.options import Options
from navigator.pipeline import Answer, Pipeline
from navigator.recommend import Recommender
from navigator.recommend_command import Asked, who_asks
from navigator.retrieve import content_part, lists_of, rows_by_keyword
from navigator.texts import TextVectors

RNG = np.random.default_rng(11)


def units(*shape: int) -> np.ndarray:
    return normalise(RNG.normal(size=shape)).astype(np.float32)


def test_fusion_by_hand():
    rows, scores = fuse([np.array([7, 3]), np.array([3, 9])], [1, 3])
    assert rows.tolist() == [3, 9, 7]
    np.testing.assert_allclose(scores, [0.25 / 62 + 0.75 / 61, 0.75 / 62, 0.25 / 61])


def test_fusion_equals_a_loop_and_breaks_ties_by_the_earlier_list():
    lists = [RNG.permutation(40)[: 10 + 5 * n] for n in range(4)]
    weights = [1.0, 0.5, 0.0, 2.0]
    points: dict[int, float] = {}
    for own, weight in zip(lists, weights, strict=True):
        for place, row in enumerate(own.tolist(), 1):
            points[row] = points.get(row, 0) + weight / 3.5 / (60 + place)
    rows, scores = fuse(lists, weights)
    want = {row: score for row, score in points.items() if score}
    assert dict(zip(rows.tolist(), scores.round(12).tolist(), strict=True)) == {
        r: round(s, 12) for r, s in want.items()
    }
    assert (np.diff(scores) <= 1e-15).all()
    assert fuse([np.array([5, 2, 8]), np.array([2, 5, 1])], [1, 1])[0].tolist() == [5, 2, 8, 1]
    assert fuse([np.array([5, 2]), np.array([8, 1])], [1, 0])[0].tolist() == [5, 2]


def test_ranking_and_retrieval_are_two_voices():
    fused, ranking = np.array([0.016, 0.015, 0.014]), np.array([-3.0, 9.0, 9.0])
    assert places(ranking).tolist() == [3, 1, 2]
    np.testing.assert_allclose(
        blend(fused, places(ranking), 0.25), 0.75 * fused + 0.25 / np.array([63, 61, 62]), rtol=1e-12
    )
    np.testing.assert_allclose(blend(fused, places(ranking), 0), fused)


def greedy(scores: np.ndarray, unit: np.ndarray, k: int, decay: float, similar: float) -> list[int]:
    taken: list[int] = []
    while len(taken) < min(k, len(scores)):
        worth = []
        for i in range(len(scores)):
            alike = sum(float(unit[i] @ unit[j]) >= similar for j in taken)
            worth.append(-np.inf if i in taken else scores[i] * decay**alike)
        taken.append(int(np.argmax(worth)))
    return taken


@pytest.mark.parametrize(("decay", "similar"), [(0.5, 0.1), (0.95, 0.0), (0.9, 0.9), (1.0, -1.0)])
def test_diversification_equals_a_loop(decay, similar):
    scores, unit = RNG.random(30) + 0.01, units(30, 3)
    taken, discounted = diversify(scores, unit, 12, decay, similar)
    assert taken.tolist() == greedy(scores, unit, 12, decay, similar)
    alike = [int((unit[taken[:n]] @ unit[i] >= similar).sum()) for n, i in enumerate(taken)]
    np.testing.assert_allclose(discounted, scores[taken] * decay ** np.array(alike), rtol=1e-6)
    if decay == 1:
        assert taken.tolist() == np.argsort(-scores, kind="stable")[:12].tolist()


def test_a_twin_gives_way_and_scores_must_be_positive():
    unit, scores = np.array([[1, 0], [1, 0], [0, 1]], np.float32), np.array([1.0, 0.99, 0.95])
    assert diversify(scores, unit, 9, 0.95, 0.8)[0].tolist() == [0, 2, 1]
    assert diversify(scores, unit, 9, 0.97, 0.8)[0].tolist() == [0, 1, 2]
    assert diversify(scores, unit, 9, 0.95, 1.0)[0].tolist() == [0, 2, 1]  # "from" the cosine, itself included
    assert scores.tolist() == [1.0, 0.99, 0.95]
    assert [len(part) for part in diversify(scores[:0], unit[:0], 3, 0.9, 0.5)] == [0, 0]
    with pytest.raises(ValueError, match=r"positive; the lowest is 0\.0"):
        diversify(np.array([1.0, 0.0]), unit[:2], 2, 0.95, 0.8)


def test_the_nearest_history_item_is_another_item():
    history = np.array([[1, 0], [0, 1]], np.float32)
    found = np.array([[0.8, 0.6], [0, 1]], np.float32)
    at, cosines = nearest_history(found, history, np.array([[False, False], [False, True]]))
    assert at.tolist() == [0, 0]
    np.testing.assert_allclose(cosines, [0.8, 0])
    assert np.isneginf(nearest_history(found[1:], history[1:], np.array([[True]]))[1]).all()


def held(*boards: list[int], items: int) -> Boards:
    pairs = [(item, b) for b, own in enumerate(boards) for item in own]
    matrix = sparse.csr_array((np.ones(len(pairs), bool), tuple(zip(*pairs, strict=True))), shape=(items, len(boards)))
    sizes = np.array([len(own) for own in boards])
    return Boards([f"b{n}" for n in range(len(boards))], [""] * len(boards), sizes, matrix)


def test_shared_boards_by_hand():
    boards = held([0, 1, 2, 3], [0, 3], [4], [1, 2, 3, 5, 6], items=8)
    assert boards.shared([3, 4, 7, 0], [0]) == [(1, 1), None, None, None]  # the smaller board; an item is no company
    assert boards.shared([3], [1, 2]) == [(0, 2)] and boards.shared([3], []) == [None]


def test_shared_boards_equal_a_loop():
    own = [sorted(RNG.permutation(30)[: RNG.integers(1, 12)].tolist()) for _ in range(25)]
    boards, history = held(*own, items=30), [3, 8, 8, 20]
    for item, got in enumerate(boards.shared(range(30), history)):
        counts = {b: len((set(history) - {item}) & set(held)) for b, held in enumerate(own) if item in held}
        best = min((b for b in counts if counts[b]), key=lambda b: (-counts[b], len(own[b]), b), default=None)
        assert got == (None if best is None else (best, counts[best]))


@pytest.fixture(scope="module")
def refined(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of content (6 dimensions) and graph factors (2), which every third item lacks, with its index and model."""
    from navigator.model_commands import swap

    home = tmp_path_factory.mktemp("refined")
    catalog = Catalog.open(project / "catalog")
    factors = units(60, 2)
    factors[::3] = 0
    config = {
        "encoder": "mixed", "normalised": True, "content_encoder": "enc", "content_dim": 6, "dim": 2, "graph_weight": 1.0
    }  # fmt: skip
    with publish(home / "vectors", "vectors", config, {"catalog": catalog.fingerprint}) as work:
        write_vectors(work.path, catalog.item_ids, normalise(np.hstack([units(60, 6), factors])).astype(np.float32))
    index_command(home / "vectors", home / "index")
    swap(home / "model", str(project / "stock"), vectors=home / "vectors")
    return home


def fresh(home: Path, project: Path, reads: TextVectors | None = None, head: bool = False, **options: Any) -> Pipeline:
    """A pipeline over the refined store; with `head` the heads are random, as if trained; `reads` encodes words."""
    recommender = Recommender.open(home / "model", home / "vectors", "cpu", "float32")
    recommender.text_vectors = reads
    if head:
        torch.manual_seed(5)
        for name in ("retrieval_head", "ranking_head"):
            torch.nn.init.normal_(getattr(recommender.model, name).weight, std=0.5)
    index = ItemIndex.open(home / "index", recommender.vectors.encoder)
    return Pipeline(recommender, index, Catalog.open(project / "catalog"), Options(**options))


def test_each_source_gives_its_exact_neighbours_with_and_without_a_filter(refined: Path):
    store, index = ItemVectors.open(refined / "vectors"), ItemIndex.open(refined / "index")
    queries = {"model": units(8), "content": units(6), "text": units(6)}
    allowed = np.array([2, 3, 5, 7, 11, 13, 17, 19])
    everything = np.arange(60)
    for rows, passed in ((everything, None), (allowed, allowed)):
        found = lists_of(store, index, queries, 5, {2, 40}, passed)
        assert list(found) == list(queries)
        for name, query in queries.items():
            space = store.float32() if name == "model" else content_part(store, everything)
            order = np.argsort(-(space @ query), kind="stable")
            want = [row for row in order.tolist() if row in rows and row not in (2, 40)][:5]
            assert found[name].tolist() == want, name


def items_of(answer: Answer) -> list[str]:
    return [r.item for r in answer.results]


def test_an_untrained_head_leaves_the_order_to_the_models_query(refined: Path, project: Path):
    pipeline, history = fresh(refined, project, decay=1.0), ["i01", "i07", "i30"]
    answer = pipeline.recommend(history, 12)
    scores = pipeline.store.float32() @ pipeline.store.float32(pipeline.store.rows_of(history)).mean(0)
    ranked = [pipeline.store.ids[row] for row in np.argsort(-scores, kind="stable")]
    assert items_of(answer) == [item for item in ranked if item not in history][:12] and answer.ranked
    assert [r.ranking for r in answer.results] == list(range(1, 13))
    passed = pipeline.recommender.rank(pipeline.store.rows_of(history).tolist(), list(range(60)))
    np.testing.assert_allclose(np.argsort(-passed, kind="stable"), np.argsort(-scores, kind="stable"))


def test_without_a_voice_of_the_model_the_order_is_retrievals(refined: Path, project: Path):
    pipeline = fresh(refined, project, decay=1.0, ranking=0.0)
    history = ["i01", "i07", "i30"]
    answer = pipeline.recommend(history, 12)
    store = pipeline.store
    rows = store.rows_of(history)
    mean, content = store.float32(rows).mean(0), content_part(store, rows).mean(0)
    points = np.zeros(60)
    for scores, weight in ((store.float32() @ mean, 2), (content_part(store, np.arange(60)) @ content, 0.5)):
        scores[rows] = -np.inf
        points += weight / 2.5 / (60 + places(scores))  # the model's query is the mean, so that list counts twice
    points[rows] = 0
    assert items_of(answer) == [store.ids[row] for row in np.argsort(-points, kind="stable")[:12]]
    assert not answer.ranked and all(r.ranking is None for r in answer.results) and answer.candidates == 57
    assert set(answer.timings_ms) == {"retrieve", "rank", "diversify", "explain"}


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_a_trained_head_has_its_voice_on_all_candidates(refined: Path, project: Path, weight: float):
    pipeline = fresh(refined, project, head=True, decay=1.0, ranking=weight, retrieve=20)
    quiet = fresh(refined, project, head=True, decay=1.0, ranking=0.0, retrieve=20)
    history, store = ["i01", "i07", "i30"], pipeline.store
    plain = quiet.recommend(history, 20, title="red flag")
    rows = store.rows_of(items_of(plain))
    place = places(pipeline.recommender.rank(store.rows_of(history).tolist(), rows.tolist(), "red flag"))
    worth = (1 - weight) * np.array([r.score for r in plain.results]) + weight / (60 + place)
    answer = pipeline.recommend(history, 20, title="red flag")
    assert items_of(answer) == [store.ids[row] for row in rows[np.argsort(-worth, kind="stable")]]
    assert items_of(answer) != items_of(plain) and answer.ranked and not plain.ranked
    assert {r.item: r.ranking for r in answer.results} == dict(zip(items_of(plain), place.tolist(), strict=True))
    assert items_of(pipeline.recommend(history, 20, title="red flag")) == items_of(answer)  # a request changes nothing


def test_the_reasons_of_every_item_are_true(refined: Path, project: Path):
    pipeline = fresh(refined, project, head=True)
    history, store = [f"i{n:02}" for n in range(4, 10)], pipeline.store
    saves = pipeline.catalog.table("board_items").to_pylist()
    boards = {s["board_id"]: {t["item_id"] for t in saves if t["board_id"] == s["board_id"]} for s in saves}
    answer = pipeline.recommend(history, 30)
    assert not set(items_of(answer)) & set(history) and any(r.board for r in answer.results)
    for result in answer.results:
        cosines = {
            i: float(store.float32(store.rows_of([i]))[0] @ store.float32(store.rows_of([result.item]))[0])
            for i in history
        }
        assert result.because is not None and result.because.item == max(cosines, key=lambda i: cosines[i])
        assert result.because.cosine == pytest.approx(max(cosines.values()), abs=1e-3) and result.because.title
        both = {b: len(own & set(history)) for b, own in boards.items() if result.item in own and own & set(history)}
        assert (result.board is None) == (not both)
        if result.board is not None:
            assert both[result.board.board] == result.board.shared == max(both.values())
            assert result.board.title == result.board.board
        lists = {"model", "content-graph", "content"}
        assert set(result.sources) == lists and all(1 <= place <= 54 for place in result.sources.values())


def test_seen_excluded_and_filtered_items(refined: Path, project: Path):
    pipeline = fresh(refined, project, head=True)
    again = pipeline.recommend(["i01"], 60, include_seen=True)
    assert len(again.results) == 60
    assert next(r for r in again.results if r.item == "i01").because is None
    first = items_of(pipeline.recommend(["i01"], 5))
    without = items_of(pipeline.recommend(["i01"], 59, exclude=[first[0], "gone"]))
    assert first[0] not in without and len(without) == 58
    pipeline.keywords = {"animal": pipeline.store.rows_of(["i05", "i08", "i01"])}
    assert sorted(items_of(pipeline.recommend(["i01"], 5, keyword="ANIMAL"))) == ["i05", "i08"]
    with pytest.raises(UserError, match="carries keyword 'dog'"):
        pipeline.recommend(["i01"], 5, keyword="dog")


def test_keywords_are_found_whatever_their_capitals():
    table = pa.table({"item_id": ["a", "new", "b", "c"], "keywords": [["Cat", "cat"], ["cat"], None, ["CAT", "red"]]})
    catalog, store = SimpleNamespace(table=lambda *_: table), ItemVectors(["c", "b", "a"], units(3, 2), "enc", True)
    found = rows_by_keyword(catalog, store)  # type: ignore[arg-type]
    assert {keyword: rows.tolist() for keyword, rows in found.items()} == {"cat": [0, 2], "red": [0]}


def test_words_alone_and_beside_a_history(refined: Path, project: Path):
    query = units(6)

    def reads(texts: Sequence[str]) -> np.ndarray:
        return np.stack([np.pad(query if text == "red flag" else -query, (0, 2)) for text in texts])

    pipeline = fresh(refined, project, reads, head=True, decay=1.0)
    answer = pipeline.recommend([], 6, text="red flag")
    cosines = content_part(pipeline.store, np.arange(60)) @ query
    nearest = [pipeline.store.ids[row] for row in np.argsort(-cosines, kind="stable")]
    assert items_of(answer) == nearest[:6] and not answer.ranked
    assert all(
        r.because is None and r.board is None and r.sources["text"] == n for n, r in enumerate(answer.results, 1)
    )
    asked = pipeline.recommend([], 6, title="red flag")
    assert asked.ranked and {name for r in asked.results for name in r.sources} == {"model"}
    both = pipeline.recommend(["i01"], 59, title="red flag", text="blue")
    passed = [item for item in reversed(nearest) if item != "i01"]
    assert {r.item: r.sources["text"] for r in both.results} == {item: n for n, item in enumerate(passed, 1)}
    assert "text" not in fresh(refined, project).recommend(["i01"], 3, text="nobody reads this").results[0].sources
    for title, text in (("", "red"), ("red", ""), ("", "")):
        with pytest.raises(UserError, match="no source has anything to go by"):
            fresh(refined, project).recommend([], 3, title, text)


def test_a_returning_user_gets_what_a_new_one_would(refined: Path, project: Path):
    pipeline = fresh(refined, project, head=True)
    for history in (["i01", "i07"], ["i01", "i07", "i30"]):
        alone, kept = pipeline.recommend(history, 9), pipeline.recommend(history, 9, session="ann")
        assert items_of(kept) == items_of(alone) and kept.ranked
    prefixes = pipeline.recommender.prefixes
    before = prefixes.tokens_read
    pipeline.recommend(["i01", "i07", "i30"], 9, session="ann")
    assert prefixes.sessions == ["ann"] and prefixes.tokens_read - before == 1 + (1 + 57)  # branches alone, no history


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"decay": 0.0}, "decay is 0.0; allowed are numbers above 0"),
        ({"decay": float("nan")}, "decay is nan"),
        ({"similar": 1.5}, "similar is 1.5; it is a cosine"),
        ({"ranking": -0.1}, "ranking is -0.1"),
        ({"retrieve": 0}, "retrieve is 0"),
        ({"weights": {"taste": 1.0}}, "source 'taste'; allowed are model, content-graph, content, text"),
        ({"weights": {"model": -1.0}}, "numbers of 0 and more"),
        (
            {"weights": dict.fromkeys(("model", "content-graph", "content", "text"), 0.0)},
            "at least one of them above 0",
        ),
    ],
)
def test_options_that_cannot_be(options, says):
    with pytest.raises(UserError, match=says):
        Options(**options)


def command(home: Path, project: Path, *words: str) -> list[str]:
    argv = ["recommend", "--catalog", str(project / "catalog"), *words]
    return argv + [word for name in ("model", "vectors", "index") for word in (f"--{name}", str(home / name))]


def test_the_command_says_why(refined: Path, project: Path, capsys, tmp_path: Path):
    words = (
        "--board",
        "b1",
        "--k",
        "3",
        "--timings",
        "--weights",
        "model=2,content=0",
        "--sheet",
        str(tmp_path / "s.png"),
    )
    assert main([*command(refined, project, *words), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["query"] == "board b1 b1" and document["title"] == "b1" and document["ranked"]
    assert document["history"] == [f"i{n:02}" for n in range(4, 10)] and document["candidates"] == 54
    assert document["options"]["weights"] == {"model": 2.0, "content-graph": 1.0, "content": 0.0, "text": 1.0}
    assert [list(r) for r in document["results"]] == [
        ["item", "title", "score", "sources", "ranking", "because", "board"]
    ] * 3
    assert set(document["timings_ms"]) == {"retrieve", "rank", "diversify", "explain"}
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    assert main(command(refined, project, *words)) == 0
    text = capsys.readouterr().out
    first = document["results"][0]
    assert f"  1  {first['score']:.5f}  {first['item']}  {first['title']}" in text.splitlines()
    assert f"because of {first['because']['item']} {first['because']['title']} (cosine" in text
    assert "in the order of retrieval" not in text and "retrieve " in text and text.rstrip().endswith("s.png")
    assert main(command(refined, project, "--board", "b1", "--ranking", "0")) == 0
    assert "in the order of retrieval" in capsys.readouterr().out
    assert main(command(refined, project, "--user", "u1", "--k", "50", "--retrieve", "52")) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if "because of" in line]) == 50


def test_the_model_reads_the_title_unless_told_not_to(refined: Path, project: Path, tmp_path: Path, capsys):
    shutil.copytree(refined, tmp_path / "home")
    trained = fresh(refined, project, head=True).recommender
    trained.model.save_pretrained(tmp_path / "home" / "model")
    answers = []
    for words in ((), ("--titles", "false")):
        assert main([*command(tmp_path / "home", project, "--board", "b1", *words), "--json"]) == 0
        answers.append([(r["item"], r["score"]) for r in json.loads(capsys.readouterr().out)["results"]])
    home = tmp_path / "home"
    direct = Pipeline.open(home / "model", home / "vectors", home / "index", project / "catalog")
    for answer, title in zip(answers, ("b1", ""), strict=True):
        got = direct.recommend([f"i{n:02}" for n in range(4, 10)], 10, title=title).results
        assert answer == [(r.item, r.score) for r in got]
    assert answers[0] != answers[1]


def test_a_board_without_items_asks_by_its_title(project: Path, tmp_path: Path):
    shutil.copytree(project / "catalog", tmp_path / "catalog")
    catalog = Catalog.open(tmp_path / "catalog")
    new = pa.table({"board_id": ["new"], "title": ["red flags"], "owner_id": ["o"]}, schema=BOARDS)
    pq.write_table(pa.concat_tables([catalog.table("boards"), new]), tmp_path / "catalog" / "boards.parquet")
    assert who_asks(catalog, "new", None, None, None) == Asked("board new red flags", "red flags", [], "")
    assert who_asks(catalog, None, None, ["i03"], " blue ") == Asked("like 1 items", "", ["i03"], "blue")


def test_fewer_than_asked_for_is_said(refined: Path, project: Path, capsys):
    assert main(command(refined, project, "--items", "i01,i02", "--k", "60")) == 0
    assert "58 of 60: no more items are left" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--items", "i01", "--k", "61"), "k is 61; allowed are 1 to 60"),
        (("--items", "i01", "--k", "0"), "k is 0; allowed are 1 to 60"),
        (("--items", "i01", "--k", "9", "--retrieve", "8"), "retrieve is 8 and k is 9"),
        (("--items", "i01", "--decay", "1.01"), "decay is 1.01"),
        (("--items", "i01", "--weights", "model=x"), "weights"),
        (("--items", "i01", "--weights", "taste=1"), "source 'taste'"),
        (("--items", "i01", "--keyword", "dog"), "keyword 'dog'"),
        (("--items", "i01", "--board", "b1"), "give one of --board ID"),
        (("--k", "3"), "give one of --board ID"),
        (("--text", " "), "give one of --board ID"),
        (("--board", "nope"), "board 'nope' is not in catalog"),
        (("--user", "nope"), "user 'nope' is not in catalog"),
        (("--items", "i01,nope"), "item 'nope' is not in catalog"),
    ],
)
def test_bad_requests_are_one_line_and_exit_code_2(refined: Path, project: Path, capsys, words, says):
    code = main(command(refined, project, *words))
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert (code, out) == (2, "") and last.startswith("error: ") and says in last and "Traceback" not in err


def test_an_index_of_other_vectors_and_an_item_without_a_vector(refined: Path, project: Path, tmp_path: Path, capsys):
    shutil.copytree(refined, tmp_path / "home")
    manifest = tmp_path / "home" / "index" / "manifest.json"
    built_from = json.loads(manifest.read_text())["inputs"]["vectors"]
    manifest.write_text(manifest.read_text().replace(built_from, "0" * 16))
    assert main(command(tmp_path / "home", project, "--items", "i01")) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "0" * 16 in line and built_from in line and "navigator index" in line
    with pytest.raises(UserError, match="item 'i99' has no vector in this store"):
        fresh(refined, project).recommend(["i01", "i99"], 3)
