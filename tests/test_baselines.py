"""Fitted baselines: against dense oracles, and against published figures on MovieLens."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from bench.systems.ease import Ease
from bench.systems.item_knn import ItemKnn
from bench.systems.popularity import Popularity
from navigator.contracts import UserError
from navigator.contracts.signals import Query
from navigator.metrics import DEPTH, per_query

MOVIELENS = Path(__file__).parents[1].parent / "shared" / "data" / "movielens-posters"
ROWS = [(0, 1, 2), (0, 1), (1, 2, 3), (0, 4), (4, 1, 1)]
N_ITEMS = 6  # item 5 was never saved


def dense() -> np.ndarray:
    matrix = np.zeros((len(ROWS), N_ITEMS))
    for row, items in enumerate(ROWS):
        matrix[row, list(items)] = 1
    return matrix


def cosine_oracle() -> np.ndarray:
    matrix, result = dense(), np.zeros((N_ITEMS, N_ITEMS))
    for i in range(N_ITEMS):
        for j in range(N_ITEMS):
            norms = np.sqrt(matrix[:, i].sum() * matrix[:, j].sum())
            result[i, j] = matrix[:, i] @ matrix[:, j] / norms if norms and i != j else 0
    return result


def ease_oracle(regularisation: float) -> np.ndarray:
    inverse = np.linalg.inv(dense().T @ dense() + regularisation * np.eye(N_ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def query(*history: int) -> Query:
    return Query("q", history, (5,))


def assert_ranks(system, weights: np.ndarray, history: tuple[int, ...]) -> None:
    """Lists and timed requests both follow `weights` (items x items, summed over the history)."""
    expected = weights[list(history)].sum(axis=0)
    indices, scores = system.recommend([query(*history)], 10)
    unseen = [i for i in range(N_ITEMS) if i not in history]
    assert sorted(i for i in indices[0] if i >= 0) == unseen
    np.testing.assert_allclose(scores[0][: len(unseen)], sorted(expected[unseen], reverse=True), atol=1e-9)
    candidates = [5, 0, 3, 1]  # some of them in the history: the diagonal must be zero here too
    np.testing.assert_allclose(system.rank_one(history, candidates), expected[candidates], atol=1e-9)


@pytest.mark.parametrize("history", [(0,), (0, 1), (4, 3, 2)])
def test_item_knn_is_the_sum_of_cosines_with_a_zero_diagonal(history: tuple[int, ...]) -> None:
    assert_ranks(ItemKnn.fit(ROWS, N_ITEMS), cosine_oracle(), history)


def test_item_knn_may_keep_the_last_items_only_but_never_returns_the_others() -> None:
    indices, scores = ItemKnn.fit(ROWS, N_ITEMS, last=1).recommend([query(0, 1, 3)], 10)
    assert scores[0][0] == pytest.approx(cosine_oracle()[3, 2])
    assert indices[0][0] == 2 and not {0, 1, 3} & set(indices[0].tolist())


@pytest.mark.parametrize("dual", [True, False])
@pytest.mark.parametrize("history", [(0,), (0, 1), (4, 3, 2)])
def test_ease_is_the_closed_form_in_both_shapes(dual: bool, history: tuple[int, ...]) -> None:
    assert_ranks(Ease.fit(ROWS, N_ITEMS, regularisation=1.5, dual=dual), ease_oracle(1.5), history)


def test_ease_picks_the_smaller_matrix_and_refuses_one_that_does_not_fit() -> None:
    assert Ease.fit(ROWS, N_ITEMS).inner.shape == (5, 5)
    assert Ease.fit(ROWS, 5).inner.shape == (5, 5) and not Ease.fit(ROWS, 5).dual
    with pytest.raises(UserError, match=r"30,000 x 30,000.*--systems"):
        Ease.fit([(0,)], 30_000, dual=False)


def test_popularity_counts_owners_and_breaks_ties_by_index() -> None:
    system = Popularity.fit(ROWS, N_ITEMS)
    assert system.rank_one((), [1, 5, 0, 4]).tolist() == [4, 0, 3, 2]
    indices, _ = system.recommend([query(1)], 10)
    assert indices[0].tolist() == [0, 2, 4, 3, 5, -1]


def movielens() -> tuple[list[tuple[int, ...]], list[Query], int]:
    """Leave-last-out: ratings on movies with a poster, by (timestamp, movie), the last held out."""
    import pyarrow.parquet as pq

    posters = set(pq.read_table(MOVIELENS / "posters.parquet", columns=["movie_id"])["movie_id"].to_pylist())
    seen = defaultdict(list)
    with (MOVIELENS / "ratings.csv").open() as handle:
        for row in csv.DictReader(handle):
            if int(row["movieId"]) in posters:
                seen[row["userId"]].append((int(row["timestamp"]), int(row["movieId"])))
    movies = {m: i for i, m in enumerate(sorted({m for rows in seen.values() for _, m in rows}))}
    ordered = {user: [movies[m] for _, m in sorted(rows)] for user, rows in seen.items()}
    queries = [Query(user, tuple(items[:-1]), (items[-1],)) for user, items in ordered.items()]
    return [q.history for q in queries], queries, len(movies)


@pytest.mark.skipif(not MOVIELENS.is_dir(), reason="the MovieLens pack is not beside the repository (../shared/data)")
def test_movielens_reference_figures() -> None:
    rows, queries, n_items = movielens()
    assert (len(queries), n_items) == (610, 9499)
    reference = {"popularity": (0.0443, 0.0211), "item-knn": (0.0607, 0.0285), "ease": (0.0918, 0.0423)}
    for system in (Popularity.fit(rows, n_items), ItemKnn.fit(rows, n_items), Ease.fit(rows, n_items)):
        indices, _ = system.recommend(queries, DEPTH)
        metrics = per_query(indices, [q.targets for q in queries])
        found = metrics["hr@10"].mean(), metrics["ndcg@10"].mean()
        assert found == pytest.approx(reference[system.name], abs=1e-4), system.name
