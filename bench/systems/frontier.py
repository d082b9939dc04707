"""frontier:NAME: a hosted model asked to rank the candidates, over any OpenAI-compatible /chat/completions endpoint.

Without an endpoint and a key nothing is sent: the cost still follows from the token rule, quality and latency stay
null. With them, the content system finds the 20 candidates and the hosted model re-ranks them; a failed request is a
recorded miss, never a silent fallback to the content order.
"""

import base64
import io
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from tqdm import tqdm

from bench.cost import frontier_tokens, load_prices, model_price
from bench.systems.base import RequestError
from bench.systems.content import Content
from navigator.contracts.catalog import Catalog
from navigator.contracts.report import RequestRecord
from navigator.contracts.signals import Query

KEY_VARIABLE = "NAVIGATOR_FRONTIER_KEY"
CANDIDATES = 20
_PROMPT = (
    "The first pictures were saved together by one person. After them come {n} numbered candidates. Order the "
    "candidates by how likely this person saves them next. Answer with the {n} numbers only, best first, separated "
    "by commas."
)


@dataclass(frozen=True)
class Endpoint:
    """Where requests go; `base_url` ends before /chat/completions."""

    base_url: str
    key: str
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Frontier:
    """One hosted model. `records` collects a row for every request made while measuring quality."""

    model: str
    endpoint: Endpoint
    catalog: Catalog
    content: Content
    records: list[RequestRecord] = field(default_factory=list)

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
        answer = self._ask(history[-self.content.last :], candidates)
        named = list(dict.fromkeys(int(n) - 1 for n in re.findall(r"\d+", answer)))
        order = [n for n in named if 0 <= n < len(candidates)]
        if not order:
            raise RequestError(f"the answer names no candidate: {answer[:80]!r}")
        scores = -np.arange(len(candidates), dtype=np.float64) - len(candidates)
        scores[order] = len(candidates) - np.arange(len(order))
        return scores

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        if self.model not in load_prices().models:
            return None
        return sum(frontier_tokens(model_price(self.model), n_history, n_candidates))

    def _ask(self, history: Sequence[int], candidates: Sequence[int]) -> str:
        content = [*self._parts(history, "saved"), {"type": "text", "text": _PROMPT.format(n=len(candidates))}]
        content += self._parts(candidates, "candidate")
        body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": content}]}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.endpoint.key}"}
        url = self.endpoint.base_url.rstrip("/") + "/chat/completions"
        try:
            request = urllib.request.Request(url, body, headers)
            with urllib.request.urlopen(request, timeout=self.endpoint.timeout_s) as response:
                return str(json.load(response)["choices"][0]["message"]["content"])
        except (OSError, urllib.error.URLError) as error:
            raise RequestError(f"{type(error).__name__}: {error}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise RequestError(f"unreadable answer ({type(error).__name__}: {error})") from error

    def _parts(self, items: Sequence[int], word: str) -> list[dict]:
        """A label and a picture an item; an item without a picture is only labelled."""
        ids = [self.catalog.item_ids[i] for i in items]
        pictures = self.catalog.images(ids)
        parts: list[dict] = []
        for number, item_id in enumerate(ids, start=1):
            parts.append({"type": "text", "text": f"{word} {number}"})
            if item_id in pictures:
                url = "data:image/jpeg;base64," + _jpeg(pictures[item_id], load_prices().request.picture_px)
                parts.append({"type": "image_url", "image_url": {"url": url}})
        return parts


def _jpeg(picture: bytes, px: int) -> str:
    """The picture fitted into px x px on white, as base64 JPEG."""
    with Image.open(io.BytesIO(picture)) as opened:
        shown = opened.convert("RGBA")
    shown.thumbnail((px, px))
    page = Image.new("RGB", shown.size, "white")
    page.paste(shown, mask=shown.getchannel("A"))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
