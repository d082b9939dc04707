"""From a batch of one task to the sum of its losses; the only module that accelerate wraps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from navigator.recommend import history_means
from train.loss_describe import describe_loss
from train.loss_ranking import ranking_loss
from train.loss_retrieval import log_expected_counts, retrieval_loss
from train.tasks import Example, draw, task_of_step
from train.world import World


@dataclass(frozen=True)
class StepBatch:
    """The global batch of one step.

    Attributes:
        task: see train.tasks.TASKS.
        examples: B examples.
        sample: item indices drawn uniformly as negatives, the same in every process.
        cold: (B,) bool, examples whose target is shown without its graph factors.
    """

    task: str
    examples: list[Example]
    sample: np.ndarray
    cold: np.ndarray


@dataclass(frozen=True)
class ObjectiveConfig:
    """Attributes:
    tasks: the mixture, task to weight.
    max_history: items shown at most.
    candidates: of a ranking example.
    temperature: of the softmax over items and candidates.
    negatives: uniform negatives a step, where the catalogue is too large for a full softmax.
    full_softmax_below: up to this many items, all of them are candidates.
    cold_targets: share of targets shown as an item without saves would be, with refined vectors: the factors were
        made from the very save that is asked for, which no held-out target can have in its own.
    """

    tasks: dict[str, float]
    max_history: int = 20
    candidates: int = 20
    temperature: float = 0.05
    negatives: int = 1024
    full_softmax_below: int = 20_000
    cold_targets: float = 0.5


class Objective(nn.Module):
    """forward(batch, start, stop): the summed loss of the examples start..stop."""

    def __init__(self, world: World, config: ObjectiveConfig):
        super().__init__()
        self.model: Any = world.recommender.model
        self.world, self.config = world, config

    def draw(self, weights: dict[str, float], size: int, seed: int, step: int) -> StepBatch:
        task = task_of_step(weights, seed, step)
        examples = draw(self.world, task, size, seed, step, self.config.max_history, self.config.candidates)
        rng = np.random.default_rng([seed, step, 3])
        sample = rng.integers(len(self.world.texts), size=self.config.negatives)
        return StepBatch(task, examples, sample, rng.random(size) < self.config.cold_targets)

    def forward(self, batch: StepBatch, start: int, stop: int) -> torch.Tensor:
        examples = batch.examples[start:stop]
        if batch.task == "describe":
            return self._describe(examples).sum()
        if batch.task == "ranking":
            return self._rank(examples).sum()
        return self._retrieve(examples, batch, batch.cold[start:stop]).sum()

    def _retrieve(self, examples: list[Example], batch: StepBatch, cold: np.ndarray) -> torch.Tensor:
        world, device = self.world, self.world.recommender.device
        queries = self._queries(examples)
        everything = len(world.texts) <= self.config.full_softmax_below
        hard = set() if everything else {int(i) for e in batch.examples for i in self._hard(e.target)}
        in_batch = {e.target for e in batch.examples}
        chosen = (
            np.arange(len(world.texts))
            if everything
            else np.array(sorted(in_batch | hard | set(batch.sample.tolist())))
        )
        candidates = torch.from_numpy(chosen).to(device)
        position = {int(item): i for i, item in enumerate(chosen)}
        targets = torch.tensor([position[e.target] for e in examples], device=device)
        blocked = torch.zeros(len(examples), len(chosen), dtype=torch.bool)
        for row, example in enumerate(examples):
            blocked[row, [position[i] for i in {*example.positives, *example.history} if i in position]] = True
        log_expected = None
        if not everything:
            is_hard = torch.tensor([int(i) in hard for i in chosen], device=device)
            log_expected = log_expected_counts(
                candidates, world.popularity, len(batch.examples), len(batch.sample), is_hard
            )
        own = self._put(world.without_graph([e.target for e in examples], cold))
        return retrieval_loss(
            queries.float(), world.items[candidates], targets, blocked.to(device), self.config.temperature, log_expected, own
        )  # fmt: skip

    def _queries(self, examples: list[Example]) -> torch.Tensor:
        """(B, D) unit queries; an example without history asks by its target's words."""
        world, recommender = self.world, self.world.recommender
        counts = [len(e.history) for e in examples]
        if not any(counts):
            base = np.tile(world.neutral, (len(examples), 1))
            inputs = recommender.processor.requests(counts, [world.texts[e.target] for e in examples])
            del inputs["image_grid_thw"]
        else:
            rows = [i for e in examples for i in e.history]
            base = history_means(world.matrix[rows], counts)
            inputs = recommender.processor.requests(counts) | {
                "pixel_values": torch.from_numpy(recommender.pixels(rows))
            }
        return self.model.retrieve(self._put(base), **self._on_device(inputs))

    def _rank(self, examples: list[Example]) -> torch.Tensor:
        world, recommender = self.world, self.world.recommender
        counts = [len(e.history) for e in examples]
        base = history_means(world.matrix[[i for e in examples for i in e.history]], counts)
        wanted = np.stack([world.matrix[list(e.candidates)] for e in examples])
        inputs = recommender.processor.requests(counts, candidates=wanted.shape[1])
        pixels = recommender.pixels([i for e in examples for i in (*e.history, *e.candidates)])
        scores, _ = self.model.rank(
            self._put(base), self._put(wanted), **self._on_device(inputs | {"pixel_values": torch.from_numpy(pixels)})
        )
        return ranking_loss(scores.float(), self.config.temperature)

    def _describe(self, examples: list[Example]) -> torch.Tensor:
        """``Item:``, its tokens, then its text and the end of turn; only text and end are asked for."""
        recommender = self.world.recommender
        processor, tokenizer = recommender.processor, recommender.processor.tokenizer
        # Words first: language models rest much attention on the first token, which must not be a strange one.
        shown = (
            tokenizer.encode("Item:", add_special_tokens=False) + [processor.item_token_id] * processor.tokens_per_item
        )
        words = [tokenizer.encode(" " + self.world.texts[e.target], add_special_tokens=False)[:48] for e in examples]
        rows = [[*shown, *text, tokenizer.eos_token_id] for text in words]
        inputs = processor.pad(rows)
        length = inputs["input_ids"].shape[1]
        labels = torch.tensor([[-100] * (length - len(row) + len(shown)) + row[len(shown) :] for row in rows])
        inputs |= {"image_grid_thw": processor.grid(len(rows))}
        inputs |= {"pixel_values": torch.from_numpy(recommender.pixels([e.target for e in examples]))}
        labels = labels.to(recommender.device)
        hidden = self.model.model(**self._on_device(inputs)).last_hidden_state[:, :-1]  # (B, L-1, H)
        asked = labels[:, 1:] != -100
        logits = self.model.lm_head(hidden[asked])  # (T, V)
        return describe_loss(logits, labels[:, 1:][asked], asked.nonzero()[:, 0], len(examples))

    def _hard(self, target: int) -> list[int]:
        found = self.world.hard_negatives
        return [] if found is None else [int(i) for i in found[target] if i >= 0]

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.world.recommender.device)

    def _on_device(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value.to(self.world.recommender.device) for key, value in inputs.items()}
