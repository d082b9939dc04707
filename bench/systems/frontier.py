"""frontier:NAME: a hosted model asked to rank the candidates, as one system among those of `navigator-bench run`.

Without an endpoint and a key nothing is sent: the cost still follows from the token rule, quality and latency stay
null. With them, the content system finds the 20 candidates and the hosted model re-ranks them; a failed request is a
recorded miss, never a silent fallback to the content order. `navigator-bench frontier` asks the same with a limit of money,
rate limits and every answer kept.
"""

import asyncio
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from bench.cost import frontier_tokens, load_prices, model_price
from bench.frontier.answer import Failure
from bench.frontier.ask import Asker
from bench.frontier.client import Endpoint
from bench.frontier.items import Items
from bench.frontier.request import Form, build
from bench.systems.base import RequestError
from bench.systems.content import Content
from navigator.contracts.catalog import Catalog
from navigator.contracts.report import RequestRecord
from navigator.contracts.signals import Query

CANDIDATES = 20


@dataclass
class Frontier:
    """One hosted model. `records` collects a row for every request made while measuring quality."""

    model: str
    endpoint: Endpoint
    catalog: Catalog
    content: Content
    records: list[RequestRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._items = Items(self.catalog, load_prices().request.picture_px)
        self._asker = Asker(self.endpoint, {})
        self._loop = asyncio.Runner()  # one loop for all requests, so that connections are kept as a product would
        weakref.finalize(self, self._loop.close)

    @property
    def name(self) -> str:
        return f"frontier:{self.model}"

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        found, _ = self.content.recommend(queries, k)
        for row, query in zip(found, tqdm(queries, desc=self.name, unit="request"), strict=True):
            candidates = row[: min(CANDIDATES, k)]
            candidates = candidates[candidates >= 0]
            begun = time.perf_counter()
            latency_ms, error = None, None
            try:
                scores = self.rank_one(query.history, candidates.tolist())
                row[: candidates.size] = candidates[np.argsort(-scores, kind="stable")]
                latency_ms = (time.perf_counter() - begun) * 1000
            except RequestError as failure:
                row[:] = -1
                error = str(failure)
            self.records.append(
                RequestRecord(
                    system=self.name, request_id=query.query_id, phase="quality", n_history=len(query.history),
                    n_candidates=candidates.size, latency_ms=latency_ms, error=error,
                )
            )  # fmt: skip
        order = np.arange(found.shape[1], 0, -1, dtype=np.float64)
        return found, np.where(found >= 0, order, -np.inf)

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        history = history[-self.content.last :]
        shown, numbered = self._items.show(history), self._items.show(candidates)
        outcome = self._loop.run(
            self._asker.ask(build(self.model, self.endpoint.base_url, "", shown, numbered, "", Form()))
        )
        if outcome.ranking is None:
            raise Failure(outcome.kind or "", outcome.error or "")
        scores = -np.arange(len(candidates), dtype=np.float64) - len(candidates)
        scores[outcome.ranking] = len(candidates) - np.arange(len(outcome.ranking))
        return scores

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        if self.model not in load_prices().models:
            return None
        return sum(frontier_tokens(model_price(self.model), n_history, n_candidates))
