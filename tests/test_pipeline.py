"""The recommendation pipeline: sources, the model's voice, true reasons, filters, words, returning users."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from navigator.answers import Answer
from navigator.ask import Ask
from navigator.contracts import ItemVectors, UserError
from navigator.fuse import places
from navigator.index import ItemIndex
from navigator.options import Options
from navigator.retrieve import Wanted, content_part, lists_of
from pipeline_worlds import fresh, items_of, units


def test_each_source_gives_its_exact_neighbours_with_and_without_a_filter(refined: Path):
    store, index = ItemVectors.open(refined / "vectors"), ItemIndex.open(refined / "index")
    queries = {"model": units(8), "content": units(6), "text": units(6)}
    allowed = np.array([2, 3, 5, 7, 11, 13, 17, 19])
    everything = np.arange(60)
    for rows, passed in ((everything, None), (allowed, allowed)):
        found = lists_of(store, index, [Wanted(queries, {2, 40}, passed)], 5)[0]
        assert list(found) == list(queries)
        for name, query in queries.items():
            space = store.float32() if name == "model" else content_part(store, everything)
            order = np.argsort(-(space @ query), kind="stable")
            want = [row for row in order.tolist() if row in rows and row not in (2, 40)][:5]
            assert found[name].tolist() == want, name


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
        ({"weights": {"taste": 1.0}}, "source 'taste'; allowed are model, content-graph, content, text, picture"),
        ({"weights": {"model": -1.0}}, "numbers of 0 and more"),
        (
            {"weights": dict.fromkeys(("model", "content-graph", "content", "text", "picture"), 0.0)},
            "at least one of them above 0",
        ),
    ],
)
def test_options_that_cannot_be(options, says):
    with pytest.raises(UserError, match=says):
        Options(**options)


def test_several_requests_at_once_are_answered_as_each_alone(refined: Path, project: Path):
    query, picture = units(6), units(6)
    pipeline = fresh(
        refined, project, lambda texts: np.tile(np.pad(query, (0, 2)), (len(texts), 1)), head=True, decay=1.0
    )
    asks = [
        Ask(["i01", "i07"], 5), Ask(["i30"], 60, exclude=["i31"]), Ask(["i01", "nobody"], 5), Ask([], 3, text="red flag"),
        Ask([], 4), Ask(["i02"], 5, keyword="no such", title="red"), Ask([], 5, picture=picture), Ask(["i04"], 3, board="b1"),
        Ask(["i04"], 3, board="none"), Ask(["i01"], 0),
    ]  # fmt: skip
    together = pipeline.answer(asks)
    for ask, got in zip(asks, together, strict=True):
        alone = pipeline.answer([ask])[0]
        if isinstance(alone, UserError):
            assert str(got) == str(alone)
        else:
            assert isinstance(got, Answer) and got.candidates == alone.candidates and got.ranked == alone.ranked
            assert [vars(r) | {"score": 0} for r in got.results] == [vars(r) | {"score": 0} for r in alone.results]
            np.testing.assert_allclose([r.score for r in got.results], [r.score for r in alone.results], atol=1e-6)
    wrong = [n for n, answer in enumerate(together) if isinstance(answer, UserError)]
    assert wrong == [2, 4, 5, 8, 9]
    nearest = np.argsort(-(content_part(pipeline.store, np.arange(60)) @ picture), kind="stable")[:5]
    assert items_of(answered(together[6])) == [pipeline.store.ids[row] for row in nearest]
    on_board = {pipeline.store.ids[row] for row in pipeline.boards.items("b1")}
    assert 0 < len(items_of(answered(together[7]))) and set(items_of(answered(together[7]))) <= on_board - {"i04"}


def answered(answer: Answer | UserError) -> Answer:
    assert isinstance(answer, Answer)
    return answer
