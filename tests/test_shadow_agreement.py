"""How much two lists agree, against plain loops and cases that can be checked in the head."""

import math

import numpy as np
import pytest

from bench.shadow.agreement import overlap, rank_biased_overlap, tau_b


def items(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_overlap_is_of_the_first_k_and_of_the_longer_list():
    assert overlap(items(1, 2, 3, 4), items(2, 1, 9, 8), 2) == 1
    assert overlap(items(1, 2, 3, 4), items(2, 1, 9, 8), 4) == 0.5
    assert overlap(items(1, 2, 3, 4), items(1), 10) == 0.25
    assert math.isnan(overlap(items(), items(1), 10))


def rbo_by_hand(old: np.ndarray, new: np.ndarray, p: float) -> float:
    """Equation 32 of the paper, set by set."""
    short, long = sorted((old.tolist(), new.tolist()), key=len)
    s, n = len(short), len(long)
    meet = [len(set(short[:d]) & set(long[:d])) for d in range(n + 1)]
    total = sum(meet[d] / d * p**d for d in range(1, n + 1))
    total += sum(meet[s] * (d - s) / (s * d) * p**d for d in range(s + 1, n + 1))
    return (1 - p) / p * total + ((meet[n] - meet[s]) / n + meet[s] / s) * p**n


@pytest.mark.parametrize("lengths", [(50, 50), (50, 20), (7, 31), (1, 3)])
def test_rank_biased_overlap_is_the_papers_formula(lengths):
    rng = np.random.default_rng(sum(lengths))
    for _ in range(20):
        old, new = (rng.permutation(60)[:n] for n in lengths)
        for p in (0.5, 0.9, 0.98):
            assert rank_biased_overlap(old, new, p) == pytest.approx(rbo_by_hand(old, new, p), abs=1e-12)


def test_rank_biased_overlap_is_1_for_a_list_and_its_beginning_and_0_for_strangers():
    whole = np.arange(40)
    assert rank_biased_overlap(whole, whole) == pytest.approx(1)
    assert rank_biased_overlap(whole, whole[:12]) == pytest.approx(1)
    assert rank_biased_overlap(whole, whole + 100) == 0
    assert rank_biased_overlap(items(1, 2, 3), items(1, 9, 8)) > rank_biased_overlap(items(1, 2, 3), items(8, 9, 1))
    assert math.isnan(rank_biased_overlap(items(), whole))


def tau_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    pairs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i in range(len(a)) for j in range(i)]
    untied = [sum(x != 0 for x, _ in pairs), sum(y != 0 for _, y in pairs)]
    return sum(x * y for x, y in pairs) / math.sqrt(untied[0] * untied[1])


def test_tau_b_is_over_the_items_that_both_show_and_counts_ties():
    old, new = items(5, 1, 7, 3, 9), items(3, 7, 2, 1, 5)
    old_scores, new_scores = scores(0.9, 0.8, 0.8, 0.2, 0.1), scores(0.7, 0.6, 0.5, 0.4, 0.3)
    common = [5, 1, 7, 3]
    a = np.array([old_scores[old.tolist().index(item)] for item in common])
    b = np.array([new_scores[new.tolist().index(item)] for item in common])
    assert tau_b(old, old_scores, new, new_scores) == pytest.approx(tau_by_hand(a, b))
    assert tau_b(old, old_scores, old, old_scores) == pytest.approx(1)
    assert tau_b(items(1, 2), scores(2, 1), items(2, 1), scores(2, 1)) == -1


def test_tau_b_says_nothing_where_there_is_no_order_to_compare():
    assert math.isnan(tau_b(items(1, 2), scores(2, 1), items(1, 9), scores(2, 1)))
    assert math.isnan(tau_b(items(1, 2), scores(1, 1), items(1, 2), scores(2, 1)))
