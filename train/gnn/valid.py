"""Validation: the held-out saves of boards and users, ranked among all items by the vectors that will be written."""

from typing import Any

import numpy as np
import torch

from navigator.contracts.signals import Query
from navigator.metrics import nearest, ranking_metrics

K = 20


class Validation:
    """Called by the training loop; recall@20 chooses the best step."""

    def __init__(self, model: Any, queries: list[Query], window: int = 0):
        self.model, self.queries, self.window = model, queries, window

    def __call__(self) -> dict[str, float]:
        self.model.eval()
        gallery = self.model.everything(-1)
        histories = [np.array(q.history[-self.window :]) for q in self.queries]
        asked = owner_vectors(self.model, gallery, histories)
        self.model.train()
        ranked = nearest(
            asked.float().cpu().numpy(), gallery.float().cpu().numpy(), K, [q.history for q in self.queries]
        )
        figures = ranking_metrics(ranked, [q.targets for q in self.queries], K)
        return {name: float(figures[name].mean()) for name in (f"recall@{K}", f"ndcg@{K}")}


@torch.no_grad()
def owner_vectors(model: Any, gallery: torch.Tensor, histories: list[np.ndarray]) -> torch.Tensor:
    """(n, d) vectors of owners with these items; `gallery` are the vectors of all items. No history gives a zero row."""
    shown = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *histories]).astype(np.int64)).to(gallery.device)
    owner = np.repeat(np.arange(len(histories)), [len(h) for h in histories])
    return model.owners(shown, torch.from_numpy(owner).to(gallery.device), len(histories), gallery[shown])
