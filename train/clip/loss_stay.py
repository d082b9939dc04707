"""Stay: items keep the similarities they had before tuning (relational distillation, Park et al., arXiv 1904.05068).

Tuning on a small taste graph improves what it has seen at the cost of what it has not. Penalising change of the cosines
between items, rather than of the vectors, leaves the space free to turn and the towers free to meet.
"""

import torch


def stay_loss(
    items: torch.Tensor, others: torch.Tensor, items_before: torch.Tensor, others_before: torch.Tensor
) -> torch.Tensor:
    """How far each item's cosines to the others moved.

    Args:
        items: (R, D) unit vectors now.
        others: (C, D) unit vectors now.
        items_before: (R, E) unit vectors of the untuned encoder.
        others_before: (C, E).

    Returns:
        (R,) sums over the others of (cosine now - cosine before) squared.
    """
    with torch.autocast(items.device.type, enabled=False):
        now, before = items.float() @ others.float().T, items_before.float() @ others_before.float().T
    return (now - before).square().sum(1)
