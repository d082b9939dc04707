"""The curl examples of the README, run as they stand against a tiny server."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from navigator.events.store import EventStore
from navigator.serve.engine import Engine
from serve_worlds import listening, service_of

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^    (curl .*http://127\.0\.0\.1:8000.*)$", README.read_text(), re.MULTILINE)
ITEMS = {
    "oca-78e3ef0e": "i01",
    "oca-495e0e6c": "i02",
    "oca-bc3243c0": "i03",
}  # the README's are of the demo's catalogue

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


@pytest.fixture(scope="module")
def address(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("readme")
    with listening(service_of(engine), home, events=EventStore.open(home / "events")) as address:
        yield address


def test_the_readme_shows_every_route_that_takes_a_body():
    for route in ("search", "recommend", "rank", "embeddings", "chat/completions", "events"):
        assert any(f"/v1/{route} " in example for example in EXAMPLES), route


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_answered(example: str, address: str):
    command = example.replace("http://127.0.0.1:8000", address)
    for theirs, ours in ITEMS.items():
        command = command.replace(theirs, ours)
    done = subprocess.run([*shlex.split(command), "--fail-with-body"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    if "/metrics" not in command:
        body = json.loads(done.stdout)
        assert body.get("results") or body.get("data") or body.get("choices") or body.get("accepted") == 1
