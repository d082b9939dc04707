"""Cross-fitted factors: nothing of the asker's own saves in them, and in the space of those that are served."""

import numpy as np
import pytest

from graph.crossfit import crossfitted_factors, fold_of
from graph.factors import co_save_factors, train_counts
from navigator.contracts.signals import TasteSequence

ITEMS, FOLDS = 60, 3


def boards(seed: int = 0, changed: frozenset[str] = frozenset()) -> list[TasteSequence]:
    """Boards of five items of one of six groups; boards named in `changed` hold other items altogether."""
    made = []
    for number in range(90):
        name = f"b{number}"
        rng = np.random.default_rng([seed, number, name in changed])
        group = ITEMS // 6 * (number % 6)
        items = rng.permutation(ITEMS)[:5] if name in changed else group + rng.permutation(ITEMS // 6)[:5]
        made.append(TasteSequence("board-completion", name, "", tuple(int(i) for i in items)))
    return made


def served(sequences: list[TasteSequence]) -> np.ndarray:
    return co_save_factors(train_counts(sequences, ITEMS), 8)


def test_a_folds_factors_know_nothing_of_its_own_owners():
    mine = frozenset(f"b{n}" for n in range(90) if fold_of(f"b{n}", FOLDS) == 1)
    reference = served(boards())
    before = crossfitted_factors(boards(), reference, FOLDS)
    after = crossfitted_factors(boards(changed=mine), reference, FOLDS)
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.allclose(before[0], after[0])  # the other folds do read them


def test_they_lie_in_the_space_of_the_served_ones():
    reference = served(boards())
    for own in crossfitted_factors(boards(), reference, FOLDS):
        assert own.shape == reference.shape
        lengths = np.linalg.norm(own, axis=1)
        assert ((lengths < 1e-6) | (np.abs(lengths - 1) < 1e-5)).all() and lengths.mean() > 0.9
        assert (own * reference).sum(1).mean() > 0.9
    others = [s for s in boards() if fold_of(s.owner, FOLDS)]
    unturned = co_save_factors(train_counts(others, ITEMS), 8)
    turned = crossfitted_factors(boards(), reference, FOLDS)[0]
    assert (turned * reference).sum() > (unturned * reference).sum()


def test_an_item_that_only_one_fold_saved_has_no_factors_there():
    lonely = TasteSequence("board-completion", "b-own", "", (0, ITEMS))
    sequences = [*boards(), lonely]
    reference = co_save_factors(train_counts(sequences, ITEMS + 1), 8)
    fold = fold_of("b-own", FOLDS)
    for number, own in enumerate(crossfitted_factors(sequences, reference, FOLDS)):
        assert bool(own[ITEMS].any()) == (number != fold)


@pytest.mark.parametrize("folds", [2, 5])
def test_every_owner_has_a_fold(folds):
    assert {fold_of(f"u{n}", folds) for n in range(50)} == set(range(folds))
