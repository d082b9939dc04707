"""From a batch of one task to the sum of its losses; the only module that accelerate wraps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from navigator.packing import Request
from navigator.prompts import NOT_ASKED, describe_inputs
from navigator.start import lag_table
from train.chat import ChatExample, draw_chat
from train.chat_step import chat_losses
from train.items import SERVED, Items
from train.loss_describe import describe_loss
from train.loss_ranking import ranking_loss
from train.loss_retrieval import log_expected_counts, retrieval_loss
from train.tasks import Example, Shape, draw, folds_of, task_of_step
from train.world import World


@dataclass(frozen=True)
class StepBatch:
    """The global batch of one step.

    Attributes:
        task: see train.tasks.
        examples: B examples.
        sample: item indices drawn uniformly as negatives, the same in every process.
        fold: whose owners these are; their items carry no trace of their own saves. SERVED where there are no folds.
    """

    task: str
    examples: list[Example]
    sample: np.ndarray
    fold: int = SERVED


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is asked, and of how much.

    Attributes:
        tasks: the mixture as {task: weight}; next-item, board-completion, board-title, text-query, ranking, describe, chat.
        max_history: items shown at most, in training and by the trained model.
        asks: questions after different items of one history, at most; the cheapest way to more examples.
        candidates: of a ranking example.
        temperature: of the softmax over items and candidates.
        negatives: uniform negatives a step, where the catalogue is too large for a full softmax.
        full_softmax_below: up to this many items, all of them are candidates.
        folds: owners are dealt into so many folds, each trained on graph factors made from the others' saves alone, for no
            held-out save is in its own factors either (graph.crossfit); below 2 all see the served ones.
        residual: items with training saves also learn a vector of their own, added to the encoder's, in OUT/vectors;
            items without keep the encoder's.
        chat_steps: the task chat has so many steps' examples and then begins anew, 0 is never; where neither tower nor language
            model learns, a conversation that comes again costs next to nothing.
        row_tokens: requests are packed into rows of this many tokens (of the longest request, if that is more).
    """

    tasks: dict[str, float] = field(default_factory=dict)
    max_history: int = 20
    asks: int = 8
    candidates: int = 20
    temperature: float = 0.05
    negatives: int = 1024
    full_softmax_below: int = 20_000
    folds: int = 5
    residual: bool = False
    row_tokens: int = 128
    chat_steps: int = 0

    @property
    def shape(self) -> Shape:
        """What an example shows."""
        return Shape(self.max_history, self.asks, self.candidates, self.folds)


class Objective(nn.Module):
    """forward(batch, start, stop): the summed loss of the examples start..stop; `tokens` is how many were read for it."""

    def __init__(self, world: World, config: ObjectiveConfig, items: Items | None = None):
        super().__init__()
        self.model: Any = world.recommender.model
        self.items = Items(world.matrix, device=world.recommender.device) if items is None else items
        self.world, self.config, self.tokens = world, config, 0
        self.talks: list[ChatExample] = []  # conversations without a search, for the task chat
        self.memory: dict[Any, torch.Tensor] = {}  # hidden states of conversations that no learning changes
        self.fed: dict[str, list[int]] = {}  # task -> folds that have examples of it

    def draw(self, weights: dict[str, float], size: int, seed: int, step: int) -> StepBatch:
        task = task_of_step(weights, seed, step)
        if task == "chat" and self.config.chat_steps:
            step %= self.config.chat_steps
        rng = np.random.default_rng([seed, step, 3])
        fold = self._fold(task, rng) if self.items.folds else SERVED
        if task == "chat":
            drawn: list[Example] = [*draw_chat(self.world, size, seed, step, self.config.shape, fold, self.talks)]
        else:
            drawn = draw(self.world, task, size, seed, step, self.config.shape, fold)
        return StepBatch(task, drawn, rng.integers(len(self.world.texts), size=self.config.negatives), fold)

    def _fold(self, task: str, rng: np.random.Generator) -> int:
        found = self.fed.get(task) or self.fed.setdefault(task, folds_of(self.world, task, self.items.folds))
        return found[rng.integers(len(found))]

    def forward(self, batch: StepBatch, start: int, stop: int) -> torch.Tensor:
        examples = batch.examples[start:stop]
        if batch.task == "describe":
            return self._describe(examples).sum()
        if batch.task == "ranking":
            return self._rank(examples, batch.fold).sum()
        if batch.task == "chat":
            return chat_losses(self, [e for e in examples if isinstance(e, ChatExample)], batch)
        return self._retrieve(examples, batch)

    def _retrieve(self, examples: list[Example], batch: StepBatch) -> torch.Tensor:
        return self.retrieval(*self._queries(examples, batch.fold), batch)

    def retrieval(self, queries: torch.Tensor, examples: Sequence[Example], batch: StepBatch) -> torch.Tensor:
        """Summed loss of queries (N, D), one an ask; each example counts once, whatever the number of its asks."""
        chosen, log_expected = self._candidates(batch)
        position = np.full(len(self.world.texts), -1)
        position[chosen] = np.arange(len(chosen))
        asked = [(e, ask, target) for e in examples for ask, target in zip(e.asks, e.targets, strict=True)]
        blocked = np.zeros((len(asked), len(chosen) + 1), bool)  # the last column takes what is no candidate
        for row, (example, ask, _) in enumerate(asked):
            blocked[row, position[[*example.positives, *example.history[:ask]]]] = True
        losses = retrieval_loss(
            queries.float(), self._chosen(chosen, batch.fold), self._long(position[[target for *_, target in asked]]),
            torch.from_numpy(blocked[:, :-1]).to(queries.device), self.config.temperature, log_expected,
        )  # fmt: skip
        share = [1 / len(example.asks) for example in examples for _ in example.asks]
        return losses @ torch.tensor(share, device=losses.device)

    def _candidates(self, batch: StepBatch) -> tuple[np.ndarray, torch.Tensor | None]:
        """Ascending item indices of the softmax and the logQ of each; all items where there are few enough."""
        if len(self.world.texts) <= self.config.full_softmax_below:
            return np.arange(len(self.world.texts)), None
        targets = [target for example in batch.examples for target in example.targets]
        hard = {int(i) for target in targets for i in self._hard(target)}
        chosen = np.array(sorted({*targets, *hard, *batch.sample.tolist()}))
        is_hard = torch.from_numpy(np.isin(chosen, list(hard))).to(self.world.recommender.device)
        expected = log_expected_counts(
            self._long(chosen), self.world.popularity, len(targets), len(batch.sample), is_hard
        )
        return chosen, expected

    def _chosen(self, chosen: np.ndarray, fold: int) -> torch.Tensor:
        return self.items.all(fold) if len(chosen) == len(self.world.texts) else self.items.rows(chosen, fold)

    def _queries(self, examples: list[Example], fold: int) -> tuple[torch.Tensor, list[Example]]:
        """(N, D) unit queries, one an ask, and the examples in the order in which their asks come."""
        processor = self.world.recommender.processor
        requests = [Request(processor.words(e.words), len(e.history), e.asks) for e in examples]
        longest = max(request.length(processor.tokens_per_item) for request in requests)
        inputs, order = processor.packed(requests, max(self.config.row_tokens, longest))
        examples = [examples[i] for i in order]
        rows = [item for example in examples for item in example.history]
        pixels, starts = self.pixels(rows, fold), self.starts(examples, fold)
        return self.model.retrieve(starts, pixel_values=pixels, **self.read(inputs)), examples

    def starts(self, examples: Sequence[Example], fold: int) -> torch.Tensor:
        """(N, D) where the queries start, one an ask."""
        recommender, rows = self.world.recommender, [item for example in examples for item in example.history]
        lags = lag_table([len(e.history) for e in examples], [e.asks for e in examples])
        words = np.zeros((len(lags), self.world.matrix.shape[1]), np.float32)
        asked = [e.words for e in examples for _ in e.asks]
        told = [row for row, text in enumerate(asked) if text]
        if told and recommender.text_vectors is not None:
            words[told] = recommender.text_vectors([asked[row] for row in told])
        return self.model.query_start(
            self._long(lags), self.items.rows(np.array(rows, np.int64), fold), self._put(words)
        )

    def _rank(self, examples: list[Example], fold: int) -> torch.Tensor:
        inputs = self.world.recommender.processor.requests(
            [len(e.history) for e in examples], candidates=len(examples[0].candidates)
        )
        asked = np.array([e.candidates for e in examples])
        wanted = self.items.rows(asked.ravel(), fold).unflatten(0, asked.shape)
        pixels = self.pixels([i for e in examples for i in (*e.history, *e.candidates)], fold)
        scores, _ = self.model.rank(self.starts(examples, fold), wanted, pixel_values=pixels, **self.read(inputs))
        return ranking_loss(scores.float(), self.config.temperature)

    def _describe(self, examples: list[Example]) -> torch.Tensor:
        """Only the item's text and its end are asked for."""
        items = [example.targets[0] for example in examples]
        inputs, labels = describe_inputs(self.world.recommender.processor, [self.world.texts[item] for item in items])
        labels = labels.to(self.world.recommender.device)
        inputs = self.read(inputs) | {"pixel_values": self.pixels(items, SERVED)}
        hidden = self.model.model(**inputs).last_hidden_state[:, :-1]  # (B, L-1, H)
        asked = labels[:, 1:] != NOT_ASKED
        logits = self.model.lm_head(hidden[asked])  # (T, V)
        return describe_loss(logits, labels[:, 1:][asked], asked.nonzero()[:, 0], len(examples))

    def pixels(self, rows: list[int], fold: int) -> torch.Tensor:
        """What the tower reads of these items."""
        if self.world.recommender.reads_vectors:
            return self.items.rows(np.array(rows, np.int64), fold)
        return self._put(self.world.recommender.pixels(rows))

    def _hard(self, target: int) -> list[int]:
        found = self.world.hard_negatives
        return [] if found is None else [int(i) for i in found[target] if i >= 0]

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.world.recommender.device)

    def _long(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, np.int64)).to(self.world.recommender.device)

    def read(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Model inputs on the device; counts the tokens that are read."""
        self.tokens = int(inputs["attention_mask"].sum())
        return {key: value.to(self.world.recommender.device) for key, value in inputs.items()}
