"""Requests without a pause while releases are promoted and rolled back: none fails, each is one release's alone."""

import gc
import json
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import uvicorn

from bench.cutover.ask import Client, Question, Reply, alike
from bench.cutover.command import cutover
from bench.cutover.run import summary
from navigator.contracts import UserError
from navigator.model_commands import index as index_command
from navigator.release.live import promote_release, read_live
from navigator.release.parts import Sources, create_release
from navigator.release.store import Release
from navigator.release.watch import LiveRelease, Watcher
from navigator.serve.app import build_app
from navigator.serve.door.options import DoorOptions
from navigator.serve.engine import Engine
from navigator.serve.service import Service
from release_worlds import other_vectors, shadow_report


@pytest.fixture
def releases(made_of: Sources, tmp_path: Path) -> Path:
    """r1, which is live, and r2 of the same model over other vectors, with the report that lets r2 follow."""
    root = tmp_path / "root"
    create_release(root, made_of)
    other_vectors(made_of.vectors, made_of.catalog)
    index_command(made_of.vectors, made_of.index)
    create_release(root, made_of)
    promote_release(root, "r1")
    shadow_report(tmp_path / "shadow", Release.read(root, "r1"), Release.read(root, "r2"))
    return root


def open_release(live: LiveRelease) -> Engine:
    return Engine.open(live.name, live.model, live.index, live.vectors, live.catalog, live.encoder, device="cpu")


@pytest.fixture
def service(releases: Path) -> Iterator[Service]:
    service = Service.following(Watcher(releases, open_release, poll_s=0.01))
    yield service
    service.drain(5)


@pytest.fixture
def url(service: Service, tmp_path: Path) -> Iterator[str]:
    """Of a server on loopback, stopped afterwards."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        build_app(service, DoorOptions(per_minute=0, audit=tmp_path / "audit.jsonl")),
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def test_no_answer_fails_or_is_of_two_releases(releases: Path, url: str, tmp_path: Path):
    found = cutover(releases, "r2", url, tmp_path / "shadow", requests=200, clients=4, times=2, questions=16)
    assert {what: found[what] for what in ("failed", "misnamed", "mixed", "exit_code")} == {
        "failed": 0, "misnamed": 0, "mixed": 0, "exit_code": 0
    }, found["examples"]  # fmt: skip
    assert (
        (found["questions"], found["answered_alike"]) == (16, 0) and found["requests"] >= 200 and found["switches"] == 4
    )
    assert set(found["by_release"]) == {"r1", "r2"} and sum(found["by_release"].values()) == found["requests"]
    live = read_live(releases)
    assert live is not None and (live.name, live.change) == ("r1", 7)


def test_what_is_wrong_with_answers_is_counted():
    def reply(release: str, said: str, header: str = "", failure: str | None = None) -> Reply:
        return Reply(0, failure, header or release, release, {"results": [said]}, 1.0, 5.0)

    alone = {"r1": [reply("r1", "a")], "r2": [reply("r2", "b")]}
    good = [reply("r1", "a"), reply("r2", "b")]
    assert summary(good, alone, [])["exit_code"] == 0
    wrong = [reply("r1", "b"), reply("r2", "b", "r1"), reply("r3", "a"), reply("r1", "a", failure="503: x")]
    found = summary([*good, *wrong], alone, [(0.9, 1.1)])
    assert (found["requests"], found["failed"], found["misnamed"], found["mixed"], found["exit_code"]) == (
        6,
        1,
        2,
        1,
        1,
    )
    assert found["examples"]["mixed"] == ["question 0 by r1"] and found["ms_otherwise"] is None
    assert found["ms_while_opening"]["n"] == 5


def test_two_releases_that_answer_alike_prove_nothing(releases: Path, url: str, made_of: Sources):
    model, vectors, index = (releases / "r1" / part for part in ("model", "vectors", "index"))
    create_release(releases, Sources(model, vectors, index, made_of.catalog))
    with pytest.raises(UserError, match="r1 and r3 answer all 8 questions alike"):
        cutover(releases, "r3", url, requests=10, questions=8)
    with pytest.raises(UserError, match=r"live in .* is r1; give the name of another release"):
        cutover(releases, "r1", url)
    with pytest.raises(UserError, match="clients is 0"):
        cutover(releases, "r3", url, clients=0)


def test_a_refusal_names_its_release_and_a_release_that_cannot_be_opened_is_told(
    releases: Path, url: str, service: Service, tmp_path: Path
):
    with closing(Client(url)) as client:
        _check_told(client, releases, service, tmp_path)


def _check_told(client: Client, releases: Path, service: Service, tmp_path: Path) -> None:
    reply = client.ask(0, Question("/v1/search", {"item": "nobody"}))
    assert reply.failure is not None and reply.failure.startswith("404") and reply.header == "r1"
    promote_release(releases, "r2", tmp_path / "shadow")
    (releases / "r2" / "index").rename(releases / "r2" / "gone")
    assert service.watcher is not None
    service.watcher.look()
    told = client.get("/v1/release")
    assert told["release"] == "r1" and told["cannot_open_since"] is not None and told["follows"] is True
    (releases / "r2" / "gone").rename(releases / "r2" / "index")
    again = client.ask(0, Question("/v1/admin/reload", {}))
    assert again.failure is None and (again.release, again.said) == ("r2", {"failed": False})
    assert client.get("/v1/release")["cannot_open_since"] is None


def test_alike_looks_at_everything():
    said = {"results": [{"item": "a", "score": 0.5}], "n": None}
    assert alike(said, json.loads(json.dumps(said))) and alike(
        said, {**said, "results": [{"item": "a", "score": 0.5001}]}
    )
    for other in ({"results": [{"item": "a", "score": 0.6}], "n": None}, {"results": [], "n": None}, {"results": []}):
        assert not alike(said, other)


def test_idle_lines_let_go_of_the_release_that_answered_last(releases: Path, url: str, service: Service):
    with closing(Client(url)) as client:
        items = [one["item"] for one in client.get("/v1/boards/b0")["items"]]
        for path, body in (("/v1/search", {"item": items[0]}), ("/v1/recommend", {"history": items[:2]})):
            assert client.ask(0, Question(path, body)).failure is None
    assert service.watcher is not None
    old = weakref.ref(service.engine.pipeline.recommender.model)
    promote_release(releases, "r2", force="x")
    service.watcher.look()
    end = time.monotonic() + 10
    while old() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    assert service.engine.name == "r2" and old() is None
