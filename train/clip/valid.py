"""Validation: do held-out saves come to the top, or, without a taste graph, do words find their picture?"""

import numpy as np
import torch

from navigator.contracts.signals import TASKS, Query, TasteSequence, leave_one_out, make_queries
from navigator.metrics import nearest, per_query
from navigator.recommend import history_means
from train.clip.draw import Drawer, Inputs, Side
from train.clip.objective import ClipObjective
from train.clip.world import ClipWorld

_BLOCK = 256
_HISTORY = 20


class Validation:
    """Called by the loop: figures by name, the first of which chooses the best step.

    Seen boards are asked for their validation item; of validation owners that training never saw, every item of a board
    is asked for from the others. The chosen figure is the mean of both, so that tuning cannot buy one with the other.
    """

    def __init__(self, objective: ClipObjective, drawer: Drawer):
        self.objective, self.drawer = objective, drawer
        taste = drawer.world.taste
        self.seen = _seen(taste.sequences)
        self.unseen = leave_one_out([s for s in taste.unseen if s.valid])
        valid, has = drawer.world.valid, drawer.world.has
        self.pairs = valid[has[valid, 0] & has[valid, 1]]

    def __bool__(self) -> bool:
        return bool(self.seen or self.unseen or len(self.pairs))

    def __call__(self) -> dict[str, float]:
        if not (self.seen or self.unseen):
            return self._words_to_pictures()
        world = self.drawer.world
        vectors = item_vectors(self.objective, self.drawer, np.arange(world.n))
        found = {
            name: ndcg(vectors, queries) for name, queries in (("seen", self.seen), ("unseen", self.unseen)) if queries
        }
        return {"ndcg@10": float(np.mean(list(found.values())))} | {f"ndcg@10_{k}": v for k, v in found.items()}

    def _words_to_pictures(self) -> dict[str, float]:
        world, rows = self.drawer.world, self.pairs
        parts = np.concatenate([values for values, _ in _blocks(self.objective, self.drawer, rows)])
        same = [np.flatnonzero(world.text_ids[rows] == own).tolist() for own in world.text_ids[rows]]
        best = nearest(parts[:, 1], parts[:, 0], 10)
        figures = per_query(best, same)
        first = np.mean([top[0] in own for top, own in zip(best, same, strict=True)])
        return {name: float(figures[name].mean()) for name in ("ndcg@10", "hr@10")} | {"hr@1": float(first)}


def ndcg(vectors: np.ndarray, queries: list[Query]) -> float:
    """Mean NDCG@10: query = mean of the latest 20 items of the history, all items ranked but the history."""
    shown = [q.history[-_HISTORY:] for q in queries]
    asked = history_means(vectors[[i for own in shown for i in own]], [len(own) for own in shown])
    ranked = nearest(asked, vectors, 10, [q.history for q in queries])
    return float(per_query(ranked, [q.targets for q in queries])["ndcg@10"].mean())


def item_vectors(objective: ClipObjective, drawer: Drawer, rows: np.ndarray) -> np.ndarray:
    """(len(rows), D) unit vectors of items with all their parts, as the exported encoder will make them."""
    with torch.inference_mode():
        return np.concatenate([
            objective.gate(*(torch.from_numpy(x).to(objective.encoder.device) for x in block)).cpu().numpy()
            for block in _blocks(objective, drawer, rows)
        ])  # fmt: skip


def parts_before(objective: ClipObjective, drawer: Drawer) -> np.ndarray:
    """(n, 2, D) float16: pictures and texts of all items as the towers give them now."""
    rows = np.arange(drawer.world.n)
    blocks = _blocks(objective, drawer, rows)
    return np.concatenate([values[:, :2].astype(np.float16) for values, _ in blocks])


def _blocks(objective: ClipObjective, drawer: Drawer, rows: np.ndarray):
    """(k, M, D) part vectors and (k, M) presence, block after block."""
    world, fusion = drawer.world, objective.config.fusion
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        shown = world.has[part].copy()
        shown[:, 2:] &= fusion
        titles = [world.titles[row] if fusion else world.titles[row][:0] for row in part]
        inputs: Inputs = drawer.inputs(Side(part, shown, titles), slice(0, len(part)), None)
        with torch.inference_mode():
            values, has = objective.part_vectors(inputs)
        yield values.float().cpu().numpy(), has.cpu().numpy()


def starting_basis(objective: ClipObjective, drawer: Drawer, world: ClipWorld, at_most: int = 4096) -> torch.Tensor:
    """(D, D) orthogonal: the principal directions (not centred) of training items as they are before tuning.

    Turned into them, the first k dimensions hold the best k-dimensional approximation of the untuned vectors.
    """
    rows = world.train[:: max(1, len(world.train) // at_most)]
    vectors = item_vectors(objective, drawer, rows)
    values, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    return torch.from_numpy(directions[:, np.argsort(-values)].T.astype(np.float32).copy())


def _seen(sequences: list[TasteSequence]) -> list[Query]:
    fed = {s.task for s in sequences if s.valid and s.items}
    return [query for task in TASKS if task in fed for query in make_queries(sequences, task, "valid")]
