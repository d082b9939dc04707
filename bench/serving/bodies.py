"""The requests of each load, drawn from a catalogue: route and JSON bodies, none of them twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from navigator.contracts import Catalog, UserError

ROUTES = {
    "search": "/v1/search", "recommend": "/v1/recommend", "recommend-short": "/v1/recommend",
    "chat": "/v1/chat/completions",
}  # fmt: skip
CHAT_TOKENS = 24
BODIES = 20_000
_HISTORY = {"recommend": 20, "recommend-short": 1}


def write_bodies(catalog: Catalog, load: str, path: Path, seed: int) -> None:
    """`draw` to a file, one body a line."""
    path.write_text("\n".join(draw(catalog, load, seed)) + "\n")


def draw(catalog: Catalog, load: str, seed: int) -> list[str]:
    """JSON bodies in a fixed order of the seed; at most BODIES, fewer where the catalogue has not as many words."""
    rng = np.random.default_rng([seed, *load.encode()])
    if load == "search":
        drawn: Iterator[dict[str, object]] = ({"text": words} for words in _words(catalog, rng))
    elif load == "chat":
        drawn = (_turn(words) for words in _words(catalog, rng))
    else:
        drawn = _histories(catalog, rng, _HISTORY[load])
    return list(dict.fromkeys(json.dumps(body) for body in drawn))


def _words(catalog: Catalog, rng: np.random.Generator) -> Iterator[str]:
    rows = catalog.table("items", ["keywords"])["keywords"].to_pylist()
    words = sorted({keyword for keywords in rows for keyword in keywords or ()})
    if len(words) < 2:
        raise UserError(
            "the catalogue's items carry no keywords to draw words from; leave the loads search and chat out"
        )
    for _ in range(BODIES):
        yield " ".join(rng.choice(words, size=min(len(words), int(rng.integers(2, 4))), replace=False))


def _turn(words: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": f"show me {words}"}], "max_tokens": CHAT_TOKENS,
        "retrieval": {"mode": "always"},
    }  # fmt: skip


def _histories(catalog: Catalog, rng: np.random.Generator, longest: int) -> Iterator[dict[str, object]]:
    ids = np.array(catalog.item_ids)
    for _ in range(BODIES):
        yield {
            "history": rng.choice(ids, size=min(len(ids), int(rng.integers(1, longest + 1))), replace=False).tolist()
        }
