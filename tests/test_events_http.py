"""POST /v1/events: its answers, and kill -9 of the server under load."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from event_server import CLIENTS, give_engine
from event_worlds import QUIET, ids, stored

ROOT = Path(__file__).parents[1]
ROUNDS = 3


def test_a_killed_server_loses_nothing_it_acknowledged(tmp_path):
    """Four clients without a pause; killed three times; every acknowledged event is there exactly once after it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "event_server.py"), str(tmp_path / "s"), str(ROUNDS), "3"],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    acknowledged, found = set(said["acknowledged"]), Counter(ids(tmp_path / "s"))
    assert len(acknowledged) >= 2 * CLIENTS * ROUNDS and said["unanswered"] >= ROUNDS
    assert acknowledged <= set(found) and {found[event_id] for event_id in acknowledged} == {1}
    assert {row["system"] for row in stored(tmp_path / "s") if row["damage"] is None} == {"v7"}


@pytest.fixture
def client(tmp_path):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from navigator.events.store import EventStore
    from navigator.serve.http import answer_errors
    from navigator.serve.routes_events import router

    app = FastAPI()
    telemetry = SimpleNamespace(refused=lambda code: None)
    give_engine(app, SimpleNamespace(engine=SimpleNamespace(name="v7"), telemetry=telemetry))
    answer_errors(app)
    app.include_router(router)
    with EventStore.open(tmp_path / "s", limits=QUIET) as store:
        app.state.events = store
        yield TestClient(app)


def test_what_is_refused_is_named_and_the_rest_is_on_the_disk(client, tmp_path):
    event = {"kind": "click", "user_id": "ann", "item_id": "i1", "event_id": "e"}
    answer = client.post("/v1/events", json={"events": [event, {"kind": "like", "user_id": "ann"}, event]})
    assert answer.status_code == 200 and answer.json()["accepted"] == 1 and answer.json()["duplicates"] == 1
    assert answer.json()["refused"] == [
        {"index": 1, "reason": "kind is 'like'; allowed are impression, click, save, board_created"}
    ]
    rows = stored(tmp_path / "s")
    assert [(row["event_id"], row["system"], row["kind"]) for row in rows] == [("e", "v7", "click")]


def test_a_store_that_was_closed_says_503(client):
    client.app.state.events.close()
    answer = client.post("/v1/events", json={"events": [{"kind": "click", "user_id": "ann", "item_id": "i1"}]})
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "events_unavailable"
    assert answer.headers["retry-after"]
