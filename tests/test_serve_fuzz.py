"""Nobody's nonsense is a 500: the OpenAPI by schemathesis, and broken bodies and pictures by `navigator-bench fuzz`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from bench.serving import fuzz as fuzz_module
from bench.serving.mutate import Request, mutated, valid_bodies
from navigator.serve.engine import Engine
from serve_worlds import World, client_of, listening, service_of

ITEMS = [f"i{n:02}" for n in range(6)]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def address(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with listening(service_of(engine), tmp_path_factory.mktemp("door")) as address:
        yield address


def test_the_openapi_holds_what_it_says(address: str, tmp_path: Path):
    pytest.importorskip("schemathesis", reason="the extra `dev` is not installed")
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "configs/serve/schemathesis.toml"), "run",
        f"{address}/openapi.json", "--max-examples", "3", "--phases", "examples,fuzzing", "--seed", "1", "--no-shrink",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-500:]


def test_broken_requests_are_refused_and_the_server_goes_on(
    address: str, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fuzz_module, "_SETTLED_S", 0.0)
    told = fuzz_module.fuzz(address, world.catalog, count=150, warm_up=20, timeout_s=20)
    assert told["failures"] == [] and told["requests"] == 150 and told["slowest_s"] < 20
    assert {"200", "400", "404", "415", "422"} <= set(told["statuses"])
    assert told["memory_mb"][1] > 50


def test_a_failure_is_named_and_fails_the_command(address: str, world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fuzz_module, "_SETTLED_S", 0.0)
    monkeypatch.setattr(fuzz_module, "_send", lambda *_: "500")
    assert main(["fuzz", "--url", address, "--catalog", str(world.catalog), "--count", "3", "--warm_up", "1"]) == 1
    told = fuzz_module.fuzz(address, world.catalog, count=3, warm_up=1)
    assert told["n_failures"] == 3 and told["failures"][0].startswith("500: /v1/") and told["met"] is False


def test_the_requests_that_are_broken_are_answered_whole(engine: Engine, tmp_path: Path):
    """Otherwise the mutations would only test the first check that a wrong request meets."""
    with client_of(service_of(engine), tmp_path) as client:
        for path, body in valid_bodies(ITEMS):
            if path not in ("/v1/events", "/v1/chat/completions", "/v1/admin/reload"):
                assert client.post(path, json=body).status_code == 200, (path, body)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/chat/completions"])
def test_half_a_surrogate_is_no_name_of_a_model(engine: Engine, tmp_path: Path, path: str):
    """The answer repeats the name, and could not be written: found by the mutations."""
    body = b'{"input": "a", "messages": [{"role": "user", "content": "a"}], "model": "\\ud800"}'
    with client_of(service_of(engine), tmp_path) as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "model")


def test_mutations_come_from_the_seed_and_leave_nothing_out():
    first = mutated(ITEMS, 400, 7)
    assert first == mutated(ITEMS, 400, 7) != mutated(ITEMS, 400, 8)
    assert len({request.path for request in first}) == 8
    hows = {request.how.split(" ")[0] for request in first}
    assert {"picture", "cut", "header", "a", "another", "in"} <= hows
    skipped = mutated(ITEMS, 50, 7, ("/v1/search", "/v1/chat/completions"))
    assert all(request.path != "/v1/chat/completions" for request in skipped)


def test_a_server_that_hangs_up_is_a_failure():
    assert fuzz_module._send("http://127.0.0.1:9", Request("/v1/search", b"{}", "valid"), {}, 2) == (
        "no answer (ConnectionRefusedError)"
    )
