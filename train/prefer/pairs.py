"""Pairs of a chosen and a rejected item for the same request, from what a taste graph knows.

Saved over shown: a user's training save against items that the user was shown and never saved (graph.impressions takes out
what was saved at any time and what was not shown before everything held out; it keeps no time, so an item may have been shown
after the save it is rejected for). Where a graph has no impressions, hard negatives of the saved item can stand in for them:
near items that nobody saved with it. That is a guess about taste, and is called so wherever it is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.contracts import UserError
from navigator.contracts.signals import TasteSequence
from train.world import World

Rejects = Callable[[TasteSequence, int], Sequence[int]]  # (owner, chosen item) -> items that may be rejected for it


@dataclass(frozen=True)
class Question:
    """A request: the title of a board and its items, or a user's last items, oldest first; either may be empty."""

    title: str
    history: tuple[int, ...]


@dataclass(frozen=True)
class Pairs:
    """n pairs as columns.

    Attributes:
        questions: the requests.
        question: (n,) number of each pair's request.
        chosen: (n,) item indices.
        rejected: (n,) item indices.
        weight: (n,) a pair is drawn in proportion to it.
    """

    questions: list[Question]
    question: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[tuple[Question, int, int, float]]) -> "Pairs":
        """From (question, chosen, rejected, weight) rows; equal questions in a row are kept once."""
        questions: list[Question] = []
        number = np.zeros(len(rows), np.int64)
        for i, row in enumerate(rows):
            if not questions or questions[-1] != row[0]:
                questions.append(row[0])
            number[i] = len(questions) - 1
        chosen, rejected = (np.array([row[at] for row in rows], np.int64) for at in (1, 2))
        return cls(questions, number, chosen, rejected, np.array([row[3] for row in rows], np.float64))

    def __len__(self) -> int:
        return len(self.question)

    def __add__(self, other: "Pairs") -> "Pairs":
        later = other.question + len(self.questions)
        columns = [(self.question, later)] + [
            (getattr(self, n), getattr(other, n)) for n in ("chosen", "rejected", "weight")
        ]
        return Pairs(self.questions + other.questions, *(np.concatenate(column) for column in columns))

    def rows(self, chosen: np.ndarray) -> "Pairs":
        """These pairs alone."""
        columns = (self.question, self.chosen, self.rejected, self.weight)
        return Pairs(self.questions, *(column[chosen] for column in columns))

    def draw(self, size: int, seed: int, step: int) -> np.ndarray:
        """(size,) numbers of the pairs of a step, with replacement; they depend on (seed, step) alone."""
        bounds = np.cumsum(self.weight)
        point = np.random.default_rng([seed, step, 4]).random(size) * bounds[-1]
        return np.searchsorted(bounds, point, side="right").clip(max=len(self) - 1)


def graph_pairs(
    world: World, negatives: str, per_query: int, max_history: int, max_pairs: int, seed: int
) -> tuple[Pairs, Pairs]:  # fmt: skip
    """Training pairs of a graph, and pairs whose chosen item is a validation save.

    The history is what the user saved before the chosen item; of a board, which has no order, its other training items.

    Args:
        world: with `sequences`, and with `impressions` or `hard_negatives`.
        negatives: shown (impressions of users) or hard (hard negatives of the saved item, for users and boards).
        per_query: pairs a saved item at most.
        max_history: items of a history at most.
        max_pairs: about how many training pairs at most; a seeded choice of saves where there would be more, 0 is all.
        seed: of those choices.

    Raises:
        UserError: the graph has no signal of that kind.
    """
    rejects, owners = _shown(world) if negatives == "shown" else _hard(world)
    saves = sum(len(s.items) - 1 for s in owners)
    kept = min(1.0, max_pairs / max(saves * per_query, 1)) if max_pairs else 1.0
    train, valid = [], []
    for number, s in enumerate(owners):
        rng = np.random.default_rng([seed, number, 5])
        for place in np.flatnonzero(rng.random(len(s.items)) < kept).tolist():
            history = s.items[:place] if s.task == "next-item" else s.items[:place] + s.items[place + 1 :]
            train += _pairs_of(s, history[-max_history:], s.items[place], s.items, rejects, per_query, rng)
        for target in s.valid:
            saved = s.items + s.valid
            valid += _pairs_of(s, s.items[-max_history:], target, saved, rejects, per_query, rng)
    if not train:
        raise UserError(f"the graph gives no pair of a saved item over a {negatives} one; give --grades instead")
    return Pairs.of(train), Pairs.of(valid)


def _pairs_of(
    s: TasteSequence, history: tuple[int, ...], chosen: int, saved: tuple[int, ...], rejects: Rejects, count: int,
    rng: np.random.Generator,
) -> list[tuple[Question, int, int, float]]:  # fmt: skip
    """Up to `count` pairs of one save, against nothing that the owner `saved`; none without a history.

    For a training pair `saved` are the training saves alone: sparing a held-out save from being a hard negative would tell
    training which items those are.
    """
    if not history:
        return []
    against = sorted({*rejects(s, chosen)} - {*saved})
    picked = rng.permutation(len(against))[:count]
    return [(Question("", history), chosen, against[i], 1.0) for i in picked]


def _shown(world: World) -> tuple[Rejects, list[TasteSequence]]:
    shown = world.impressions
    owners = [s for s in world.sequences if s.task == "next-item" and len(s.items) > 1 and len(shown.get(s.owner, ()))]
    if not owners:
        raise UserError(
            "this graph has no impressions, so nothing says what users were shown and did not save; build it with "
            "`navigator graph build --impressions ACTION` where the log has such an action, give --grades, or give "
            "--negatives hard: near items that nobody saved with the saved one, a guess and no user's choice"
        )
    return lambda s, chosen: shown[s.owner], owners


def _hard(world: World) -> tuple[Rejects, list[TasteSequence]]:
    found = world.hard_negatives
    if found is None or not (found >= 0).any():
        raise UserError("this graph has no hard negatives; build it with `navigator graph build --signals true`")
    return lambda s, chosen: [int(i) for i in found[chosen] if i >= 0], [s for s in world.sequences if len(s.items) > 1]
