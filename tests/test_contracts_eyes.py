"""The two rules that keep answers from an encoder: titles of training boards only, and items held out by their ids."""

import hashlib

import pytest

from navigator.contracts import UserError
from navigator.contracts.catalog import held_out
from navigator.contracts.signals import TasteSequence, board_titles


def test_an_item_has_the_titles_of_its_training_boards_and_not_of_those_it_is_held_out_of():
    sequences = [
        TasteSequence("board-completion", "b0", " hats ", (0, 1), valid=(2,), test=(3,)),
        TasteSequence("board-completion", "b1", "red", (1, 3)),
        TasteSequence("board-completion", "b2", "hats", (1, 4)),
        TasteSequence("board-completion", "b3", " ", (0, 4)),
        TasteSequence("next-item", "u", "a user", (0, 2), test=(4,)),
    ]
    assert board_titles(sequences, 6) == [["hats"], ["hats", "red"], [], ["red"], ["hats"], []]


def test_items_are_held_out_by_their_ids_alone():
    ids = [f"item {n}" for n in range(3000)]
    chosen = held_out(ids, 0.1)
    for item_id, out in zip(ids, chosen, strict=True):
        assert out == (int(hashlib.sha256(f"holdout-v1|{item_id}".encode()).hexdigest()[:8], 16) / 2**32 < 0.1)
    assert chosen.dtype == bool and 240 <= chosen.sum() <= 360
    assert held_out(ids[::-1], 0.1)[::-1].tolist() == chosen.tolist()
    assert held_out(ids, 0.2)[chosen].all()
    assert not held_out(ids, 0).any() and held_out([], 0.5).shape == (0,)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_share_outside_the_range_is_a_user_error(fraction):
    with pytest.raises(UserError, match=r"holdout .* allowed is a share"):
        held_out(["a"], fraction)
