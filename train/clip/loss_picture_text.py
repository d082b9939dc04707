"""Picture-text alignment: an item's picture belongs to its own words and to nobody else's (SigLIP)."""

import torch

from train.clip.loss_sigmoid import sigmoid_loss


def picture_text_loss(
    pictures: torch.Tensor, texts: torch.Tensor, first: int, scale: torch.Tensor, bias: torch.Tensor, text_ids: torch.Tensor,
    has: torch.Tensor, weights: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Loss of each picture of this share against all texts of the global batch.

    Args:
        pictures: (R, D) unit vectors; row i belongs to text first + i.
        texts: (C, D) unit vectors.
        first: number of the first row in the global batch.
        scale: see sigmoid_loss.
        bias: see sigmoid_loss.
        text_ids: (C,) equal numbers for equal texts, which are no negatives of each other.
        has: (C,) bool, items that have both picture and text; the others take no part.
        weights: (C,) graded weights (GCL), 1 by default.

    Returns:
        (R,) losses, 0 for rows that take no part.
    """
    share = slice(first, first + len(pictures))
    together = (text_ids[share, None] == text_ids[None]) | ~has[None]
    losses = sigmoid_loss(pictures, texts, first, scale, bias, together, None if weights is None else weights[share])
    return losses * has[share]
