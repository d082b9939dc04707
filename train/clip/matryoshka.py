"""Matryoshka: the same loss on prefixes of the vectors, so that the first dimensions carry the most (arXiv 2205.13147)."""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F


def matryoshka(loss: Callable[..., torch.Tensor], prefixes: Sequence[int], *vectors: torch.Tensor) -> torch.Tensor:
    """Mean of a loss over prefixes of its vectors, each prefix normalised again.

    Args:
        loss: takes the shortened vectors and gives (R,) losses.
        prefixes: numbers of leading dimensions; 0 stands for all of them.
        vectors: (..., D) unit vectors.
    """
    found = [loss(*(F.normalize(v[..., : k or None], dim=-1) for v in vectors)) for k in prefixes]
    return torch.stack(found).mean(0)
