"""Neighbour alignment: an item belongs to the items that random walks over the taste graph lead to (PinCLIP, arXiv 2603.03544).

Pairs are drawn by their visit counts (train.clip.draw), so that the count weights them. Items that share a board are never
negatives of each other.
"""

import torch

from train.clip.loss_sigmoid import sigmoid_loss


def neighbour_loss(
    anchors: torch.Tensor, neighbours: torch.Tensor, first: int, scale: torch.Tensor, bias: torch.Tensor,
    together: torch.Tensor, has: torch.Tensor, weights: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Loss of each anchor of this share against all neighbours of the global batch.

    Args:
        anchors: (R, D) unit item vectors; row i belongs to neighbour first + i.
        neighbours: (C, D) unit item vectors.
        first: number of the first row in the global batch.
        scale: see sigmoid_loss.
        bias: see sigmoid_loss.
        together: (R, C) bool, anchor and neighbour share a training board or are one item.
        has: (C,) bool, examples that have a neighbour; the others take no part.
        weights: (C,) graded weights, 1 by default.

    Returns:
        (R,) losses, 0 for rows that take no part.
    """
    share = slice(first, first + len(anchors))
    row_weights = None if weights is None else weights[share]
    losses = sigmoid_loss(anchors, neighbours, first, scale, bias, together | ~has[None], row_weights)
    return losses * has[share]
