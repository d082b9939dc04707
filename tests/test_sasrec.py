"""SASRec: causality, what it learns, what it can find, and how it is cut, trained and stopped."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from bench.systems import sasrec_train
from bench.systems.sasrec import Sasrec
from bench.systems.sasrec_draws import negatives, windows
from bench.systems.sasrec_train import Recipe, Saves, Stop, train_sasrec
from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise

CYCLE = 12
QUICK = Recipe(dim=16, dropout=0.0, learning_rate=1e-2, length=6, batch=16)


def circle(owners: int = 40, steps: int = 8) -> list[tuple[int, ...]]:
    """Owners who walk i, i + 1, i + 2, ... around CYCLE items."""
    return [tuple((owner + step) % CYCLE for step in range(steps)) for owner in range(owners)]


def hit_rate(system, queries: list[Query]) -> float:
    return float((system.recommend(queries, 1)[0][:, 0] == [q.targets[0] for q in queries]).mean())


def test_a_later_item_does_not_change_what_was_said_before_it():
    torch.manual_seed(0)
    model = Sasrec(20, 8, 16, 2, 2, 0.0).eval()
    items = torch.randint(0, 20, (3, 8))
    changed = items.clone()
    changed[:, 5:] = (changed[:, 5:] + 7) % 20
    with torch.inference_mode():
        first, second = model(items, model.table()), model(changed, model.table())
    assert torch.allclose(first[:, :5], second[:, :5], atol=1e-6)
    assert (first[:, 5:] - second[:, 5:]).abs().amax() > 1e-3
    short = model(items[:, :5], model.table())  # padding on the right is such a later item
    assert torch.allclose(first[:, :5], short, atol=1e-6)


@pytest.mark.parametrize("loss", ["bce", "sampled", "full"])
def test_it_learns_the_circle(loss):
    saves = Saves(circle(), np.ones(CYCLE, bool))
    system, epochs = train_sasrec(saves, replace(QUICK, loss=loss), 0, Stop(40, 60.0))
    queries = [Query(str(i), tuple((i + s) % CYCLE for s in range(4)), ((i + 4) % CYCLE,)) for i in range(CYCLE)]
    assert hit_rate(system, queries) == 1 and epochs == 40


def test_given_vectors_let_it_find_what_nobody_saved():
    """Items sit on a circle, the next one a turn away; the walks of training leave item 0 out."""
    angle = 2 * np.pi * np.arange(CYCLE) / CYCLE
    vectors = normalise(np.stack([np.cos(angle), np.sin(angle)], 1)).astype(np.float32)
    rows = [tuple(range(start, CYCLE)) for start in (1, 2, 3, 4, 5)] * 8
    ask = [Query("x", (9, 10, 11), (0,))]
    recipe = replace(QUICK, dim=8)
    projected, _ = train_sasrec(Saves(rows, np.ones(CYCLE, bool), vectors=vectors), recipe, 0, Stop(40, 60.0))
    free, _ = train_sasrec(Saves(rows, np.ones(CYCLE, bool)), recipe, 0, Stop(40, 60.0))
    place = [int(np.flatnonzero(system.recommend(ask, CYCLE)[0][0] == 0)[0]) for system in (projected, free)]
    assert place[0] == 0 and place[1] > 2


def test_items_without_a_vector_are_neither_read_nor_found():
    known = np.ones(CYCLE, bool)
    known[3] = False
    vectors = np.eye(CYCLE, dtype=np.float32)
    vectors[3] = 0
    system, _ = train_sasrec(Saves(circle(), known, vectors=vectors), QUICK, 0, Stop(2, 60.0))
    ranked, scores = system.recommend([Query("a", (2, 3), (4,)), Query("b", (2,), (4,)), Query("c", (3,), (4,))], CYCLE)
    assert 3 not in ranked[0] and (ranked[2] == -1).all()
    assert sorted(scores[0, :9].tolist()) == pytest.approx(sorted(scores[1, :9].tolist()), abs=0.5)
    assert ranked[0].tolist() == ranked[1].tolist()


def test_the_best_epoch_is_kept_and_patience_ends_the_run():
    said = iter([0.1, 0.5, 0.3, 0.4, 0.2, 0.9])
    weights = []

    def valid(system) -> float:
        weights.append(system.model.weight.detach().clone())
        return next(said)

    system, epochs = train_sasrec(Saves(circle(), np.ones(CYCLE, bool)), QUICK, 0, Stop(50, 60.0, patience=3), valid)
    assert epochs == 2 and len(weights) == 5
    assert torch.equal(system.model.weight, weights[1]) and not torch.equal(weights[1], weights[4])
    _, epochs = train_sasrec(Saves(circle(), np.ones(CYCLE, bool)), QUICK, 0, Stop(50, 0.0))
    assert epochs == 1  # the budget is spent after one


def test_a_seed_decides_everything():
    saves, ask = Saves(circle(), np.ones(CYCLE, bool)), [Query("a", (1, 2), (3,))]
    one, two, other = (train_sasrec(saves, replace(QUICK, dropout=0.2), seed, Stop(2, 60.0))[0] for seed in (0, 0, 1))
    assert (one.recommend(ask, 5)[1] == two.recommend(ask, 5)[1]).all()
    assert (one.recommend(ask, 5)[1] != other.recommend(ask, 5)[1]).any()


def test_every_step_of_a_row_is_a_target_once_wherever_the_windows_begin():
    rows = [np.arange(23), np.arange(100, 104), np.arange(200, 207)]
    for seed in range(20):
        pieces, owner = windows(rows, 6, True, np.random.default_rng(seed))
        assert pieces.shape[1] == 7
        steps = [(a, b) for piece in pieces.tolist() for a, b in pairwise(piece) if b >= 0]
        assert sorted(steps) == [(int(a), int(b)) for row in rows for a, b in pairwise(row)]
        assert all(own == 1 for piece, own in zip(pieces, owner, strict=True) if 100 <= piece[0] < 200)
    shuffled, _ = windows(rows[:1], 30, False, np.random.default_rng(0))
    assert sorted(shuffled[0, :23].tolist()) == list(range(23)) and shuffled[0, :23].tolist() != list(range(23))


def test_negatives_are_never_the_owners_own_items():
    rows = [np.array([0, 1, 2, 3, 4, 5, 6]), np.array([7])]
    taken = np.unique(np.concatenate([owner * 10 + row for owner, row in enumerate(rows)]))
    owners = np.array([0] * 300 + [1] * 300)
    found = negatives(owners, 10, taken, np.random.default_rng(0))
    assert np.isin(found[:300], [7, 8, 9]).mean() > 0.97 and 7 not in found[300:]
    assert set(found[300:].tolist()) == {0, 1, 2, 3, 4, 5, 6, 8, 9}


def test_the_full_loss_of_a_large_catalogue_goes_in_small_steps(monkeypatch):
    monkeypatch.setattr(sasrec_train, "_CELLS", CYCLE * QUICK.length * 2)  # two windows a step
    system, _ = train_sasrec(Saves(circle(), np.ones(CYCLE, bool)), QUICK, 0, Stop(10, 60.0))
    assert hit_rate(system, [Query("a", (3, 4, 5), (6,))]) == 1
