"""Examples of each task, drawn from the training signals alone and by (seed, step) alone.

Because a step's batch depends on nothing that came before it, a resumed run sees exactly the batches it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph.signals import completion_example, next_item_example
from navigator.contracts import UserError
from navigator.contracts.signals import TasteSequence
from train.world import World

RETRIEVAL_TASKS = ("board-completion", "next-item")
TASKS = (*RETRIEVAL_TASKS, "text-query", "ranking", "describe")


@dataclass(frozen=True)
class Example:
    """One question: a history (or the item itself, for describe) and the item it should lead to.

    Attributes:
        history: item indices shown, oldest first; empty for text-query.
        target: the item asked for.
        positives: items that are no negatives here (the owner's training saves).
        candidates: ranking only: the target first, then its negatives.
    """

    history: tuple[int, ...]
    target: int
    positives: tuple[int, ...] = ()
    candidates: tuple[int, ...] = ()


def check_tasks(weights: dict[str, float], world: World) -> dict[str, float]:
    """Weights of the tasks this world can feed, summing to 1.

    Raises:
        UserError: an unknown task, or no signal at all for any of them.
    """
    unknown = sorted(set(weights) - set(TASKS))
    if unknown:
        raise UserError(f"unknown task {unknown[0]!r} in the mixture; allowed are {', '.join(TASKS)}")
    has_saves = any(world.of_task(task) for task in RETRIEVAL_TASKS)
    fed = {
        task: weight
        for task, weight in weights.items()
        if weight > 0
        and (
            world.of_task(task) if task in RETRIEVAL_TASKS else has_saves if task == "ranking" else len(world.described)
        )
    }
    if not fed:
        raise UserError(
            f"none of the tasks {', '.join(weights)} has training examples: the split is empty; build the graph again"
        )
    total = sum(fed.values())
    return {task: weight / total for task, weight in fed.items()}


def task_of_step(weights: dict[str, float], seed: int, step: int) -> str:
    """The task of a step: one draw from the mixture."""
    names = sorted(weights)
    return str(np.random.default_rng([seed, step, 1]).choice(names, p=[weights[name] for name in names]))


def draw(world: World, task: str, size: int, seed: int, step: int, max_history: int, candidates: int) -> list[Example]:
    """`size` examples of a task for this step."""
    rng = np.random.default_rng([seed, step, 2])
    if task in ("describe", "text-query"):
        picked = rng.choice(world.described, size=size, replace=len(world.described) < size)
        return [Example((), int(i)) for i in picked]
    pool = world.of_task(task) if task in RETRIEVAL_TASKS else [s for t in RETRIEVAL_TASKS for s in world.of_task(t)]
    weight = np.sqrt([len(s.items) for s in pool])  # between every board alike and every save alike
    chosen = rng.choice(len(pool), size=size, p=weight / weight.sum())
    examples = [_save_example(pool[i], rng, max_history) for i in chosen]
    if task != "ranking":
        return examples
    shown = [world.impressions.get(pool[i].owner, ()) if pool[i].task == "next-item" else () for i in chosen]
    return [_with_candidates(example, world, rng, candidates, s) for example, s in zip(examples, shown, strict=True)]


def _save_example(sequence: TasteSequence, rng: np.random.Generator, max_history: int) -> Example:
    make = completion_example if sequence.task == "board-completion" else next_item_example
    history, target = make(sequence, rng, max_history)
    return Example(tuple(history), int(target), sequence.items)


def _with_candidates(
    example: Example, world: World, rng: np.random.Generator, count: int, shown: Sequence[int]
) -> Example:
    """Half hard negatives of the target (as far as there are), a quarter `shown` (items that the owner saw and did not
    save, as far as there are), the rest uniform; never one of the owner's saves.
    """
    barred = {example.target, *example.positives}
    hard = (
        []
        if world.hard_negatives is None
        else sorted({int(i) for i in world.hard_negatives[example.target] if i >= 0} - barred)
    )
    negatives = [hard[i] for i in rng.permutation(len(hard))[: (count - 1) // 2]]
    passed = sorted({int(i) for i in shown} - barred - {*negatives})
    if passed:  # without impressions every draw is what it was before there were any
        few = min(-(-(count - 1) // 4), count - 1 - len(negatives))
        negatives += [passed[i] for i in rng.permutation(len(passed))[:few]]
    missing = count - 1 - len(negatives)
    pool = rng.choice(
        len(world.texts), size=min(len(world.texts), missing + len(barred) + len(negatives)), replace=False
    )
    negatives += [int(i) for i in pool if i not in barred and i not in negatives][:missing]
    if len(negatives) < count - 1:
        raise UserError(
            f"a catalogue of {len(world.texts)} items has too few negatives for {count} candidates; "
            "lower --objective.candidates"
        )
    return Example(example.history, example.target, example.positives, (example.target, *negatives))
