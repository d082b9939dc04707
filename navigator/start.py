"""Where a query starts, before the language model has said anything: a mean of what is already known in the item space.

The start of a request is the unit mean of its history's item vectors and of its title's text vector, if it has one. All
that may be learned of it begins at "a plain mean", so that an untrained model is a content kNN, exactly: how fast older
items fade, how much the graph part of a vector counts, how much a title counts beside an item, and two linear maps in the
item space, graph part included: from an item to what is saved next, and from a title to where boards with such titles lie.
The map of items is what SLIM and EASE learn (one linear item-to-item model), between vectors instead of ids, so that it
also holds for items that nobody has saved. The language model's correction is added (navigator.model), and begins at zero.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class QueryStart(nn.Module):
    """History and title vectors to the (N, D) unit vectors at which queries start.

    Args:
        dim: D, size of an item vector.
        content_dim: how many leading dimensions are content; the rest are graph factors. D where there are none.
    """

    def __init__(self, dim: int, content_dim: int):
        super().__init__()
        self.dim, self.content_dim = dim, content_dim
        self.fade = nn.Parameter(torch.zeros(1))  # an item `lag` places from the newest weighs exp(-fade * lag)
        self.graph = nn.Parameter(torch.zeros(1))  # log weight of the graph part beside the content
        self.title = nn.Parameter(torch.zeros(1))  # log weight of a title beside the newest item
        self.item_map = nn.Linear(dim, dim, bias=False)
        self.title_map = nn.Linear(dim, dim, bias=False)
        self.reset()

    def reset(self) -> None:
        """Plain means (Transformers builds modules without weights when it loads a checkpoint)."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, lags: torch.Tensor, vectors: torch.Tensor, titles: torch.Tensor) -> torch.Tensor:
        """Starts of N requests, from the histories of all of them laid one after another.

        Args:
            lags: (N, R) see `lag_table`.
            vectors: (R, D) unit item vectors.
            titles: (N, D) unit text vectors, rows of zeros where there is no title.

        Returns:
            (N, D) float32 unit vectors; zero where a request has neither history nor title.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            weights = torch.exp(-self.fade.float() * lags.clamp_min(0)) * (lags >= 0)  # (N, R)
            vectors, titles = vectors.float(), titles.float()
            gain = self.graph.float().exp().expand(self.dim - self.content_dim)
            known = weights @ vectors  # (N, D)
            plain = (known + self.title.float().exp() * titles) * torch.cat([gain.new_ones(self.content_dim), gain])
            mapped = known @ self.item_map.weight.float().T + titles @ self.title_map.weight.float().T
            return F.normalize(plain + mapped, dim=-1)


def lag_table(counts: Sequence[int], asks: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """Which items each ask knows, and how long ago each was saved.

    Args:
        counts: history items of each request; R is their sum.
        asks: per request after how many of its items it asks; by default once, after all of them.

    Returns:
        (N, R) int64 for the N asks, request by request: places from the newest item that the ask knows (0) back to each
        item, -1 for items that it does not know.
    """
    asks = [(count,) for count in counts] if asks is None else asks
    request = np.repeat(np.arange(len(counts)), [len(own) for own in asks])  # (N,)
    last = np.array([ask for own in asks for ask in own], np.int64) - 1  # (N,) place of the newest known item
    owner = np.repeat(np.arange(len(counts)), counts)  # (R,)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - np.asarray(counts), counts)  # (R,)
    lags = last[:, None] - place
    return np.where(owner == request[:, None], np.maximum(lags, -1), -1)
