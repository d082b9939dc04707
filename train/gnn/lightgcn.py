"""LightGCN for graphs of ids alone (He et al., arXiv 2002.02126): one vector an item, owners are sums of their items.

An owner's vector is one step of LightGCN's propagation from its items, sum of E_i / sqrt(degree_i), brought to unit
length; an item's is its own. Owners have no table of their own, so a new owner has a vector at once and a saved item can
be left out of the sum when it is the one asked for. Further propagation lives in where the table starts: the leading
eigenvectors of the normalised co-save matrix, each scaled by the root of its eigenvalue (the low-pass filter of GF-CF,
arXiv 2108.07567, as in SVD-GCN, arXiv 2208.12689).
"""

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from train.checkpoint import Named
from train.gnn.world import GnnWorld


class LightGCN(nn.Module):
    """Item table (n, dim); see the file's head."""

    norm: Tensor
    warm: Tensor

    def __init__(self, world: GnnWorld, dim: int, start: str, seed: int):
        super().__init__()
        degree = world.degree
        norm = np.maximum(degree, 1) ** -0.5
        self.register_buffer("norm", torch.from_numpy(norm.astype(np.float32)), persistent=False)
        self.register_buffer("warm", torch.from_numpy(degree > 0), persistent=False)
        table = spectral(world, dim) if start == "spectral" else _random(world.n_items, dim, seed)
        table[degree == 0] = 0  # nothing is known of them
        self.table = nn.Parameter(torch.from_numpy(table))

    def parts(self) -> dict[str, Named]:
        return {"table": {"table": self.table}}

    def items(self, rows: Tensor, fold: int) -> Tensor:
        """(m, dim) unit vectors; zero, and out of reach of gradients, for items without training saves."""
        return F.normalize(self.table[rows], dim=1) * self.warm[rows, None]

    def bystanders(self, rows: Tensor, fold: int, step: int) -> Tensor:
        """Vectors of uniform negatives: a lookup is cheap, so they learn as well."""
        return self.items(rows, fold)

    @torch.no_grad()
    def everything(self, fold: int) -> Tensor:
        """(n, dim) vectors of all items, without gradients."""
        return self.items(torch.arange(len(self.table), device=self.table.device), fold)

    def owners(self, shown: Tensor, shown_of: Tensor, count: int, vectors: Tensor) -> Tensor:
        """(count, dim) unit vectors of owners; `shown_of` is ascending. Their items' `vectors` are not read."""
        offsets = torch.searchsorted(shown_of, torch.arange(count, device=shown.device))
        summed = F.embedding_bag(shown, self.table, offsets, mode="sum", per_sample_weights=self.norm[shown])
        return F.normalize(summed, dim=1)


def spectral(world: GnnWorld, dim: int) -> np.ndarray:
    """(n, dim) float32: leading eigenvectors of the items' normalised co-saves times the roots of their eigenvalues.

    Columns beyond what the graph has are small random numbers, so that they can learn.
    """
    owners, n = world.owners, world.n_items
    size = np.maximum(owners.sizes, 1) ** -0.5
    value = np.repeat(size, owners.sizes) * np.maximum(world.degree, 1)[owners.items] ** -0.5
    edges = sp.csr_array((value.astype(np.float32), owners.items, owners.indptr), shape=(len(owners.ids), n))
    found = min(dim, n - 1, len(owners.ids) - 1)
    smooth = sp.csr_array(edges.T @ edges)
    start = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    values, vectors = eigsh(smooth, k=found, which="LA", v0=start)
    values, vectors = values[::-1], vectors[:, ::-1]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(found)])
    table = _random(n, dim, 0) * 1e-3
    table[:, :found] = vectors * signs * np.sqrt(np.maximum(values, 0) / values[0] * n / dim)
    return table


def _random(n: int, dim: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, dim)) / np.sqrt(dim)).astype(np.float32)
