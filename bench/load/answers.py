"""What the bench can serve: a swapped model, the content system, or a stand-in that sleeps.

A request is {"history": [item ids], "candidates": [item ids]}, its answer {"items": best first, "scores"}. The stand-in takes
any JSON. torch is imported only where a model is opened.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.latency import draw_requests
from bench.systems.base import System
from bench.systems.content import Content
from bench.systems.navigator_models import NavigatorSystem
from bench.systems.rows import CatalogVectors
from navigator.contracts import ItemVectors

SYSTEMS = ("swapped", "content", "sleep")
N_BODIES = 256


class BadRequest(Exception):
    """The body is not what this system reads; a server answers 400."""


@dataclass(frozen=True)
class Serving:
    """What is served and how, handed to the server process as JSON.

    Attributes:
        system: one of SYSTEMS.
        model, vectors: folders, "" for none.
        work_ms, spread: of the stand-in: mean and coefficient of variation of its sleep.
        workers: requests worked on at once.
        waiting: requests that may wait.
        max_history: latest history items that are read.
        device, dtype: of the model.
        seed: of the stand-in's sleeps.
    """

    system: str
    model: str
    vectors: str
    work_ms: float
    spread: float
    workers: int
    waiting: int
    max_history: int
    device: str
    dtype: str
    seed: int


def open_answers(serving: Serving) -> Callable[[bytes], bytes]:
    """From a request's body to its answer's body; may be called by several threads at once.

    Raises:
        UserError: a folder is missing, or of another kind.
    """
    if serving.system == "sleep":
        return _sleeper(serving)
    store = ItemVectors.open(serving.vectors)
    rows = CatalogVectors.align(store, store.ids, serving.system)
    return _ranker(_open_system(serving, store, rows), store.ids, store.index)


def draw_bodies(vectors: Path, seed: int) -> list[bytes]:
    """N_BODIES requests over a store's items, the same that `navigator-bench run` times (bench.latency)."""
    store = ItemVectors.open(vectors)

    def ids(rows: Sequence[int]) -> list[str]:
        return [store.ids[row] for row in rows]

    return [
        json.dumps({"history": ids(drawn.history), "candidates": ids(drawn.candidates)}).encode()
        for drawn in draw_requests(range(len(store.ids)), N_BODIES, seed)
    ]


def _open_system(serving: Serving, store: ItemVectors, rows: CatalogVectors) -> System:
    if serving.system == "content":
        return Content("content", rows, serving.max_history)
    from navigator.recommend import Recommender

    model = Recommender.open(serving.model, serving.vectors, serving.device, serving.dtype, serving.max_history)
    system = NavigatorSystem("swapped", model, rows, serving.max_history)
    first = draw_requests(range(len(store.ids)), 1, serving.seed)[0]
    system.rank_one(first.history, first.candidates)
    return system


def _ranker(system: System, ids: Sequence[str], index: dict[str, int]) -> Callable[[bytes], bytes]:
    def rank(body: bytes) -> bytes:
        history, candidates = _read(body, index)
        scores = system.rank_one(history, candidates)
        order = np.argsort(-scores, kind="stable")
        best = {"items": [ids[candidates[i]] for i in order], "scores": [float(scores[i]) for i in order]}
        return json.dumps(best).encode()

    return rank


def _read(body: bytes, index: dict[str, int]) -> tuple[list[int], list[int]]:
    """Rows of a request's items.

    Raises:
        BadRequest: not JSON, a list is missing or empty, or an item is unknown.
    """
    try:
        asked: Any = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    rows = []
    for name in ("history", "candidates"):
        items = asked.get(name) if isinstance(asked, dict) else None
        if not isinstance(items, list) or not items:
            raise BadRequest(f'"{name}" must be a list of at least one item id')
        unknown = next((item for item in items if item not in index), None)
        if unknown is not None:
            raise BadRequest(f'"{name}" has {unknown!r}, which is no item of the store')
        rows.append([index[item] for item in items])
    return rows[0], rows[1]


def _sleeper(serving: Serving) -> Callable[[bytes], bytes]:
    """Sleeps of mean `work_ms`, gamma distributed, drawn with the seed in the order in which requests are taken up."""
    rng, lock = np.random.default_rng(serving.seed), threading.Lock()
    shape = 1 / serving.spread**2 if serving.spread else 0.0

    def answer(body: bytes) -> bytes:
        with lock:
            drawn = rng.gamma(shape, 1 / shape) if shape else 1.0
        time.sleep(serving.work_ms * drawn / 1000)
        return b"{}"

    return answer
