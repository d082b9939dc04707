"""Hard negatives: items that walks reach late and that share no board with the anchor (PinSage, arXiv 1806.01973)."""

import torch
from torch.nn import functional as F


def hard_negative_loss(
    anchors: torch.Tensor, negatives: torch.Tensor, there: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Loss of each anchor against negatives of its own, as further columns of the neighbours' sigmoid loss.

    Args:
        anchors: (R, D) unit vectors.
        negatives: (R, H, D) unit vectors.
        there: (R, H) bool; an anchor may have fewer than H.
        scale: that of the neighbour loss.
        bias: that of the neighbour loss.

    Returns:
        (R,) losses: sum over an anchor's negatives of -log sigmoid(-(scale * cosine + bias)).
    """
    with torch.autocast(anchors.device.type, enabled=False):
        logits = (anchors.float()[:, None] * negatives.float()).sum(-1) * scale + bias  # (R, H)
    return (-F.logsigmoid(-logits) * there).sum(1)
