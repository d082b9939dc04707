"""The steps of `navigator recommend`, each against a plain loop: fusion, diversification, reasons."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from navigator.contracts import ItemVectors
from navigator.diversify import diversify
from navigator.explain import Boards, nearest_history
from navigator.fuse import blend, fuse, places
from navigator.retrieve import rows_by_keyword
from pipeline_worlds import RNG, units


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


def test_keywords_are_found_whatever_their_capitals():
    table = pa.table({"item_id": ["a", "new", "b", "c"], "keywords": [["Cat", "cat"], ["cat"], None, ["CAT", "red"]]})
    catalog, store = SimpleNamespace(table=lambda *_: table), ItemVectors(["c", "b", "a"], units(3, 2), "enc", True)
    found = rows_by_keyword(catalog, store)  # type: ignore[arg-type]
    assert {keyword: rows.tolist() for keyword, rows in found.items()} == {"cat": [0, 2], "red": [0]}
