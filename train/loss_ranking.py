"""Ranking: softmax over one request's candidates, the saved one among hard and random negatives."""

import torch
import torch.nn.functional as F


def ranking_loss(scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """Listwise cross-entropy (ListNet's top-one probability, Cao et al. 2007); the positive is candidate 0.

    Args:
        scores: (B, C) from `Swapped.rank`.
        temperature: logits are scores / temperature.

    Returns:
        (B,) losses.
    """
    return F.cross_entropy(scores / temperature, scores.new_zeros(scores.shape[0], dtype=torch.long), reduction="none")
