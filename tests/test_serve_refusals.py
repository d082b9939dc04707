"""What the server does not answer: with which status and words, and that it goes on; deadlines, a full line, the end."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from navigator.serve.engine import Engine
from serve_worlds import World, client_of, data_url, service_of

SEARCH, RECOMMEND, RANK, EMBED = "/v1/search", "/v1/recommend", "/v1/rank", "/v1/embeddings"


@pytest.fixture(scope="module")
def client(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(service_of(engine), tmp_path_factory.mktemp("door")) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        (SEARCH, {}, 422, "invalid_field", None),
        (SEARCH, {"text": "a", "item": "i00"}, 422, "invalid_field", None),
        (SEARCH, {"text": "   "}, 422, "invalid_field", "text"),
        (SEARCH, {"text": "a", "k": 0}, 422, "invalid_field", "k"),
        (SEARCH, {"text": "a", "k": "5"}, 422, "invalid_field", "k"),
        (SEARCH, {"text": "a", "kk": 5}, 422, "invalid_field", "kk"),
        (SEARCH, {"item": "nobody"}, 404, "item_not_found", "item"),
        (SEARCH, {"text": "a", "board": "nobody"}, 404, "not_found", None),
        (SEARCH, {"text": "a", "keyword": "nothing"}, 404, "not_found", None),
        (SEARCH, {"image": "http://127.0.0.1/x.png"}, 400, "no_fetching", "image"),
        (SEARCH, {"image": data_url()[:90]}, 400, "picture_unreadable", "image"),
        (RECOMMEND, {}, 422, "invalid_field", None),
        (RECOMMEND, {"history": ["nobody"]}, 404, "not_found", None),
        (RECOMMEND, {"history": [7]}, 422, "invalid_field", "history.0"),
        (RECOMMEND, {"history": ["i00"], "k": 100}, 400, "invalid_request", None),
        (RANK, {"history": ["i00"], "candidates": []}, 422, "invalid_field", "candidates"),
        (RANK, {"history": ["i00"], "candidates": ["i01", "i01"]}, 422, "invalid_field", None),
        (EMBED, {"input": []}, 422, "invalid_field", None),
        (EMBED, {"input": "a", "dimensions": 17}, 400, "too_many_dimensions", "dimensions"),
        (EMBED, {"input": [{"type": "item", "item": "nobody"}]}, 404, "item_not_found", "input"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_said_in_openais_words(
    client: TestClient, path: str, body: dict[str, Any], status: int, code: str, param: str | None
):
    answer = client.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), answer.text
    if param is not None:
        assert error["param"] == param
    assert error["type"] == "invalid_request_error" and error["message"] and "Traceback" not in answer.text
    assert answer.headers["x-navigator-release"] == "v1"


def test_what_is_no_json_and_what_is_no_path(client: TestClient):
    answer = client.post(SEARCH, content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    answer = client.post(SEARCH, content=b'{"text": "a"}', headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_json")
    answer = client.post(EMBED, json={"input": [[1, 2]]})
    assert answer.status_code == 422 and "constrained" not in answer.text
    assert client.get("/v1/nothing").json()["error"]["code"] == "no_such_path"
    assert client.get(SEARCH).status_code == 405
    assert client.post("/v1/events", json={"events": [{"kind": "save"}]}).status_code == 503  # started without a store


class Slow:
    """In place of Engine.search: waits for the test, then refuses, so that no model is needed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.gate, self.begun, self.sizes = threading.Event(), threading.Semaphore(0), []
        monkeypatch.setattr(Engine, "search", self.search)

    def search(self, asked: Sequence[Any]) -> list[Any]:
        from navigator.refusal import Refusal

        self.sizes.append(len(asked))
        self.begun.release()
        assert self.gate.wait(20)
        return [Refusal(418, "teapot", "done") for _ in asked]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow(monkeypatch)
    monkeypatch.setattr(Engine, "search", lambda engine, asked: made.search(asked))
    return made


def post(client: TestClient, timeout_ms: float | None = None):
    return client.post(SEARCH, json={"text": "a"}, headers={"X-Timeout-Ms": str(timeout_ms)} if timeout_ms else {})


def until_waiting(service, n: int) -> None:
    end = time.monotonic() + 20
    while service.lines["search"].depth < n:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_full_line_is_429_with_retry_after(engine: Engine, slow: Slow, tmp_path: Path):
    service = service_of(engine, batch_size=1, queue=1)
    with client_of(service, tmp_path) as client, ThreadPoolExecutor(2) as others:
        first = others.submit(post, client)
        assert slow.begun.acquire(timeout=20)
        second = others.submit(post, client)
        until_waiting(service, 1)
        full = post(client)
        slow.gate.set()
        assert [first.result().status_code, second.result().status_code] == [418, 418]
    assert (full.status_code, full.json()["error"]["type"]) == (429, "rate_limit_error")
    assert int(full.headers["retry-after"]) >= 1 and slow.sizes == [1, 1]


def test_a_deadline_is_504_and_whoever_missed_it_is_not_worked_on(engine: Engine, slow: Slow, tmp_path: Path):
    service = service_of(engine, batch_size=1)
    with client_of(service, tmp_path) as client, ThreadPoolExecutor(1) as other:
        first = other.submit(post, client)
        assert slow.begun.acquire(timeout=20)
        late = post(client, timeout_ms=30)
        slow.gate.set()
        assert first.result().status_code == 418
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline") and slow.sizes == [1]


@pytest.mark.parametrize("given", ["0", "-5", "nan", "inf", "soon", "1e99"])
def test_a_deadline_that_is_none_is_refused(client: TestClient, given: str):
    answer = client.post(SEARCH, json={"text": "a"}, headers={"X-Timeout-Ms": given})
    assert answer.status_code == 422 and "x-timeout-ms" in answer.json()["error"]["param"].lower()


def test_what_nobody_foresaw_is_500_without_a_trace_and_the_server_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def broken(*_: Any) -> None:
        raise KeyError("secret detail of the code")

    monkeypatch.setattr(Engine, "search", broken)
    with client_of(service_of(engine), tmp_path) as client:
        answer = post(client)
        assert client.post(RECOMMEND, json={"history": ["i00"]}).status_code == 200
    assert answer.status_code == 500 and answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text and "secret" in caplog.text


def test_a_server_that_stops_finishes_what_is_inside_and_takes_no_more(engine: Engine, slow: Slow, tmp_path: Path):
    service = service_of(engine)
    with client_of(service, tmp_path) as client, ThreadPoolExecutor(2) as others:
        inside = others.submit(post, client)
        assert slow.begun.acquire(timeout=20)
        drained = others.submit(service.drain, 20.0)
        while not service.draining:
            time.sleep(0.002)
        ready, alive = client.get("/readyz"), client.get("/healthz")
        assert (ready.status_code, ready.json()["error"]["code"], alive.status_code) == (503, "stopping", 200)
        while not service.lines["search"]._closing:
            time.sleep(0.002)
        refused = post(client)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        assert int(refused.headers["retry-after"]) >= 1 and not drained.done()
        slow.gate.set()
        assert inside.result().status_code == 418
        drained.result(20)


def test_a_release_takes_over_between_batches_and_every_answer_names_the_one_that_gave_it(
    world: World, engine: Engine, tmp_path: Path
):
    service, other = service_of(engine), world.engine("v2")
    with client_of(service, tmp_path) as client, ThreadPoolExecutor(4) as callers:
        stop = threading.Event()

        def call(_: int) -> list[str]:
            seen = []
            while not stop.is_set():
                answer = post(client)
                assert answer.status_code == 200
                assert answer.headers["x-navigator-release"] == answer.json()["release"]
                seen.append(answer.json()["release"])
            return seen

        running = [callers.submit(call, n) for n in range(4)]
        for _ in range(6):
            time.sleep(0.05)
            service.use(other if service.engine is engine else engine)
        stop.set()
        seen = [release for one in running for release in one.result()]
        assert set(seen) == {"v1", "v2"}
        service.use(other)
        assert post(client).json()["release"] == client.get("/v1/release").json()["release"] == "v2"
        page = client.get("/metrics").text
    assert 'navigator_release_info{release="v2"} 1.0' in page and 'release="v1"' not in page
