"""From pairs to scores, to the loss of a step and to validation figures; the only module of the stage that accelerate wraps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from navigator.recommend import Recommender
from navigator.start import lag_table
from train.prefer.config import PreferConfig
from train.prefer.pairs import Pairs, Question
from train.world import World

_BATCH = 64  # pairs a forward pass without gradients


class PairLoss(Protocol):
    """The part of train.prefer.trainer.ItemDPO that is used here."""

    def loss(self, logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor: ...

    def drain(self, mode: str) -> dict[str, float]: ...


@dataclass(frozen=True)
class PairBatch:
    """The global batch of one step: numbers of pairs."""

    examples: np.ndarray
    task: str = "prefer"


class Preference(nn.Module):
    """forward(batch, start, stop): the summed loss of the pairs start..stop.

    The reference's log-probabilities are computed once before training, of every pair that is going to be drawn, and no
    second model is kept. Switching LoRA off during training would not give the reference back: tower and heads learn too.

    Args:
        world: the model and its items.
        pairs: what is drawn from.
        valid: pairs that are only measured.
        config: see PreferConfig.
        loss: TRL's loss.
    """

    def __init__(self, world: World, pairs: Pairs, valid: Pairs, config: PreferConfig, loss: PairLoss):
        super().__init__()
        self.model: Any = world.recommender.model
        self.world, self.pairs, self.valid, self.config, self.loss = world, pairs, valid, config, loss
        self.reference = torch.zeros(0, 2)
        self.valid_reference = torch.zeros(0, 2)
        self.tokens = 0  # read by the last forward pass

    def draw(self, size: int, seed: int, step: int) -> PairBatch:
        return PairBatch(self.pairs.draw(size, seed, step))

    def forward(self, batch: PairBatch, start: int, stop: int) -> torch.Tensor:
        rows = batch.examples[start:stop]
        mean = self.loss.loss(self.logits(self.pairs, rows), self.reference[rows].to(self.world.recommender.device))
        return mean * len(rows)

    def remember(self, used: np.ndarray, accelerator: Accelerator) -> None:
        """Keep the log-probabilities of the model as it is now, of the `used` pairs and of all `valid` ones.

        Every process measures its share of the former and gets all of them.
        """
        own = used[accelerator.process_index :: accelerator.num_processes]
        shared = torch.zeros(len(self.pairs), 2, device=accelerator.device)
        with accelerator.autocast():
            shared[own] = pair_log_probs(self._measured(self.pairs, own, "reference")).to(accelerator.device)
            self.valid_reference = pair_log_probs(self._measured(self.valid, np.arange(len(self.valid)), "valid"))
        everything: Any = accelerator.reduce(shared, "sum")
        self.reference = everything.cpu()

    def logits(self, pairs: Pairs, rows: np.ndarray) -> torch.Tensor:
        """(N, 2) scores / temperature of the chosen and the rejected item, float32."""
        asked, items, which, places = _together(pairs, rows)
        scores, self.tokens = _scores(self.world, asked, items, self.config.score)
        found = scores[torch.from_numpy(which)[:, None], torch.from_numpy(places)]
        return found.float() / self.config.temperature

    def figures(self) -> dict[str, float]:
        """How held-out pairs fare, beside the model before as well, and what TRL logged of training since the last call.

        Of several processes each knows its own share of training.
        """
        found = {f"train/{name}": value for name, value in self.loss.drain("train").items()}
        if not len(self.valid):
            return found
        logits = self._measured(self.valid, np.arange(len(self.valid)))
        self.model.eval()
        device = self.world.recommender.device
        loss = float(self.loss.loss(logits.to(device), self.valid_reference.to(device)))
        self.model.train()
        gap = (logits[:, 0] - logits[:, 1]) * self.config.temperature
        own = {"pair_accuracy": float((gap > 0).float().mean()), "pair_margin": float(gap.mean()), "pair_loss": loss}
        return own | self.loss.drain("eval") | found

    def _measured(self, pairs: Pairs, rows: np.ndarray, told: str = "") -> torch.Tensor:
        """(N, 2) logits without gradients or dropout, on the CPU; pairs of a request and histories of a length go together."""
        result = torch.zeros(len(rows), 2)
        lengths = np.array([len(pairs.questions[i].history) for i in pairs.question[rows]])
        order = np.lexsort((pairs.question[rows], lengths))
        self.model.eval()
        with torch.no_grad():
            for first in tqdm(range(0, len(order), _BATCH), desc=told, disable=not told, mininterval=2):
                picked = order[first : first + _BATCH]
                result[picked] = self.logits(pairs, rows[picked]).cpu()
        self.model.train()
        return result


def pair_log_probs(logits: torch.Tensor) -> torch.Tensor:
    """(N, 2) log-probabilities of the choice between the two items, float32; see train.prefer.trainer."""
    return logits.float().log_softmax(dim=1)


def _together(pairs: Pairs, rows: np.ndarray) -> tuple[list[Question], np.ndarray, np.ndarray, np.ndarray]:
    """Each request once with all items that N pairs compare for it, as a candidate's score knows nothing of its company.

    Returns:
        Q requests; (Q, C) items, the first one again where a request has fewer; (N,) number of each pair's request; (N, 2)
        places of its chosen and its rejected item among them.
    """
    numbers, which = np.unique(pairs.question[rows], return_inverse=True)
    of: list[dict[int, int]] = [{} for _ in numbers]  # item -> its place
    compared = zip(which.tolist(), pairs.chosen[rows].tolist(), pairs.rejected[rows].tolist(), strict=True)
    places = [[of[q].setdefault(item, len(of[q])) for item in two] for q, *two in compared]
    width = max(len(own) for own in of)
    items = [[*own, *[next(iter(own))] * (width - len(own))] for own in of]
    return [pairs.questions[i] for i in numbers], np.array(items), which, np.array(places)


def _scores(world: World, asked: Sequence[Question], items: np.ndarray, score: str) -> tuple[torch.Tensor, int]:
    """Scores (N, C) of the (N, C) items, each row's for its own request, and how many tokens were read."""
    recommender, candidates = world.recommender, items.shape[1] if score == "rank" else 0
    counts = [len(question.history) for question in asked]
    inputs = recommender.processor.requests(counts, [question.title for question in asked], candidates=candidates)
    shown = [
        i for q, own in zip(asked, items.tolist(), strict=True) for i in (*q.history, *(own if candidates else ()))
    ]
    inputs["pixel_values"] = torch.from_numpy(recommender.pixels(shown))
    inputs = {name: value.to(recommender.device) for name, value in inputs.items()}
    start = _starts(recommender, asked)
    wanted = torch.from_numpy(world.matrix[items]).to(recommender.device)  # (N, C, D)
    tokens = int(inputs["attention_mask"].sum())
    if candidates:
        return recommender.model.rank(start, wanted, **inputs)[0], tokens
    query = recommender.model.retrieve(start, **inputs)
    with torch.autocast(query.device.type, enabled=False):  # a temperature of 0.05 needs float32 cosines
        return torch.einsum("ncd,nd->nc", wanted, query.float()), tokens


def _starts(recommender: Recommender, asked: Sequence[Question]) -> torch.Tensor:
    """(N, D) where queries start, with gradients: `Recommender.starts` serves the same without."""
    rows = [row for question in asked for row in question.history]
    words = np.zeros((len(asked), recommender.vectors.dim), np.float32)
    told = [row for row, question in enumerate(asked) if question.title]
    if told and recommender.text_vectors is not None:
        words[told] = recommender.text_vectors([asked[row].title for row in told])
    lags = lag_table([len(question.history) for question in asked])
    arrays = (lags, recommender.pixels(rows), words)
    return recommender.model.query_start(*(torch.from_numpy(array).to(recommender.device) for array in arrays))
