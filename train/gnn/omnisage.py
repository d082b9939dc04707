"""The graph encoder over content (after OmniSage, arXiv 2504.17811): one transformer layer over sampled neighbours.

An item reads itself and its most visited items, boards and users, each as its content with a type and the logarithm of
its visits, and a CLS token gathers them. What comes out is added to the visit-weighted mean of the neighbours' content
(PinSage's importance pooling, arXiv 1806.01973) through a layer that starts at zero, so that training starts from a
sensible vector. An item without neighbours is its own neighbourhood: with nothing in that place it would stand behind every
item that has been saved. The graph part lies beside the content: [content, weight * graph part] of unit length. An owner
is the unit mean of its items, which is how requests ask.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.checkpoint import Named
from train.gnn.config import GnnConfig
from train.gnn.neighbours import Neighbourhoods

_BLOCK = 2048
WHOLE = -1  # the fold that leaves nothing out


class OmniSage(nn.Module):
    """Content (n, D) and neighbourhoods in, unit vectors (m, 2 D) out."""

    content: Tensor

    def __init__(self, content: np.ndarray, neighbourhoods: Neighbourhoods | None, config: GnnConfig, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        dim = content.shape[1]
        self.config = config
        self.types = (
            list(neighbourhoods.nodes) if neighbourhoods else []
        )  # item, then board and user where there are some
        self.register_buffer("content", torch.from_numpy(content), persistent=False)
        for name in self.types:
            assert neighbourhoods is not None
            for kind in ("nodes", "visits", "features"):
                value = torch.from_numpy(getattr(neighbourhoods, kind)[name])
                self.register_buffer(f"{kind}_{name}", value, persistent=False)
        self.project = nn.Linear(dim, config.width)
        self.kind = nn.Embedding(4, config.width)  # itself, item, board, user
        self.importance = nn.Parameter(torch.zeros(config.width))
        self.cls = nn.Parameter(torch.randn(config.width) / config.width**0.5)
        self.layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 2 * config.width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.out = nn.Linear(config.width, dim, bias=False)
        nn.init.zeros_(self.out.weight)
        self.bank: Tensor | None = None
        self.bank_of: int | None = None

    def parts(self) -> dict[str, Named]:
        return {"encoder": dict(self.named_parameters())}

    def items(self, rows: Tensor, fold: int) -> Tensor:
        """(m, 2 D) unit vectors."""
        content = self.content[rows]
        return F.normalize(torch.cat([content, self.config.graph_weight * self.graph_part(rows, fold)], dim=1), dim=1)

    def graph_part(self, rows: Tensor, fold: int) -> Tensor:
        """(m, D), of length 1 at the start of training."""
        content = self.content[rows]
        tokens = [self.cls.expand(len(rows), 1, -1), (self.project(content) + self.kind.weight[0])[:, None]]
        empty = [torch.zeros(len(rows), 2, dtype=torch.bool, device=content.device)]
        pooled = torch.zeros_like(content)
        dropped = self._dropped(len(rows), content.device)
        for number, name in enumerate(self.types, 1):
            nodes = getattr(self, f"nodes_{name}")[fold, rows].long()  # (m, T)
            visits = getattr(self, f"visits_{name}")[fold, rows]
            missing = (nodes < 0) | dropped[:, None]
            features = getattr(self, f"features_{name}")[nodes.clamp_min(0)]  # (m, T, D)
            tokens.append(
                self.project(features) + self.kind.weight[number] + visits.log1p()[..., None] * self.importance
            )
            empty.append(missing)
            if name == "item":
                pooled = (features * (visits * ~missing)[..., None]).sum(1)
        hidden = self.layer(torch.cat(tokens, dim=1), src_key_padding_mask=torch.cat(empty, dim=1))[:, 0]
        alone = ~pooled.any(dim=1, keepdim=True)
        return F.normalize(torch.where(alone, content, pooled), dim=1) + self.out(hidden)

    def bystanders(self, rows: Tensor, fold: int, step: int) -> Tensor:
        """Vectors of uniform negatives from the last look at all items (cross-batch memory, arXiv 1912.06798)."""
        turn = step // self.config.refresh
        if self.bank is None or self.bank_of != turn:
            self.bank, self.bank_of = self.everything(fold), turn
        return self.bank[rows]

    @torch.no_grad()
    def everything(self, fold: int) -> Tensor:
        """(n, 2 D) vectors of all items, without gradients, none shown without its neighbours."""
        training = self.training
        self.eval()
        rows = torch.arange(len(self.content), device=self.content.device)
        found = torch.cat([self.items(part, fold) for part in rows.split(_BLOCK)])
        self.train(training)
        return found

    def owners(self, shown: Tensor, shown_of: Tensor, count: int, vectors: Tensor) -> Tensor:
        """(count, 2 D) unit means of the `vectors` (s, 2 D) of what is shown."""
        total = torch.zeros(count, vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
        return F.normalize(total.index_add(0, shown_of, vectors), dim=1)

    def _dropped(self, count: int, device: torch.device) -> Tensor:
        if not self.training:
            return torch.zeros(count, dtype=torch.bool, device=device)
        return torch.rand(count, device=device) < self.config.drop_neighbours
