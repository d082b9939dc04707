"""Describe: next-token cross-entropy of an item's text after its tokens, so that the tower learns words and words survive."""

import torch
import torch.nn.functional as F


def describe_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean token loss of each example.

    Args:
        logits: (B, L, V).
        labels: (B, L) token ids, -100 where nothing is asked.

    Returns:
        (B,) losses; an example without labels has 0.
    """
    asked = labels[:, 1:] != -100
    token = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="none", ignore_index=-100)
    return token.view_as(asked).sum(1) / asked.sum(1).clamp_min(1)
