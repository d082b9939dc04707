"""The pairwise sigmoid loss of SigLIP (Zhai et al., arXiv 2303.15343), with pairs that must not count as negatives.

Every (row, column) is a yes/no question of its own: rows and columns with the same number belong together, all others do
not. A pair that belongs together for another reason (two items of one board, two items of one title) is no evidence
against anything and is left out.
"""

import torch
from torch.nn import functional as F


def sigmoid_loss(
    rows: torch.Tensor, columns: torch.Tensor, first: int, scale: torch.Tensor, bias: torch.Tensor, together: torch.Tensor,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Loss of each row against all columns.

    Args:
        rows: (R, D) unit vectors; row i belongs to column first + i.
        columns: (C, D) unit vectors.
        first: column of the first row (the share of this process in the global batch).
        scale: logits are scale * cosine + bias.
        bias: see scale; it starts low, because nearly all pairs are negatives.
        together: (R, C) bool, pairs that belong together and are no negatives; a row's own column may be among them.
        weights: (R,) how much each row counts, 1 by default (graded weights).

    Returns:
        (R,) losses: for each row the sum of -log sigmoid(z * logit) over its columns, z = 1 for its own column, -1 else.
    """
    with torch.autocast(rows.device.type, enabled=False):
        logits = rows.float() @ columns.float().T * scale + bias  # (R, C)
    own = torch.zeros_like(together)
    own[torch.arange(len(rows)), first + torch.arange(len(rows))] = True
    losses = -F.logsigmoid(torch.where(own, logits, -logits))
    losses = losses.masked_fill(together & ~own, 0.0).sum(1)
    return losses if weights is None else losses * weights
