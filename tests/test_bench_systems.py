"""Systems on hand-made worlds, the timing loop on systems that misbehave, and what a thousand requests cost."""

from collections.abc import Sequence

import numpy as np
import pytest

from bench.cost import Machine, machine_cost, model_price
from bench.device import peak_memory
from bench.latency import TimedRequest, draw_requests, latency, measure, throughput_rps
from bench.systems.base import RequestError
from bench.systems.content import Content
from bench.systems.navigator_models import NavigatorSystem
from bench.systems.rows import CatalogVectors
from navigator.contracts import ItemVectors, UserError
from navigator.contracts.signals import Query

IDS = ["a", "b", "c", "d", "e"]
# The store has its own order and lacks "e".
STORE = ItemVectors(["d", "c", "b", "a"], np.array([[0, 2], [1, 1], [1, 0], [3, 0]], np.float32), "enc", False)


def aligned() -> CatalogVectors:
    return CatalogVectors.align(STORE, IDS, "content")


def test_vectors_are_matched_by_id_and_missing_items_are_never_recommended() -> None:
    vectors = aligned()
    assert vectors.row.tolist() == [3, 2, 1, 0, -1] and vectors.missing == 1
    indices, _ = Content("content", vectors, last=20).recommend([Query("q", (0,), (1,))], 10)
    assert indices[0].tolist() == [1, 2, 3, -1, -1]


def test_vectors_of_another_catalogue_are_refused() -> None:
    with pytest.raises(UserError, match=r"2 items that the catalogue lacks.*'c'"):
        CatalogVectors.align(STORE, ["a", "b"], "content")


def test_content_asks_with_the_mean_direction_of_the_last_items() -> None:
    system = Content("content", aligned(), last=2)
    expected = 1 / np.sqrt(2)
    assert system.rank_one([3, 0, 3], [1, 3, 2]) == pytest.approx([expected, expected, 1.0])
    assert system.rank_one([0, 3, 3], [1]) == pytest.approx([0.0])


class FakeModel:
    """Answers with the mean of the store's rows and remembers what it was asked."""

    vectors = STORE

    def __init__(self) -> None:
        self.asked: list[tuple[list[list[int]], list[str]]] = []

    def query_vectors(self, histories: Sequence[Sequence[int]], titles: Sequence[str]) -> np.ndarray:
        self.asked.append(([list(h) for h in histories], list(titles)))
        return np.stack([STORE.float32(np.array(h)).mean(axis=0) for h in histories])

    def rank(self, history: Sequence[int], candidates: Sequence[int], title: str = "") -> np.ndarray:
        return np.array(candidates, np.float32)

    def count_tokens(self, n_history: int, n_candidates: int) -> int:
        return n_history + 2 * n_candidates


def test_a_model_is_asked_in_its_own_rows_and_unknown_histories_are_misses() -> None:
    model = FakeModel()
    system = NavigatorSystem("swapped", model, aligned(), last=1)
    queries = [Query("x", (3, 4, 0), (1,), "cats"), Query("y", (4,), (1,))]
    indices, _ = system.recommend(queries, 3)
    assert model.asked == [([[3]], ["cats"])]
    assert indices.tolist() == [[1, 2, -1], [-1, -1, -1]]
    assert system.rank_one([0], [0, 3]).tolist() == [3, 0]
    assert system.tokens(20, 20) == 41


def test_titles_can_be_kept_from_the_model() -> None:
    model = FakeModel()
    NavigatorSystem("swapped", model, aligned(), last=5, titles=False).recommend([Query("x", (0,), (1,), "cats")], 3)
    assert model.asked[0][1] == [""]


class Clockwork:
    """A system that fails on every second request."""

    def __init__(self, name: str, fails: bool = False) -> None:
        self.name, self.fails, self.calls = name, fails, 0

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("timing ranks; it asks for no recommendations")

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        self.calls += 1
        if self.fails:
            raise RequestError("refused")
        return np.zeros(len(candidates))

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        return 7


def test_every_request_goes_to_every_system_in_turn() -> None:
    systems = [Clockwork("a"), Clockwork("b")]
    records = measure(systems, draw_requests(range(100), 6, seed=0), warm_up=2)
    assert [r.system for r in records] == ["a", "b", "b", "a"] * 3
    assert [s.calls for s in systems] == [8, 8]
    assert all(r.latency_ms is not None and r.latency_ms >= 0 and r.tokens == 7 for r in records)


def test_failed_requests_are_recorded_and_do_not_look_fast() -> None:
    records = measure([Clockwork("a", fails=True)], [TimedRequest((0,), (1,))] * 3, warm_up=1)
    assert [(r.latency_ms, r.error) for r in records] == [(None, "refused")] * 3
    assert latency(records) is None and throughput_rps(records) is None
    assert machine_cost(None, Machine(usd_per_hour=1, what="x")) == (None, [])


def test_requests_are_seeded_distinct_items_and_shrink_with_the_pool() -> None:
    first = draw_requests(range(100), 3, seed=1)
    assert first == draw_requests(range(100), 3, seed=1) != draw_requests(range(100), 3, seed=2)
    assert all(len(r.history) == len(r.candidates) == 20 and len({*r.history, *r.candidates}) == 40 for r in first)
    assert [(len(r.history), len(r.candidates)) for r in draw_requests(range(5), 1, 0)] == [(2, 3)]
    with pytest.raises(UserError, match="at least 2 items"):
        draw_requests([0], 1, 0)


def test_peak_memory_sees_an_array_that_is_gone_again() -> None:
    with peak_memory() as peak:
        held = np.ones(64 * 2**17)  # 64 MiB
        del held
    if peak.mb is None:
        pytest.skip("this machine does not let a process reset its own high-water mark")
    assert 60 < peak.mb < 200


def test_costs_by_hand() -> None:
    usd, lines = machine_cost(10.0, Machine(usd_per_hour=0.36, what="test"))
    assert usd == pytest.approx(0.01) and "US$ 0.36 an hour (test)" in lines[0]
    with pytest.raises(UserError, match=r"'gpt-9'.*gpt-5-mini"):
        model_price("gpt-9")
