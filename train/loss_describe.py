"""Describe: next-token cross-entropy of an item's text after its tokens, so that the tower learns words and words survive."""

import torch
import torch.nn.functional as F


def describe_loss(logits: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, examples: int) -> torch.Tensor:
    """Mean token loss of each example, from the asked positions alone (the vocabulary is the costly axis).

    Args:
        logits: (T, V) at the T positions whose next token is asked for.
        labels: (T,) those next tokens.
        rows: (T,) which example each position belongs to.
        examples: B.

    Returns:
        (B,) losses; an example without labels has 0.
    """
    token = F.cross_entropy(logits.float(), labels, reduction="none")
    total = token.new_zeros(examples).index_add(0, rows, token)
    return total / torch.bincount(rows, minlength=examples).clamp_min(1)
