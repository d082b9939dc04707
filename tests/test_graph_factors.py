"""Pruning, walks, signals and factors against plain loops."""

import math
from collections import Counter

import numpy as np
import pytest

from graph.build import degree_limit, interest_edges, prune, save_edges
from graph.factors import board_counts, co_save_factors, fuse, ppmi, train_counts, window_counts
from graph.signals import co_save_pairs, completion_example, hard_negatives, next_item_example
from graph.split import Saves
from graph.walk import Bipartite, walk
from navigator.contracts.signals import TasteSequence

# Items 0-5 on contexts: A{0,1,2}, B{2,3}, C{3,4,5}; item 6 is on nothing.
CONTEXT = np.array([0, 0, 0, 1, 1, 2, 2, 2])
ITEM = np.array([0, 1, 2, 2, 3, 3, 4, 5])
SMALL = Bipartite.from_edges(7, 3, CONTEXT, ITEM)


def exact_pagerank(edges: Bipartite, seed: int, restart: float) -> np.ndarray:
    """Personalised PageRank by power iteration over dense transitions."""
    n = edges.n_nodes
    transition = np.zeros((n, n))
    for node in range(n):
        near = edges.indices[edges.indptr[node] : edges.indptr[node + 1]]
        for other in near:
            transition[node, other] = 1 / len(near)
    start = np.eye(n)[seed]
    rank = start
    for _ in range(500):
        rank = restart * start + (1 - restart) * rank @ transition
    return rank


@pytest.mark.parametrize("seed_node", [0, 3, 8])  # two items and the context B
def test_visits_approach_exact_personalised_pagerank(seed_node: int):
    exact = exact_pagerank(SMALL, seed_node, 0.3)
    exact[seed_node] = 0
    exact /= exact.sum()
    distances = []
    for walks in (100, 3_000, 100_000):
        found = walk(SMALL, np.array([seed_node]), 7, 3, walks=walks, length=40, restart=0.3)
        visits = np.zeros(SMALL.n_nodes)
        for nodes, counts, offset in (
            (found.items, found.item_visits, 0), (found.contexts, found.context_visits, 7),
        ):  # fmt: skip
            visits[nodes[0][nodes[0] >= 0] + offset] = counts[0][nodes[0] >= 0]
        assert visits[seed_node] == 0
        distances.append(0.5 * np.abs(visits / visits.sum() - exact).sum())
    assert distances[0] > distances[2] and distances[1] < 0.03 and distances[2] < 0.004


def test_walks_depend_on_seed_and_node_only():
    rng = np.random.default_rng(0)
    edges = Bipartite.from_edges(2_000, 300, rng.integers(0, 300, 8_000), rng.integers(0, 2_000, 8_000))
    nodes = np.arange(2_000)
    one, three = (walk(edges, nodes, 10, walks=50, threads=threads) for threads in (1, 3))
    backwards = walk(edges, nodes[::-1], 10, walks=50)
    for name in ("items", "item_visits"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
        np.testing.assert_array_equal(getattr(one, name), getattr(backwards, name)[::-1])
    assert (walk(edges, nodes, 10, walks=50, seed=1).item_visits != one.item_visits).any()


def test_ranking_is_by_visits_then_node_and_an_isolated_item_reaches_nothing():
    found = walk(SMALL, np.arange(7), 6, walks=20_000)
    for items, visits in zip(found.items, found.item_visits, strict=True):
        reached = items >= 0
        assert list(zip(-visits[reached], items[reached], strict=True)) == sorted(
            zip(-visits[reached], items[reached], strict=True)
        )
    assert (found.items[6] == -1).all() and (found.item_visits[6] == 0).all()
    tie = walk(Bipartite.from_edges(3, 1, np.array([0, 0, 0]), np.arange(3)), np.array([2]), 3, walks=1, length=0 + 1)
    assert tie.items.max() <= 1


def test_pruning_law_keeps_recent_edges_first():
    assert degree_limit(np.array([1, 10, 15, 100, 10**6])).tolist() == [10, 10, 10, 52, 10_000]
    degrees = {0: 3, 1: 10, 2: 11, 3: 100}
    node = np.repeat(list(degrees), list(degrees.values()))
    time = np.concatenate([np.arange(degree) for degree in degrees.values()])
    keep = prune(node, time, seed=0)
    kept = Counter(node[keep].tolist())
    assert kept == {0: 3, 1: 10, 2: 10, 3: math.floor(100**0.86)}
    assert time[keep & (node == 3)].min() == 100 - kept[3]
    unknown = np.full(len(node), -1)
    assert prune(node, unknown, 0).sum() == keep.sum()
    assert (prune(node, unknown, 0) != prune(node, unknown, 1)).any()
    np.testing.assert_array_equal(prune(node, unknown, 0), prune(node, unknown, 0))


def test_edges_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(40), 3)
    saves = Saves([str(i) for i in range(40)], owner, np.tile([0, 1, 2], 40), np.full(120, -1))
    first, second = save_edges(saves, 0), save_edges(saves.rows(rng.permutation(120)), 0)
    for name in ("src", "dst", "time", "weight"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert len(first.src) == 3 * math.floor(40**0.86)


def test_interests_are_titles_of_boards_or_keywords():
    boards = Saves(["a", "b", "c"], np.array([0, 0, 1, 2]), np.array([4, 5, 5, 6]), np.full(4, -1))
    names, has, about = interest_edges(boards, ["Cats", "cats ", ""])
    assert names == ["cats"]
    assert list(zip(has.src, has.dst, strict=True)) == [(4, 0), (5, 0)]
    assert list(zip(about.src, about.dst, strict=True)) == [(0, 0), (1, 0)]
    names, has, _ = interest_edges(boards, ["Cats", "cats ", ""], [["Dog"], ["cats", "dog"]])
    assert names == ["cats", "dog"] and list(zip(has.src, has.dst, strict=True)) == [(0, 1), (1, 0), (1, 1)]


def test_pairs_are_the_head_and_hard_negatives_the_middle_of_the_walk():
    visits = walk(SMALL, np.arange(7), 200, walks=5_000)
    pairs = co_save_pairs(visits, 2)
    near = {b for a, b in zip(pairs["item_a"].to_pylist(), pairs["item_b"].to_pylist(), strict=True) if a == 0}
    assert near == {1, 2}
    boards = Saves(["A", "B", "C"], CONTEXT, ITEM, np.full(8, -1))
    negatives, ranks = hard_negatives(visits, boards, count=3)
    together = {(a, b) for g in ((0, 1, 2), (2, 3), (3, 4, 5)) for a in g for b in g}
    for item, row in enumerate(negatives):
        for negative, rank in zip(row[row >= 0], ranks[item][row >= 0], strict=True):
            assert (item, int(negative)) not in together
            assert visits.items[item][rank] == negative
    assert set(negatives[0][negatives[0] >= 0].tolist()) == {3, 4, 5} and (negatives[6] == -1).all()


def test_examples_come_from_training_items_only():
    sequence = TasteSequence("next-item", "u", "", (5, 6, 7, 8), (9,), (10,))
    rng = np.random.default_rng(0)
    targets, positions = set(), set()
    for _ in range(200):
        history, target = completion_example(sequence, rng, 2)
        assert len(history) == 2 and len({*history, target}) == 3 and {*history, target} <= {5, 6, 7, 8}
        targets.add(target)
        history, target = next_item_example(sequence, rng, 2)
        t = sequence.items.index(target)
        assert history == sequence.items[max(0, t - 2) : t] and history
        positions.add(t)
    assert targets == {5, 6, 7, 8} and positions == {1, 2, 3}
    with pytest.raises(ValueError, match="needs 2"):
        completion_example(TasteSequence("next-item", "u", "", (5,)), rng, 2)


def test_counts_match_plain_loops():
    boards, histories, n = [(0, 1, 2), (1, 2), (3,)], [(0, 1, 2, 3, 0), (4,), ()], 5
    expected = np.zeros((n, n))
    for board in boards:
        for a in board:
            for b in board:
                expected[a, b] += (a != b) / max(len(board) - 1, 1)
    np.testing.assert_allclose(board_counts(boards, n).toarray(), expected)
    expected = np.zeros((n, n))
    for history in histories:
        for i, a in enumerate(history):
            for j, b in enumerate(history):
                expected[a, b] += a != b and 0 < abs(i - j) <= 2
    np.testing.assert_allclose(window_counts(histories, n, window=2).toarray(), expected)
    sequences = [
        TasteSequence("board-completion", "b", "", (0, 1), (), (2,)),
        TasteSequence("next-item", "u", "", (3, 4)),
    ]
    assert set(zip(*train_counts(sequences, 5).nonzero(), strict=True)) == {(0, 1), (1, 0), (3, 4), (4, 3)}


def test_ppmi_matches_plain_loops():
    counts = window_counts([(0, 1, 0, 2, 3, 4, 3, 1)], 6, window=2)
    dense = counts.toarray()
    row, context = dense.sum(1), dense.sum(1) ** 0.75
    one_way = np.zeros_like(dense)
    for a in range(6):
        for b in range(6):
            if dense[a, b]:
                one_way[a, b] = max(
                    0.0, math.log(dense[a, b] / dense.sum() / (row[a] / dense.sum() * context[b] / context.sum()))
                )
    np.testing.assert_allclose(ppmi(counts).toarray(), (one_way + one_way.T) / 2)


@pytest.mark.parametrize("n_boards", [6, 60])  # dense and sparse decomposition
def test_factors_bring_co_saved_items_together(n_boards: int):
    boards = [tuple(range(5 * b, 5 * b + 5)) for b in range(n_boards)]
    counts = board_counts(boards, 5 * n_boards + 1)
    factors = co_save_factors(counts, dim=n_boards)
    assert factors.shape == (5 * n_boards + 1, n_boards) and factors.dtype == np.float32
    assert not factors[-1].any()
    similarity = factors[:-1] @ factors[:-1].T
    same = np.kron(np.eye(n_boards), np.ones((5, 5))).astype(bool)
    assert similarity[same].min() > 0.9 and np.abs(similarity[~same]).max() < 0.1
    np.testing.assert_array_equal(factors, co_save_factors(counts, dim=n_boards))


def test_fused_rows_are_unit_and_items_without_saves_keep_their_content():
    content = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    fused = fuse(content, np.array([[0, 0, 0], [0, 1, 0]], np.float32), graph_weight=0.5)
    np.testing.assert_allclose(np.linalg.norm(fused, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(fused[0], [1, 0, 0, 0, 0])
    np.testing.assert_allclose(fused[1], np.array([0.6, 0.8, 0, 0.5, 0]) / math.sqrt(1.25), rtol=1e-6)
