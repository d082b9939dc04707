"""What train.gnn draws: windows, batches, folds, negatives and their chances, counted frequencies."""

from dataclasses import replace

import numpy as np
import pytest

from gnn_worlds import SMALL, N, two_tastes
from train.gnn.config import GnnConfig
from train.gnn.draw import Drawer
from train.gnn.frequency import CountMin, target_shares
from train.gnn.world import GnnWorld, Owners


@pytest.mark.parametrize(
    "config", [SMALL, replace(SMALL, window=3, max_shown=1, max_targets=1), replace(SMALL, hide=0.9)]
)
def test_every_owner_shows_something_and_is_asked_for_something_else(config: GnnConfig):
    world = two_tastes()
    drawer = Drawer(world, config, 16, 10, 3)
    for step in range(10):
        batch = drawer(step)
        owners = range(len(batch.examples))
        shown = [set(batch.shown[batch.shown_of == o]) for o in owners]
        asked = [set(batch.targets[batch.targets_of == o]) for o in owners]
        saves = [set(world.owners.saves(batch.examples[[o]])[1]) for o in owners]
        assert all(s and t and not s & t and s | t <= all_ for s, t, all_ in zip(shown, asked, saves, strict=True))
        if config.window:
            assert all(len(s) == len(t) == 1 for s, t in zip(shown, asked, strict=True))
        else:
            assert [s | t for s, t in zip(shown, asked, strict=True)] == saves
        assert (np.diff(batch.candidates) > 0).all() and set(batch.targets) <= set(batch.candidates)


def test_a_window_is_consecutive():
    owners = Owners(["u"], np.array([0, 10]), np.arange(10), {"board-completion": 0, "next-item": 0, "end": 1})
    drawer = Drawer(GnnWorld(N, owners, None, None, []), replace(SMALL, folds=1, window=4), 1, 30, 0)
    spans = [np.ptp(np.concatenate([(b := drawer(step)).shown, b.targets])) for step in range(30)]
    assert set(spans) == {3}


def test_a_batch_depends_on_seed_and_step_alone():
    first, second, other = (Drawer(two_tastes(), SMALL, 16, 10, seed) for seed in (1, 1, 2))
    for drawer in (first, second):
        for step in (7, 0):  # in any order
            drawer(step)
    for field in ("examples", "shown", "targets", "candidates", "log_chance"):
        assert np.array_equal(getattr(first(5), field), getattr(second(5), field))
    assert not np.array_equal(first(5).examples, other(5).examples)


def test_an_epoch_asks_every_owner_once_and_a_fold_lasts_for_refresh_steps():
    world = two_tastes()
    drawer = Drawer(world, replace(SMALL, refresh=1), 100, 10, 0)
    batches = [drawer(step) for step in range(4)]
    assert [b.fold for b in batches] == [0, 1, 0, 1]
    assert sorted(np.concatenate([b.examples for b in batches[:2]])) == list(range(60))
    assert [Drawer(world, SMALL, 8, 10, 0)(step).fold for step in range(6)] == [0, 0, 1, 1, 0, 0]


def test_hard_negatives_grow_with_the_curriculum():
    table = np.tile(np.arange(30, 36, dtype=np.int32), (N, 1))
    table[:, 5] = -1
    drawer = Drawer(replace_negatives(two_tastes(), table), replace(SMALL, hard_negatives=6, negatives=1), 16, 20, 0)
    sizes = [len(drawer._hard(np.arange(5), step, np.random.default_rng(0))) for step in (0, 4, 9, 19)]
    assert sizes[0] <= 1 < sizes[1] < sizes[2] == sizes[3] == 5  # six columns, one of them empty
    hard = np.isin(drawer(15).candidates, np.arange(30, 35))
    assert hard.sum() == 5 and (drawer(15).log_chance[hard] == 0).all()


def replace_negatives(world: GnnWorld, table: np.ndarray) -> GnnWorld:
    return replace(world, hard_negatives=table)


def test_the_chance_of_a_candidate_is_what_drawing_gives():
    world = two_tastes(400)
    drawer = Drawer(world, replace(SMALL, folds=1, negatives=6), 8, 10_000, 0)
    seen, said = np.zeros(N), np.zeros(N)
    steps = 1500
    for step in range(steps):
        batch = drawer(step)
        seen[batch.candidates] += 1
        expected = drawer._chance(np.arange(N), 6, len(batch.targets), np.zeros(N, bool))
        said += expected
    assert np.abs(seen - said).max() / steps < 0.06
    assert seen[38] / steps == pytest.approx(6 / N, abs=0.04)  # never a target


def test_count_min_never_counts_too_few_and_little_too_many():
    rng = np.random.default_rng(0)
    stream = rng.zipf(1.5, 20_000) % 5000
    truth = np.bincount(stream, minlength=5000)
    sketch = CountMin(width=2048, depth=4)
    for part in np.array_split(stream, 7):
        sketch.add(part)
    found = sketch.estimate(np.arange(5000))
    assert (found >= truth).all()
    assert (found - truth > np.e * len(stream) / 2048).mean() < np.exp(-4) + 0.01
    assert target_shares(np.array([1, 1, 3]), 4, "exact").tolist() == [0, 2 / 3, 0, 1 / 3]
    assert target_shares(np.array([1, 1, 3]), 4, "count-min").tolist() == [0, 2 / 3, 0, 1 / 3]
