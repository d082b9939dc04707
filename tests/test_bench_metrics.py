"""Metrics, the tie rule, intervals and TREC files, each against something slower or somebody else's."""

import math

import ir_measures
import numpy as np
import pytest

from bench.intervals import bootstrap, paired, quality
from bench.trec import escape, write_qrels, write_run
from navigator.contracts import UserError
from navigator.contracts.report import METRICS
from navigator.contracts.signals import Query
from navigator.metrics import per_query, top_k


def oracle_top_k(scores: list[float], k: int) -> list[int]:
    order = sorted((i for i in range(len(scores)) if scores[i] > -math.inf), key=lambda i: (-scores[i], i))
    return (order + [-1] * len(scores))[:k]


def oracle_metrics(ranked: list[int], targets: list[int]) -> tuple[float, float, float]:
    hit = float(any(i in targets for i in ranked[:10]))
    gain = sum(1 / math.log2(rank + 2) for rank, i in enumerate(ranked[:10]) if i in targets)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(len(targets), 10)))
    return hit, gain / ideal, sum(i in targets for i in ranked[:50]) / len(targets)


def test_ties_go_to_the_smaller_index_and_excluded_items_never_appear() -> None:
    scores = np.array([[1.0, 2.0, 2.0, -np.inf, 2.0], [-np.inf, 0.0, -np.inf, -np.inf, -np.inf]])
    indices, best = top_k(scores, 3)
    assert indices.tolist() == [[1, 2, 4], [1, -1, -1]]
    assert best.tolist() == [[2.0, 2.0, 2.0], [0.0, -np.inf, -np.inf]]


def test_top_k_equals_a_sort_on_scores_full_of_ties() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (40, 30)).astype(float)
    scores[scores == 3] = -np.inf
    indices, _ = top_k(scores, 12)
    assert indices.tolist() == [oracle_top_k(row.tolist(), 12) for row in scores]


def test_a_nan_score_is_an_error_and_not_a_rank() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([[0.0, np.nan]]), 1)


def test_metrics_equal_plain_loops_with_several_targets() -> None:
    rng = np.random.default_rng(1)
    lists = np.stack([rng.permutation(80)[:60] for _ in range(50)])
    targets = [rng.choice(80, rng.integers(1, 15), replace=False).tolist() for _ in range(50)]
    found = per_query(lists, targets)
    for row, wanted in enumerate(targets):
        expected = oracle_metrics(lists[row].tolist(), wanted)
        assert [found[m][row] for m in METRICS] == pytest.approx(expected)


def test_metrics_on_lists_shorter_than_ten() -> None:
    found = per_query(np.array([[3, 1, -1]]), [[1]])
    assert [found[m][0] for m in METRICS] == pytest.approx([1.0, 1 / math.log2(3), 1.0])


def test_bootstrap_covers_a_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        low, high = bootstrap(rng.random((60, 1)), seed, resamples=400)[0].ci95
        covered += low <= 0.5 <= high
    assert 178 <= covered <= 199


def test_bootstrap_is_seeded_and_a_constant_has_no_width() -> None:
    values = np.random.default_rng(3).random((30, 2))
    assert bootstrap(values, 7) == bootstrap(values, 7) != bootstrap(values, 8)
    assert bootstrap(np.full((5, 1), 0.25), 0)[0].ci95 == (0.25, 0.25)


def test_paired_interval_is_narrower_than_the_systems_own() -> None:
    base = np.random.default_rng(4).random(100)
    rival = {m: base for m in METRICS}
    better = paired({m: base + 0.01 for m in METRICS}, rival, 0)
    alone = quality(rival, 0)
    assert better is not None and alone is not None
    assert better.ndcg_10.ci95 == pytest.approx((0.01, 0.01))
    assert alone.ndcg_10.ci95[1] - alone.ndcg_10.ci95[0] > 0.05


def test_no_query_gives_null_and_not_zero() -> None:
    assert quality({m: np.zeros(3) for m in METRICS}, 0, np.zeros(3, dtype=bool)) is None


def test_trec_files_give_the_same_figures_elsewhere(tmp_path) -> None:
    rng = np.random.default_rng(5)
    ids = [f"item {i}%" if i % 3 else f"ítem\u00a0{i}" for i in range(70)]
    lists = np.stack([rng.permutation(70)[:60] for _ in range(25)])
    lists[0, 4:] = -1
    queries = [Query(f"board/{q} x", (), tuple(rng.choice(70, 1 + q % 4, replace=False).tolist())) for q in range(25)]
    write_run(tmp_path / "run.a.trec", "a", queries, lists, ids)
    write_qrels(tmp_path / "qrels.trec", queries, ids)
    found = per_query(lists, [q.targets for q in queries])
    measures = [ir_measures.Success @ 10, ir_measures.nDCG @ 10, ir_measures.R @ 50]
    theirs = ir_measures.calc_aggregate(
        measures,
        ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec")),
        ir_measures.read_trec_run(str(tmp_path / "run.a.trec")),
    )
    assert [theirs[m] for m in measures] == pytest.approx([found[m].mean() for m in METRICS], abs=1e-6)


def test_trec_ids_stay_distinct_and_empty_ones_are_refused() -> None:
    assert len({escape(i) for i in ("a b", "a%20b", "a\tb", "ab")}) == 4
    assert not any(c.isspace() for c in escape("a b\u2003c\n"))
    with pytest.raises(UserError, match="empty id"):
        escape("")
