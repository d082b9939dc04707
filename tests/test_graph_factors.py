"""Co-save counts and factors against plain loops."""

import math

import numpy as np
import pytest

from graph.factors import board_counts, co_save_factors, fuse, ppmi, train_counts, window_counts
from graph.signals import completion_example, next_item_example
from navigator.contracts.signals import TasteSequence


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
