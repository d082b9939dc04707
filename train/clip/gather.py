"""Vectors of all processes, with gradients that go back to the process that made them."""

import torch
from torch import distributed
from torch.distributed.nn.functional import all_gather


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """(R, ...) rows of this process -> (R * processes, ...) rows of all, in the order of ranks.

    Every process must bring equally many rows. The gradient of a row is the sum of what all processes ask of it, so that
    a loss over all columns, computed in shares, has the gradient of one process that computes it whole.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    return torch.cat(list(all_gather(rows.contiguous())))
