"""A tiny world of boards and users, and training on it by the loop alone."""

from pathlib import Path

import numpy as np
import torch

from navigator.contracts import ItemVectors
from navigator.contracts.signals import TasteSequence
from navigator.recommend import Recommender
from navigator.swap import swap
from train.loop import LoopConfig, make_accelerator, training_loop
from train.objective import Objective, ObjectiveConfig
from train.parts import split_parts
from train.stage import ndcg
from train.tasks import Shape, check_tasks
from train.world import World

DIM, ITEMS = 6, 30


SHAPE = Shape(max_history=4, asks=3, candidates=5)


TASKS = {"board-completion": 0.4, "next-item": 0.2, "ranking": 0.2, "describe": 0.2}


LOOP = LoopConfig(steps=6, batch_size=4, warmup=1, precision="no", save_every=2, eval_every=0, seed=3)


def make_world(backbone: Path) -> World:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ITEMS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model, processor = swap(str(backbone), DIM, "enc")
    store = ItemVectors([f"i{n}" for n in range(ITEMS)], vectors, "enc", True)
    boards = [
        TasteSequence("board-completion", f"b{n}", "", tuple(range(3 * n, 3 * n + 5)), test=(29,)) for n in range(6)
    ]
    users = [
        TasteSequence("next-item", f"u{n}", "", tuple(int(i) for i in rng.permutation(25)[:6]), (28,)) for n in range(4)
    ]
    hard = rng.integers(0, ITEMS, size=(ITEMS, 5))
    return World(Recommender(model, processor, store), ["red flag", "blue cat of", ""] * 10, boards + users, hard)


def train_all(
    stock: Path, work: Path, loop: LoopConfig = LOOP, stop_at: int | None = None, language: str = "lora",
    validate: bool = False, prepare=None, checkpointing: bool = False, **config,
):  # fmt: skip
    """Train a fresh world in `work`; `stop_at` interrupts before that step; `prepare` may change the accelerator."""
    world = make_world(stock)
    accelerator = make_accelerator(loop)
    if prepare is not None:
        prepare(accelerator)
    torch.manual_seed(11)
    parts, lora = split_parts(world.recommender.model, language, 2)
    module = Objective(world, ObjectiveConfig(TASKS, candidates=4, **config))
    weights = check_tasks(TASKS, world)
    world.recommender.model.train()

    def batch(step: int):
        if step == stop_at:
            raise KeyboardInterrupt
        return module.draw(weights, loop.batch_size, loop.seed, step)

    queries = world.valid_queries()
    result = training_loop(
        accelerator, module, parts, batch, loop, work, (lambda: ndcg(world, queries)) if validate else None
    )
    return world, parts, result, lora


def train(*arguments, **named):
    return train_all(*arguments, **named)[:3]


def weights_of(parts) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for part in parts.values() for name, p in part.items()}
