"""What the tests of train.prefer share: a world of two users and a board, pairs as sets, graded rows."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from navigator.contracts import ItemVectors
from navigator.contracts.signals import TasteSequence
from navigator.recommend import Recommender
from navigator.swap import swap
from train.prefer.config import PreferConfig
from train.world import World

needs_trl = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="needs TRL: pip install 'navigator[prefer]'"
)


DIM, ITEMS = 6, 30


ITEM_INDEX = {f"i{n}": n for n in range(ITEMS)}


USERS = [
    TasteSequence("next-item", "ann", "", (0, 1, 2), (3,), (4,)),  # shown 10, 11
    TasteSequence("next-item", "bob", "", (5, 6), (), (7,)),  # shown 0, 12
    TasteSequence("next-item", "cat", "", (8, 9), (), ()),  # shown nothing
]


BOARD = TasteSequence("board-completion", "b", "red", (0, 1, 2), (), (3,))


def make_world(stock: Path | None = None, impressions: bool = True) -> World:
    """Three users and a board; item 13 is the hard negative of all, item 1 of items 0 and 2 as well."""
    recommender = None
    if stock is not None:
        vectors = np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        model, processor = swap(str(stock), DIM, "enc")
        recommender = Recommender(model, processor, ItemVectors(list(ITEM_INDEX), vectors, "enc", True))
    hard = np.full((ITEMS, 2), -1)
    hard[:, 0], hard[[0, 2], 1] = 13, 1
    shown = {"ann": [10, 11], "bob": [0, 12]} if impressions else {}
    return World(recommender, ["red flag"] * ITEMS, [BOARD, *USERS], hard, shown)  # type: ignore[arg-type]


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.write_text("\n".join(",".join(row[:4]) for row in [("board_title", "history", "item", "grade"), *rows]) + "\n")
    return path


def trl_loss(model, **config):
    from train.prefer.trainer import ItemDPO

    return ItemDPO(model, PreferConfig(**config), torch.device("cpu"))
