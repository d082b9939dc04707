"""Owners of two tastes who share no item, small settings, and plain training on them."""

import numpy as np
import torch

from train.gnn.config import RATES, GnnConfig
from train.gnn.draw import Drawer
from train.gnn.objective import GnnObjective
from train.gnn.world import GnnWorld, Owners
from train.loop import LoopConfig

N = 40


LOOP = LoopConfig(steps=4, batch_size=8, warmup=1, precision="no", save_every=2, eval_every=2, learning_rates=RATES)


SMALL = GnnConfig(dim=8, folds=2, refresh=2, negatives=12, walks=50, width=16, heads=2, top_items=4, top_contexts=2)


def two_tastes(n_owners: int = 60, seed: int = 0) -> GnnWorld:
    """Owners of odd number save odd items, the others even ones; items 38 and 39 have never been saved."""
    rng = np.random.default_rng(seed)
    saves = [np.sort(rng.choice(np.arange(o % 2, N - 2, 2), 3 + o % 5, replace=False)) for o in range(n_owners)]
    indptr = np.concatenate([[0], np.cumsum([len(s) for s in saves])])
    first = {"board-completion": 0, "next-item": n_owners // 2, "end": n_owners}
    owners = Owners([f"o{i}" for i in range(n_owners)], indptr, np.concatenate(saves), first)
    return GnnWorld(N, owners, None, None, [])


def learn(world: GnnWorld, model, config: GnnConfig, steps: int = 60) -> None:
    objective, drawer = GnnObjective(model, config.temperature), Drawer(world, config, 30, steps, 0)
    optimizer = torch.optim.Adam(objective.parameters(), 0.02)
    for step in range(steps):
        batch = drawer(step)
        optimizer.zero_grad()
        objective(batch, 0, len(batch.examples)).backward()
        optimizer.step()
