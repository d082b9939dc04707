"""The ways to rank one request's candidates, and what each took: one request a candidate, one row, a kept history.

Four ways lead to the same scores: one request a candidate (the reference), all as branches of one row, all as a continuation
of the history on a user's first visit, and the same on their return. "causal row" reads the tokens of the one row without a
mask, which says what the mask costs; its scores mean nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench.latency import TimedRequest
from navigator.recommend import Recommender

REFERENCE, ONE_PASS, FIRST, RETURN, CAUSAL = (
    "one by one", "one pass", "cached, first visit", "cached, return", "causal row"
)  # fmt: skip
_USER = "user"


@dataclass(frozen=True)
class Answer:
    """One way's answer to one request: its time, the tokens that the language model read, and (C,) scores."""

    seconds: float
    tokens: int
    scores: np.ndarray


def draw(recommender: Recommender, candidates: int, history: int, repeats: int, seed: int) -> list[TimedRequest]:
    """Requests of distinct items, drawn uniformly."""
    rng, known = np.random.default_rng(seed), len(recommender.vectors.ids)
    rows = [rng.choice(known, history + candidates, replace=False).tolist() for _ in range(repeats)]
    return [TimedRequest(tuple(row[:history]), tuple(row[history:])) for row in rows]


def answer(recommender: Recommender, requests: Sequence[TimedRequest]) -> list[dict[str, Answer]]:
    """Per request every way's answer, after a warm-up; the ways take turns, so that a busy moment falls on all of them."""
    _answer(recommender, TimedRequest(requests[0].history, requests[0].candidates[:2]))
    return [_answer(recommender, request) for request in tqdm(requests, desc="ranking", unit="request")]


def summary(name: str, answers: Sequence[dict[str, Answer]]) -> dict[str, Any]:
    """A way beside one by one; agreement is null where the scores mean nothing."""
    ratios = [by_way[REFERENCE].seconds / by_way[name].seconds for by_way in answers]
    found: dict[str, Any] = {
        "seconds": median(by_way[name].seconds for by_way in answers), "tokens": answers[0][name].tokens,
        "times_faster": median(ratios), "times_faster_range": [min(ratios), max(ratios)],
        "spearman": None, "reordered": None, "max_difference": None,
    }  # fmt: skip
    if name != CAUSAL:
        pairs = [(by_way[REFERENCE].scores, by_way[name].scores) for by_way in answers]
        found["spearman"] = min(spearman(a, b) for a, b in pairs)
        found["reordered"] = max(int((_ranks(a) != _ranks(b)).sum()) for a, b in pairs)
        found["max_difference"] = max(float(np.abs(a - b).max()) for a, b in pairs)
    return found


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two lists of scores; equal scores rank by their place."""
    n = len(a)
    return 1.0 - 6.0 * float(((_ranks(a) - _ranks(b)) ** 2).sum()) / (n * (n * n - 1))


def _ranks(scores: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(-scores, kind="stable"), kind="stable")


def _ways(recommender: Recommender, request: TimedRequest) -> dict[str, Callable[[], np.ndarray]]:
    """What each way runs, in this order: the first visit forgets what is kept, the return finds it."""
    shown, wanted = request.history, request.candidates

    def first() -> np.ndarray:
        recommender.prefixes.forget(_USER)
        return recommender.rank(shown, wanted, session=_USER)

    ways = {
        REFERENCE: lambda: np.concatenate([recommender.rank(shown, [item]) for item in wanted]),
        FIRST: first,
        RETURN: lambda: recommender.rank(shown, wanted, session=_USER),
    }
    if recommender.model.takes_layout:
        ways |= {ONE_PASS: lambda: recommender.rank(shown, wanted), CAUSAL: lambda: _causal(recommender, request)}
    return {name: ways[name] for name in (REFERENCE, ONE_PASS, FIRST, RETURN, CAUSAL) if name in ways}


def _causal(recommender: Recommender, request: TimedRequest) -> np.ndarray:
    """The same tokens as the one pass, each seeing all before it."""
    items = [*request.history, *request.candidates]
    inputs = recommender.processor.requests([len(request.history)], candidates=len(request.candidates))
    shown = {"input_ids": inputs["input_ids"], "image_grid_thw": inputs["image_grid_thw"]}
    shown["pixel_values"] = torch.from_numpy(recommender.pixels(items))
    with torch.inference_mode():
        hidden = recommender.model.read(**{name: value.to(recommender.device) for name, value in shown.items()})
    return hidden[0, -len(request.candidates) :, 0].float().cpu().numpy()


def _answer(recommender: Recommender, request: TimedRequest) -> dict[str, Answer]:
    n_history, n_candidates = len(request.history), len(request.candidates)
    whole = recommender.count_tokens(n_history, n_candidates)
    tokens = {REFERENCE: n_candidates * recommender.count_tokens(n_history, 1), ONE_PASS: whole, CAUSAL: whole}
    found = {}
    for name, run in _ways(recommender, request).items():
        before, begun = recommender.prefixes.tokens_read, time.perf_counter()
        scores = run()  # on the CPU when it returns, so an accelerator has finished
        seconds = time.perf_counter() - begun
        through_cache = recommender.prefixes.tokens_read - before
        found[name] = Answer(seconds, through_cache or tokens[name], scores)
    return found
