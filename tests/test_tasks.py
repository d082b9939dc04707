"""What training shows and asks, by plain loops: histories, words, candidates, batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from navigator.contracts.signals import TasteSequence
from navigator.prompts import held_out_for_language
from tasks_worlds import BOARDS, CONFIG, FOLDS, ITEMS, PLAIN, RETRIEVAL, SHAPE, USERS, make_world, text_of
from train.items import Items
from train.objective import Objective
from train.tasks import draw
from train.world import World


def drawn(world: World, task: str, steps: int = 25) -> list[Any]:
    return [example for step in range(steps) for example in draw(world, task, 8, 3, step, SHAPE)]


def owner_of(example: Any) -> TasteSequence:
    """The one whose saves these are: the first items of users are their own, boards give all of theirs as positives."""
    for sequence in (*USERS, *BOARDS, PLAIN):
        if example.positives == sequence.items or (
            not example.positives and {*example.history, *example.targets} <= {*sequence.items}
        ):
            return sequence
    raise AssertionError(example)


def test_next_item_windows_are_runs_of_saves_and_show_nothing_at_or_after_what_is_asked(task_world):
    found = drawn(task_world, "next-item")
    for example in found:
        items = owner_of(example).items
        first = items.index(example.history[0])
        assert items[first : first + len(example.history)] == example.history and len(example.history) == 4
        assert sorted({*example.asks}) == list(example.asks) and len(example.asks) == 3
        for ask, target in zip(example.asks, example.targets, strict=True):
            assert target == items[first + ask] and ask >= 1
            assert not {*example.history[:ask]} & {*items[first + ask :]}
    assert {ask for example in found for ask in example.asks} == {1, 2, 3, 4}
    assert {target for example in found for target in example.targets} >= {
        6,
        13,
        20,
        27,
    }  # the newest are asked for too


def test_board_titles_ask_before_any_item_and_after_few(task_world):
    found = drawn(task_world, "board-title")
    for example in found:
        board = owner_of(example)
        assert example.words == board.title and example.positives == board.items and board in BOARDS
        assert len(example.history) == 4 and len({*example.history, *example.targets}) <= len(board.items)
        for ask, target in zip(example.asks, example.targets, strict=True):
            assert target in board.items and target not in example.history[:ask]
    assert {ask for example in found for ask in example.asks} == {0, 1, 2, 3, 4}
    assert {owner_of(example).owner for example in found} == {"b0", "b1"}  # b2 has no title
    long = draw(task_world, "board-title", 8, 0, 0, replace(SHAPE, max_history=20))
    assert {len(example.history) for example in long} == {4}  # SEEDS, however much a history may hold


def test_text_queries_are_runs_of_the_items_own_words_and_twins_are_positives(task_world):
    found, lengths = drawn(task_world, "text-query"), set()
    for example in found:
        (target,), words = example.targets, example.words.split()
        own = text_of(target).split()
        assert (example.history, example.asks) == ((), (0,))
        assert any(own[n : n + len(words)] == words for n in range(len(own)))
        assert example.positives == ((1, 2) if target in (1, 2) else ())
        lengths.add(len(words))
    assert lengths == {1, 2, 3, 4, 5} and {1, 2} & {example.targets[0] for example in found}


def test_ranking_candidates_are_never_saved_and_hard_ones_come_first(task_world):
    assert task_world.hard_negatives is not None
    for example in drawn(task_world, "ranking"):
        saved = {*owner_of(example).items}
        target, *negatives = example.candidates
        assert (target,) == example.targets and target in saved and target not in example.history
        assert len(example.candidates) == 8 == len({*example.candidates}) and not saved & {*negatives}
        hard = {*task_world.hard_negatives[target].tolist()} - saved
        assert len(hard & {*negatives}) >= min(len(hard), 3)
        if owner_of(example) in USERS:
            assert {35, 36} & {*negatives}  # shown and not saved


def test_describe_and_text_queries_spare_what_the_language_check_keeps(task_world):
    kept = held_out_for_language(task_world.recommender.vectors.ids)
    described = {n for n in range(ITEMS) if n % 5 and not kept[n]}
    assert any(kept[n] for n in range(ITEMS) if n % 5)  # there is something to spare
    for task in ("describe", "text-query"):
        assert {example.targets[0] for example in drawn(task_world, task, 60)} == described


def test_a_batch_depends_on_seed_and_step_alone(stock, task_store, task_world):
    weights = {task: 1 / 6 for task in (*RETRIEVAL, "ranking", "describe")}
    items = Items(task_world.matrix, [task_world.matrix] * FOLDS)
    module = Objective(task_world, CONFIG, items)
    steps = [module.draw(weights, 4, 1, step) for step in range(12)]
    np.random.seed(3)  # a state that must not matter
    torch.manual_seed(3)
    other = Objective(make_world(stock, task_store), CONFIG, items)
    for step in (7, 2, 11):
        again = other.draw(weights, 4, 1, step)
        assert (again.task, again.examples, again.fold) == (steps[step].task, steps[step].examples, steps[step].fold)
        np.testing.assert_array_equal(again.sample, steps[step].sample)
    assert len({batch.task for batch in steps}) > 2
    for task in (*RETRIEVAL, "ranking"):
        assert draw(task_world, task, 4, 1, 7, SHAPE) != draw(task_world, task, 4, 1, 8, SHAPE)
        assert draw(task_world, task, 4, 1, 7, SHAPE) != draw(task_world, task, 4, 2, 7, SHAPE)
