"""Packed queries against served ones, losses by hand, an untrained model, and validation among new arrivals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise
from navigator.recommend import Recommender
from tasks_worlds import CONFIG, DIM, ITEMS, NEW, RETRIEVAL, SHAPE, told
from train.items import SERVED, Items
from train.objective import Objective, StepBatch
from train.stage import ndcg
from train.tasks import draw
from train.world import World


def served_queries(world: World, examples: Sequence[Any], matrix: np.ndarray) -> np.ndarray:
    """One request after another, as they are served: no layout, no packing, one ask each."""
    given = world.recommender
    store = replace(given.vectors, matrix=matrix)
    recommender = Recommender(given.model, given.processor, store, given.max_history, given.text_vectors)
    return np.concatenate([recommender.query_vectors([e.history[:ask]], [e.words]) for e in examples for ask in e.asks])


@pytest.mark.parametrize("fold", [SERVED, 0])
@pytest.mark.parametrize("task", RETRIEVAL)
def test_packed_asks_read_the_same_as_separate_requests(trained_task_world, task, fold, monkeypatch):
    other = normalise(np.random.default_rng(8).normal(size=(ITEMS, DIM))).astype(np.float32)
    items = Items(trained_task_world.matrix, [other])
    module, rows = Objective(trained_task_world, CONFIG, items), []
    pack = trained_task_world.recommender.processor.packed
    monkeypatch.setattr(
        trained_task_world.recommender.processor, "packed", lambda *a: rows.append(pack(*a)) or rows[-1]
    )
    examples = draw(trained_task_world, task, 8, 0, 1, SHAPE)
    with torch.no_grad():
        found, order = module._queries(examples, fold)
    assert len(rows[0][0]["input_ids"]) < len(examples) and order != []
    assert sorted(map(repr, order)) == sorted(map(repr, examples))
    want = served_queries(trained_task_world, order, items.all(fold).numpy())
    assert len(want) == sum(len(example.asks) for example in examples)
    np.testing.assert_allclose(found.numpy(), want, atol=1e-5)


def test_before_any_item_a_titled_board_starts_at_its_title(task_world):
    """And an untrained model's later asks at the plain mean of title and items."""
    module, vectors = Objective(task_world, CONFIG), task_world.matrix
    with torch.no_grad():
        found, order = module._queries(draw(task_world, "board-title", 8, 0, 0, SHAPE), SERVED)
    asked = [(example.words, example.history[:ask]) for example in order for ask in example.asks]
    assert any(not shown for _, shown in asked) and any(shown for _, shown in asked)
    for query, (title, shown) in zip(found.numpy(), asked, strict=True):
        want = told([title])[0] + sum(vectors[item] for item in shown)
        np.testing.assert_allclose(query, want / np.linalg.norm(want), atol=1e-6)


@pytest.mark.parametrize("task", RETRIEVAL)
def test_the_loss_by_hand(trained_task_world, task):
    """Softmax over all items but the example's other positives and what it has shown; an example counts once."""
    other = normalise(np.random.default_rng(8).normal(size=(ITEMS, DIM))).astype(np.float32)
    module = Objective(trained_task_world, CONFIG, Items(trained_task_world.matrix, [other]))
    examples, want = draw(trained_task_world, task, 6, 2, 4, SHAPE), 0.0
    for example in examples:
        queries = served_queries(trained_task_world, [example], other)
        for query, ask, target in zip(queries, example.asks, example.targets, strict=True):
            barred = ({*example.positives} | {*example.history[:ask]}) - {target}
            logits = {n: float(query @ other[n]) / CONFIG.temperature for n in range(ITEMS) if n not in barred}
            want += (np.log(np.exp([*logits.values()]).sum()) - logits[target]) / len(example.asks)
    batch = StepBatch(task, examples, np.zeros(0, np.int64), fold=0)
    with torch.no_grad():
        assert float(module(batch, 0, 6)) == pytest.approx(want, rel=1e-4)
        parts = [float(module(batch, *bounds)) for bounds in ((0, 2), (2, 6))]
    assert sum(parts) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("title", ["", "red flag"])
def test_an_untrained_models_ranking_is_content_knn(task_world, title):
    """All of the catalogue in the order of cosine to the mean of what is known, by retrieval and by ranking."""
    recommender, vectors = task_world.recommender, task_world.matrix
    for history in ([3], [8, 30, 14], [1, 2, 3, 4]):
        known = [vectors[item] for item in history] + ([told([title])[0]] if title else [])
        mean = np.mean(known, axis=0, dtype=np.float64)
        scores = vectors @ (mean / np.linalg.norm(mean))
        knn = np.argsort(-scores, kind="stable").tolist()
        (query,) = recommender.query_vectors([history], [title])
        assert np.argsort(-(vectors @ query), kind="stable").tolist() == knn
        ranked = recommender.rank(history, range(ITEMS), title)
        assert np.argsort(-ranked, kind="stable").tolist() == knn
        np.testing.assert_allclose(ranked, scores, atol=1e-6)


def test_new_arrivals_are_asked_among_what_nobody_has_saved(task_world, monkeypatch):
    """The title says item 0; among all items 0 wins, among the new ones the nearest of them."""
    vectors = task_world.matrix
    monkeypatch.setattr(task_world.recommender, "text_vectors", lambda texts: vectors[[0] * len(texts)])
    cosine = vectors @ vectors[0]
    best = NEW[int(np.argmax(cosine[list(NEW)]))]
    among_all = int((cosine > cosine[best]).sum())  # places before it
    assert among_all > 0 and not task_world.warm[list(NEW)].any() and task_world.warm.sum() == ITEMS - len(NEW)
    assert ndcg(task_world, [Query("new", (), (best,), "red flag")]) == {"ndcg@10": 1.0, "hr@10": 1.0}
    mixed = ndcg(task_world, [Query("mixed", (), (best, 1), "red flag")])[
        "ndcg@10"
    ]  # one of its items is known: all compete
    places = [int((cosine > cosine[item]).sum()) for item in (best, 1)]
    gain = sum(1 / np.log2(place + 2) for place in places if place < 10)
    assert mixed == pytest.approx(gain / (1 + 1 / np.log2(3)))
    others = [item for item in NEW if item != best]  # what a new board shows is not found again
    shown = ndcg(task_world, [Query("shown", tuple(others), (best,))])
    assert shown["ndcg@10"] == 1.0
