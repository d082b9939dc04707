"""What each side is asked with: histories in the whole space, texts alone in the space of their encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import navigator.texts
from bench.shadow.options import Options
from bench.shadow.sides import open_side
from bench.shadow.traffic import Request
from bench.systems.base import RequestError
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import BOARD_ITEMS, BOARDS, INTERACTIONS, ITEMS, REJECTS
from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise, write_vectors

IDS = ["a", "b", "c", "d", "e"]
CONTENT = np.array([[1, 0], [0.9, 0.4], [0, 1], [0.6, 0.8], [0, -1]], np.float32)
FACTORS = np.array([[0, 0], [2, 0], [2, 0], [0, 0], [0, 0]], np.float32)  # b and c are saved together


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five items (the store lacks the last) with two dimensions of content and two of graph factors; one word: "right"."""
    empty = {"boards": BOARDS, "board_items": BOARD_ITEMS, "interactions": INTERACTIONS, "rejects": REJECTS}
    rows = {name: schema.empty_table() for name, schema in empty.items()}
    nothing: list[Any] = [None] * 5
    rows["items"] = pa.table([IDS, IDS, nothing, nothing, nothing, nothing], schema=ITEMS)
    with publish(tmp_path / "catalog", "catalog", {}, {}) as work:
        for name, table in rows.items():
            pq.write_table(table, work.path / f"{name}.parquet")
    config = {"encoder": "refined", "content_encoder": "enc", "content_dim": 2, "normalised": True}
    with publish(tmp_path / "vectors", "vectors", config, {"graph": "g"}) as work:
        write_vectors(work.path, IDS[:4], normalise(np.hstack([CONTENT, FACTORS]))[:4].astype(np.float32))
    reads = lambda encoder, store: lambda texts: np.array([[1, 0, 0, 0]] * len(texts), np.float32)  # noqa: E731
    monkeypatch.setattr(navigator.texts, "text_vectors", reads)
    return tmp_path


def side(world: Path, encoder: str | None = None, graph: str | None = None, last: int = 20):
    options = Options(
        "-", str(world / "vectors"), world / "catalog", None, None, world / "out", world / "x", "next-item", "test", 0, 50,
        last, None, encoder, None, 2, 5, 20, 8, "cpu", 0,
    )  # fmt: skip
    return open_side("new", options, Catalog.open(world / "catalog"), graph)


def shown(found, history: str = "", text: str = "", k: int = 3) -> str:
    items, scores = found.answer(Request(Query("q", tuple(IDS.index(i) for i in history), (), text), k))
    assert (np.diff(scores) <= 0).all()
    return "".join(IDS[i] for i in items)


def test_a_text_alone_is_compared_with_content_and_not_with_factors(world):
    assert shown(side(world, "enc"), text="right") == "abd"  # whole vectors would say adb: b's length is its factors'


def test_a_history_is_compared_with_whole_vectors_and_never_shown(world):
    assert shown(side(world), "b", k=5) == "cad"  # by content alone a, d, c; e has no vector
    assert shown(side(world), "eb", k=5) == "cad"  # what has no vector tells nothing


def test_history_and_text_are_one_mean(world):
    whole = normalise(np.hstack([CONTENT, FACTORS]))[:4]
    query = whole[2] + np.array([1, 0, 0, 0])
    by_hand = [IDS[i] for i in np.argsort(-(whole @ query)) if i != 2]
    assert list(shown(side(world, "enc"), "c", "right", k=5)) == by_hand
    assert shown(side(world), "c", "right", k=5) == shown(side(world), "c", k=5)  # without an encoder nobody reads


def test_only_the_latest_items_ask(world):
    assert shown(side(world, last=1), "ab", k=1) == shown(side(world), "b", k=1) == "c"
    assert shown(side(world), "ac", k=1) == "b"


@pytest.mark.parametrize(
    "history, text, said",
    [
        ("", "", "no history, and no text"),
        ("e", "", "no item of the history has a vector"),
        ("", "right", "no history, and no encoder that reads the text"),
        ("abcd", "", "no item is left to show"),
    ],
)
def test_what_cannot_be_answered_says_why(world, history, text, said):
    with pytest.raises(RequestError, match=said):
        shown(side(world), history, text)


def test_vectors_that_may_know_what_another_graph_holds_out_are_refused_where_it_asks(world):
    assert side(world).missing == 1  # a log asks: whatever they were made with
    side(world, graph="g")
    with pytest.raises(UserError, match="were made with graph g, but other is given"):
        side(world, graph="other")
