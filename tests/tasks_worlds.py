"""Four users, three boards and forty items of content and graph factors: what the tests of training's tasks share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from navigator.contracts import ItemVectors, publish
from navigator.contracts.signals import TasteSequence
from navigator.contracts.vectors import normalise, write_vectors
from navigator.recommend import Recommender
from navigator.swap import swap
from train.objective import ObjectiveConfig
from train.tasks import Shape
from train.world import World

CONTENT, DIM, ITEMS, FOLDS = 6, 8, 40, 2


SHAPE = Shape(max_history=4, asks=3, candidates=8)


CONFIG = ObjectiveConfig(max_history=4, asks=3, candidates=8, row_tokens=64, folds=FOLDS)


RETRIEVAL = ("next-item", "board-completion", "board-title", "text-query")


USERS = [TasteSequence("next-item", f"u{n}", "", tuple(range(7 * n, 7 * n + 7)), (), (39,)) for n in range(4)]


BOARDS = [
    TasteSequence("board-completion", f"b{n}", title, (*range(28 + 4 * n, 32 + 4 * n), n, 9 + n), (38,))
    for n, title in enumerate(["red flag", "blue cat"])
]


PLAIN = TasteSequence("board-completion", "b2", " ", (3, 12, 21))


NEW = (36, 37, 38, 39)  # nobody saved them in training


def told(texts: Sequence[str]) -> np.ndarray:
    """A text encoder: of the content alone, another vector for every text."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=CONTENT) for text in texts]
    return np.pad(normalise(np.array(rows)), ((0, 0), (0, DIM - CONTENT))).astype(np.float32)


def text_of(item: int) -> str:
    """Every fifth has none; 1 and 2 read the same, of the others each has its own."""
    return "" if item % 5 == 0 else f"red flag of {'x' * 3 if item in (1, 2) else 'x' * (item + 4)} cat user Board:"


@pytest.fixture(scope="session")
def task_store(tmp_path_factory) -> ItemVectors:
    """Refined vectors: content and graph factors."""
    values = np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32)
    content, factors = normalise(values[:, :CONTENT]), normalise(values[:, CONTENT:])
    recipe = {"content_encoder": "eyes", "content_dim": CONTENT, "graph_weight": 1.0}
    out = tmp_path_factory.mktemp("store") / "vectors"
    with publish(out, "vectors", {"encoder": "enc", "normalised": True, **recipe}, {}) as work:
        write_vectors(work.path, [f"i{n}" for n in range(ITEMS)], normalise(np.concatenate([content, factors], axis=1)))
    return ItemVectors.open(out)


def make_world(stock: Path, store: ItemVectors, trained: bool = False) -> World:
    """Four users, three boards (one without a title); `trained` gives everything that starts at zero another value."""
    model, processor = swap(str(stock), DIM, "enc", content_dim=CONTENT)
    if trained:
        torch.manual_seed(5)
        with torch.no_grad():
            for parameter in (
                *model.retrieval_head.parameters(), *model.ranking_head.parameters(), *model.query_start.parameters()
            ):  # fmt: skip
                parameter.normal_(std=0.5)
    hard = np.random.default_rng(1).integers(0, ITEMS, size=(ITEMS, 6))
    shown = {user.owner: [*user.items, 35, 36] for user in USERS}  # a log of impressions may hold what was saved later
    recommender = Recommender(model, processor, store, SHAPE.max_history, told)
    return World(recommender, [text_of(n) for n in range(ITEMS)], [*USERS, *BOARDS, PLAIN], hard, shown)


@pytest.fixture(scope="module")
def task_world(stock: Path, task_store: ItemVectors) -> World:
    return make_world(stock, task_store)


@pytest.fixture(scope="module")
def trained_task_world(stock: Path, task_store: ItemVectors) -> World:
    return make_world(stock, task_store, trained=True)
