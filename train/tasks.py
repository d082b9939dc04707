"""Examples of each task, drawn from the training signals alone and by (seed, step) alone.

Because a step's batch depends on nothing that came before it, a resumed run sees exactly the batches it would have seen.

    next-item         a window of a user's saves; asked after many of its items at once for the one that came next
    board-completion  a board's items shuffled; asked after many of them at once for another one of the board
    board-title       the same with the title shown, and asked first before any item is
    text-query        some words of an item's text; asked for the item
    ranking           one request and its candidates: the saved one, hard negatives, items shown and not saved, random ones
    describe          an item; asked for its text
    chat              a conversation; asked whether to search, and for the item wished (train/chat.py, which draws them)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph.crossfit import fold_of
from navigator.contracts import UserError
from navigator.contracts.signals import TasteSequence
from train.world import World

OF_SAVES = {"board-completion": "board-completion", "next-item": "next-item", "board-title": "board-completion"}
WORDS = ("board-title", "text-query", "chat")  # ask by words: their queries start at the encoder's vector of the words
TASKS = ("next-item", "board-completion", "board-title", "text-query", "ranking", "describe", "chat")
SEEDS = 4  # items that a titled board shows at most
QUERY_WORDS = (1, 5)  # shortest and longest free-text query


@dataclass(frozen=True)
class Example:
    """One request with one or several questions.

    Attributes:
        history: item indices shown, oldest first.
        asks: after how many of them the model is asked.
        targets: the item asked for, one an ask; for describe the item to be described.
        positives: items that are no negatives here.
        words: title or query that is read before the items, "" for none.
        candidates: ranking only: the target first, then its negatives.
    """

    history: tuple[int, ...]
    asks: tuple[int, ...]
    targets: tuple[int, ...]
    positives: tuple[int, ...] = ()
    words: str = ""
    candidates: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shape:
    """How much an example shows: items of history, asks and candidates at most, and into how many folds owners are dealt."""

    max_history: int = 20
    asks: int = 8
    candidates: int = 20
    folds: int = 0


def check_tasks(weights: dict[str, float], world: World) -> dict[str, float]:
    """Weights of the tasks this world can feed, summing to 1.

    Raises:
        UserError: an unknown task, or no signal at all for any of them.
    """
    unknown = sorted(set(weights) - set(TASKS))
    if unknown:
        raise UserError(f"unknown task {unknown[0]!r} in the mixture; allowed are {', '.join(TASKS)}")
    fed = {task: weight for task, weight in weights.items() if weight > 0 and _can_feed(world, task)}
    if not fed:
        raise UserError(
            f"none of the tasks {', '.join(weights)} has training examples: the split is empty, or tasks that ask by words "
            f"({', '.join(WORDS)}) lack --encoder; build the graph again, or give the encoder of the vectors"
        )
    total = sum(fed.values())
    return {task: weight / total for task, weight in fed.items()}


def _can_feed(world: World, task: str) -> bool:
    if task in WORDS and world.recommender.text_vectors is None:
        return False
    if task in ("describe", "text-query", "chat"):
        return len(world.described) > 0
    return bool(pool_of(world, task))


def task_of_step(weights: dict[str, float], seed: int, step: int) -> str:
    """The task of a step: one draw from the mixture."""
    names = sorted(weights)
    return str(np.random.default_rng([seed, step, 1]).choice(names, p=[weights[name] for name in names]))


def pool_of(world: World, task: str) -> list[TasteSequence]:
    """The boards or users that a task draws from; for ranking both."""
    kinds = set(OF_SAVES.values()) if task == "ranking" else {OF_SAVES.get(task, "board-completion")}
    found = [s for kind in sorted(kinds) for s in world.of_task(kind)]
    return [s for s in found if s.title.strip()] if task in ("board-title", "chat") else found


def folds_of(world: World, task: str, folds: int) -> list[int]:
    """Folds of which a task has examples: an owner must never read another fold's vectors, for its own saves are in them."""
    if task in ("describe", "text-query", "chat"):
        return list(range(folds))
    return sorted({fold_of(s.owner, folds) for s in pool_of(world, task)})


def draw(world: World, task: str, size: int, seed: int, step: int, shape: Shape, fold: int = -1) -> list[Example]:
    """`size` examples of a task for this step, of owners of one fold (one of `folds_of`) where owners are dealt into folds."""
    rng = np.random.default_rng([seed, step, 2])
    if task in ("describe", "text-query"):
        picked = rng.choice(world.described, size=size, replace=len(world.described) < size)
        return [_word_example(world, task, int(i), rng) for i in picked]
    pool = pool_of(world, task)
    if fold >= 0:
        pool = [s for s in pool if fold_of(s.owner, shape.folds) == fold]
    weight = np.sqrt([len(s.items) for s in pool])  # between every board alike and every save alike
    chosen = [pool[i] for i in rng.choice(len(pool), size=size, p=weight / weight.sum())]
    if task != "ranking":
        return [_save_example(s, task, rng, shape) for s in chosen]
    shown = [world.impressions.get(s.owner, ()) if s.task == "next-item" else () for s in chosen]
    return [_ranking_example(s, world, rng, shape, own) for s, own in zip(chosen, shown, strict=True)]


def _word_example(world: World, task: str, item: int, rng: np.random.Generator) -> Example:
    if task == "describe":
        return Example((), (), (item,))
    words = world.texts[item].split()
    length = min(len(words), int(rng.integers(QUERY_WORDS[0], QUERY_WORDS[1] + 1)))
    first = int(rng.integers(len(words) - length + 1))
    return Example((), (0,), (item,), world.twins.get(world.texts[item], ()), " ".join(words[first : first + length]))


def _save_example(sequence: TasteSequence, task: str, rng: np.random.Generator, shape: Shape) -> Example:
    items = sequence.items
    if task == "next-item":
        length = min(shape.max_history, len(items) - 1)
        end = int(rng.integers(length, len(items)))
        shown, first, positives = items[end - length : end + 1], 1, ()
    else:
        most = min(SEEDS if task == "board-title" else shape.max_history, len(items) - 1)
        shown = tuple(items[i] for i in rng.permutation(len(items))[: most + 1].tolist())
        first, positives = (0 if task == "board-title" else 1), items
    places = np.arange(first, len(shown))
    asks = np.sort(rng.permutation(places)[: shape.asks]).tolist()
    words = sequence.title if task == "board-title" else ""
    return Example(shown[:-1], tuple(asks), tuple(shown[ask] for ask in asks), positives, words)


def _ranking_example(
    sequence: TasteSequence, world: World, rng: np.random.Generator, shape: Shape, shown: Sequence[int]
) -> Example:
    kind = "next-item" if sequence.task == "next-item" else "board-completion"
    made = _save_example(sequence, kind, rng, Shape(shape.max_history, 1))
    history, target = made.history[: made.asks[0]], made.targets[0]
    barred = {target, *sequence.items}
    negatives = _negatives(world, target, barred, rng, shape.candidates - 1, shown)
    return Example(history, (len(history),), (target,), sequence.items, "", (target, *negatives))


def _negatives(
    world: World, target: int, barred: set[int], rng: np.random.Generator, count: int, shown: Sequence[int]
) -> list[int]:
    """Half hard negatives of the target (as far as there are), a quarter `shown` (items that the owner saw and did not
    save, as far as there are), the rest uniform; never one of `barred`.
    """
    hard = (
        []
        if world.hard_negatives is None
        else sorted({int(i) for i in world.hard_negatives[target] if i >= 0} - barred)
    )
    negatives = [hard[i] for i in rng.permutation(len(hard))[: count // 2]]
    passed = sorted({int(i) for i in shown} - barred - {*negatives})
    if passed:  # without impressions every draw is what it was before there were any
        few = min(-(-count // 4), count - len(negatives))
        negatives += [passed[i] for i in rng.permutation(len(passed))[:few]]
    missing = count - len(negatives)
    pool = rng.choice(
        len(world.texts), size=min(len(world.texts), missing + len(barred) + len(negatives)), replace=False
    )
    negatives += [int(i) for i in pool if i not in barred and i not in negatives][:missing]
    if len(negatives) < count:
        raise UserError(
            f"a catalogue of {len(world.texts)} items has too few negatives for {count + 1} candidates; "
            "lower --objective.candidates"
        )
    return negatives
