"""Sampled softmax of an owner's hidden saves against in-batch, uniform and hard negatives, with the logQ correction."""

from typing import Any

import torch
from torch import Tensor, nn

from train.gnn.draw import GnnBatch


class GnnObjective(nn.Module):
    """forward(batch, start, stop): the loss of the owners start..stop, summed so that the whole batch gives B times the
    mean over its pairs."""

    def __init__(self, model: Any, temperature: float):
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, batch: GnnBatch, start: int, stop: int) -> Tensor:
        device = next(self.model.parameters()).device

        def put(values, owners=None):
            return torch.from_numpy(values if owners is None else values[(owners >= start) & (owners < stop)]).to(
                device
            )

        shown, shown_of = put(batch.shown, batch.shown_of), put(batch.shown_of, batch.shown_of) - start
        targets, targets_of = put(batch.targets, batch.targets_of), put(batch.targets_of, batch.targets_of) - start
        known, known_of = put(batch.known, batch.known_of), put(batch.known_of, batch.known_of) - start
        candidates, live = put(batch.candidates), put(batch.live)
        computed = torch.unique(torch.cat([shown, targets, candidates[live]]))
        vectors = self.model.items(computed, batch.fold)

        def of(rows: Tensor) -> Tensor:
            return vectors[torch.searchsorted(computed, rows)]

        queries = self.model.owners(shown, shown_of, stop - start, of(shown))
        gallery = self.model.bystanders(candidates, batch.fold, batch.step)
        gallery = gallery.index_put((live.nonzero()[:, 0],), of(candidates[live]))
        losses = sampled_softmax(
            queries, of(targets), targets_of, gallery, put(batch.log_chance), blocked(candidates, known, known_of),
            self.temperature,
        )  # fmt: skip
        return losses.sum() * len(batch.examples) / len(batch.targets)


def blocked(candidates: Tensor, known: Tensor, known_of: Tensor) -> tuple[Tensor, Tensor]:
    """(owner, candidate) positions that are no negatives: the owner's own saves. `candidates` are ascending."""
    place = torch.searchsorted(candidates, known).clamp_max(len(candidates) - 1)
    hit = candidates[place] == known
    return known_of[hit], place[hit]


def sampled_softmax(
    queries: Tensor, targets: Tensor, targets_of: Tensor, candidates: Tensor, log_chance: Tensor,
    blocked: tuple[Tensor, Tensor], temperature: float,
) -> Tensor:  # fmt: skip
    """Cross-entropy of each target against the candidates, an estimate of the softmax over all items.

    Each candidate stands for 1 / its chance to be there (logQ: Bengio & Senecal 2008; candidates are distinct, so it is
    the chance of one appearance and not the expected number of them); the target is there for certain.

    Args:
        queries: (B, d) unit vectors.
        targets: (t, d) unit vectors of the targets; targets_of: (t,) whose they are.
        candidates: (C, d) unit vectors.
        log_chance: (C,) log of each candidate's chance to be there.
        blocked: (owner, candidate) positions that are no negatives.
        temperature: logits are cosine / temperature.

    Returns:
        (t,) losses.
    """
    with torch.autocast(queries.device.type, enabled=False):
        logits = queries.float() @ candidates.float().T / temperature - log_chance
        negatives = logits.index_put(blocked, logits.new_tensor(-1e9)).logsumexp(1)
        positive = (queries.float()[targets_of] * targets.float()).sum(1) / temperature
    return torch.logaddexp(negatives[targets_of], positive) - positive
