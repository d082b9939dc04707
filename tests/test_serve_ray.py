"""The app on Ray Serve: the shipped YAML is read, two replicas answer as one process does, one may die."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from starlette.testclient import TestClient

from navigator.contracts import UserError
from navigator.serve.ray_app import DEPLOYMENT, Named, RayArgs, application, deployment, replica_app
from serve_worlds import World, client_of, service_of

CONFIG = Path(__file__).parents[1] / "configs/serve/ray.yaml"
HISTORIES = [["i00", "i01"], ["i30"], ["i07", "i09", "i44"]]


def args(world: World) -> RayArgs:
    return RayArgs(
        model=world.home / "model", index=world.home / "index", catalog=world.catalog, device="cpu",
        dtype="float32", threads=1, per_minute=0,
    )  # fmt: skip


def test_the_shipped_yaml_is_what_the_application_takes():
    (app,) = yaml.safe_load(CONFIG.read_text())["applications"]
    assert app["import_path"] == f"{application.__module__}:{application.__name__}"
    options = RayArgs(**app["args"]).batching
    (one,) = app["deployments"]
    assert one["name"] == DEPLOYMENT
    assert one["max_ongoing_requests"] > options.queue + options.batch_size


def test_an_unknown_argument_is_named():
    with pytest.raises(ValidationError, match="modle"):
        RayArgs(modle="m", model="m", index="i", catalog="c")  # type: ignore[call-arg]


def test_without_ray_serve_the_extra_is_named(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"navigator\[ray-serve\]"):
        application(args(world))


def test_a_replica_answers_and_says_which_it_is(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with TestClient(Named(replica_app(args(world)), "r1"), "http://127.0.0.1:8000") as client:
        answer = client.post("/v1/search", json={"text": "red things"})
    assert answer.status_code == 200 and answer.headers["x-navigator-replica"] == "r1"


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    """Two replicas on a local Ray, each behind the proxy."""
    ray = pytest.importorskip("ray", reason="the extra `ray-serve` is not installed")
    serve = pytest.importorskip("ray.serve", reason="the extra `ray-serve` is not installed", exc_type=ImportError)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": 18_431})
    serve.run(deployment(args(world)).options(num_replicas=2).bind(), name="navigator")
    yield "http://127.0.0.1:18431"
    serve.shutdown()
    ray.shutdown()


def ask(address: str, history: list[str]) -> tuple[list[dict[str, Any]], str]:
    body = json.dumps({"history": history, "k": 5}).encode()
    request = urllib.request.Request(f"{address}/v1/recommend", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["results"], answer.headers["X-Navigator-Replica"]


@pytest.mark.slow
def test_two_replicas_answer_as_one_process_and_one_may_die(address: str, world: World, engine: Any, tmp_path: Path):
    import ray

    with client_of(service_of(engine), tmp_path) as client:
        alone = [client.post("/v1/recommend", json={"history": h, "k": 5}).json()["results"] for h in HISTORIES]
    replicas = set()
    for _ in range(10):
        for history, want in zip(HISTORIES, alone, strict=True):
            found, replica = ask(address, history)
            assert found == want
            replicas.add(replica)
    assert len(replicas) == 2
    named = [
        own for own in ray.util.list_named_actors(all_namespaces=True) if own["name"].startswith("SERVE_REPLICA::")
    ]
    ray.kill(ray.get_actor(named[0]["name"], namespace=named[0]["namespace"]))
    until, answered = time.monotonic() + 60, 0
    while time.monotonic() < until and answered < 20:
        try:
            assert ask(address, HISTORIES[0])[0] == alone[0]
            answered += 1
        except urllib.error.HTTPError as error:  # what the dead one had in hand
            assert error.code >= 500
    assert answered == 20
