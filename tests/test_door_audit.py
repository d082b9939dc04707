"""The audit log: every admin call, every refused key, chained, without a key in it."""

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest

from door_worlds import Echo, ask, bearer, keyed, talk
from graph.audit import read_audit
from navigator.cli import main
from navigator.contracts import UserError
from navigator.serve.door.audit import TAIL, AuditLog, Line, verify
from navigator.serve.door.commands import create_key, revoke_key
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions

RELOAD = "/v1/admin/reload"


def lines(log: Path) -> list[dict]:
    return [line for line in read_audit(log) if not line["what"].startswith("keys ")]


def test_every_admin_call_is_a_line_before_it_is_answered(tmp_path: Path):
    door, _, secrets, path = keyed(tmp_path, {"root": ["admin"]})
    log = path.with_name("keys.json.audit.jsonl")
    headers = (*bearer(secrets["root"]), (b"x-request-id", b"r-1"))
    for chunks, outcome, status, reason in (
        ([b"{}"], "done", 200, ""), ([b"crash"], "failed", 500, "internal_error"), ([b"refuse"], "failed", 504, "deadline"),
    ):  # fmt: skip
        assert ask(door, RELOAD, headers=headers, chunks=chunks, client="10.1.1.1").status == status
        line = lines(log)[-1]
        assert (line["who"], line["what"], line["from"]) == ("root", f"POST {RELOAD}", "10.1.1.1")
        assert (line["outcome"], line["status"], line["reason"], line["request_id"]) == (outcome, status, reason, "r-1")
    assert len(lines(log)) == 3 and verify(log) == []
    ask(door, "/metrics", headers=bearer(secrets["root"]))
    assert len(lines(log)) == 3


def test_a_call_whose_client_left_is_a_line(tmp_path: Path):
    door, echo, secrets, path = keyed(tmp_path, {"root": ["admin"]})
    headers = bearer(secrets["root"])
    assert asyncio.run(talk(door, RELOAD, headers=headers, chunks=[b"x"], leaves=True)) is None
    assert (lines(path.with_name("keys.json.audit.jsonl"))[-1]["outcome"], echo.seen) == ("failed", [])

    async def cancelled() -> None:
        async def endless(scope, receive, send) -> None:
            await asyncio.sleep(60)

        call = asyncio.create_task(talk(Door(endless, DoorOptions(keys=path)), RELOAD, headers=headers))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert [line["reason"] for line in lines(path.with_name("keys.json.audit.jsonl"))] == ["no answer"] * 2


def test_every_refused_key_is_a_line_and_no_key_is_in_it(tmp_path: Path):
    door, _, secrets, path = keyed(tmp_path, {"alice": ["search"], "bob": ["search"]})
    log = path.with_name("keys.json.audit.jsonl")
    revoke_key(path, "bob")
    assert ask(door, RELOAD, headers=bearer(secrets["alice"])).status == 403
    assert ask(door, "/v1/search", headers=bearer(secrets["bob"])).status == 401
    assert ask(door, "/v1/search", headers=bearer("nav_" + "A" * 43)).status == 401
    assert ask(door, "/v1/search").status == 401  # shows no key
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).status == 200
    found = [(line["who"], line["reason"], line["outcome"]) for line in lines(log)]
    assert found == [
        ("alice", "wrong_scope", "refused"),
        ("bob", "key_revoked", "refused"),
        (None, "wrong_key", "refused"),
    ]
    assert not any(secret in log.read_text() for secret in [*secrets.values(), "A" * 43])


def test_a_flood_of_wrong_keys_is_counted_and_does_not_fill_the_disk(tmp_path: Path):
    door, _, secrets, path = keyed(tmp_path, {"alice": ["search"]}, refused_per_minute=3)
    statuses = [ask(door, "/v1/search", headers=bearer(f"nav_{n:043d}")).status for n in range(50)]
    assert statuses == [401] * 3 + [429] * 47
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).status == 200  # a good key is none of them
    assert ask(door, "/v1/search", headers=bearer("x"), client="10.0.0.9").status == 401
    found = lines(path.with_name("keys.json.audit.jsonl"))
    assert len(found) == 4 and found[-1]["not_written"] == 47


def test_without_keys_admin_calls_are_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    door = Door(Echo(), DoorOptions())
    assert ask(door, RELOAD).status == 200
    assert [line["who"] for line in lines(tmp_path / "serve.audit.jsonl")] == [None]
    elsewhere = Door(Echo(), DoorOptions(audit=tmp_path / "a.jsonl"))
    assert ask(elsewhere, RELOAD).status == 200 and len(lines(tmp_path / "a.jsonl")) == 1


def test_nothing_is_done_for_an_administrator_that_cannot_be_written_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    echo = Echo()
    door = Door(echo, DoorOptions(audit=tmp_path / "gone" / "a.jsonl"))
    with caplog.at_level(logging.ERROR):
        answer = ask(door, RELOAD)
    assert (answer.error, echo.seen) == ("audit_unwritable", [])
    assert "gone" in caplog.text and b"gone" not in answer.body
    assert ask(door, "/v1/search").status == 200


def test_a_log_that_breaks_while_an_admin_call_is_done_is_said(tmp_path: Path):
    log = tmp_path / "a.jsonl"

    async def app(scope, receive, send) -> None:
        log.unlink()
        log.mkdir()
        await Echo()(scope, receive, send)

    assert ask(Door(app, DoorOptions(audit=log)), RELOAD).error == "audit_unwritable"


def test_an_altered_or_removed_line_is_found(tmp_path: Path):
    log = AuditLog(tmp_path / "a.jsonl")
    heads = [log.write(Line(who=f"k{n}", what="x", outcome="done")) for n in range(4)]
    good = log.path.read_text().splitlines(keepends=True)
    assert verify(log.path, heads[3]) == []
    log.path.write_text("".join(good).replace("k1", "k9"))
    assert verify(log.path) == ["line 3 does not follow the line before it: one was altered or removed"]
    log.path.write_text("".join(good[:1] + good[2:]))
    assert verify(log.path) != []
    log.path.write_text("".join(good[:3]))
    assert verify(log.path) == [] and "gone" in verify(log.path, heads[3])[0]
    with pytest.raises(UserError, match="does not exist"):
        verify(tmp_path / "b.jsonl")


def test_the_command_finds_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    keys = tmp_path / "keys.json"
    for name in ("a", "b", "c"):
        create_key(keys, name)
    log = tmp_path / "keys.json.audit.jsonl"
    assert main(["keys", "audit", str(log), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["lines"], said["problems"]) == (3, [])
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:2]))
    assert main(["keys", "audit", str(log)]) == 0  # the end is missed only by who knows it
    assert main(["keys", "audit", str(log), "--head", said["head"]]) == 1
    log.write_text("".join(lines[1:]))
    assert main(["keys", "audit", str(log)]) == 1
    assert main(["keys", "audit", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("end", [b'{"line": 2, "wh', b"junk\n", b'{"line": "x"}\n', b"[]\n", b"x" * (TAIL + 5) + b"\n"])
def test_a_torn_line_is_ended_and_found_and_does_not_stop_the_log(tmp_path: Path, end: bytes):
    log = AuditLog(tmp_path / "a.jsonl")
    log.write(Line(who="a", what="x", outcome="done"))
    with log.path.open("ab") as handle:
        handle.write(end)
    log.write(Line(who="b", what="x", outcome="done"))
    assert json.loads(log.path.read_text().splitlines()[2])["line"] == 3
    assert verify(log.path)[0].startswith("line 2 is not an audit line")


def test_many_writers_make_one_chain(tmp_path: Path):
    log = AuditLog(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b"")

    def write() -> None:
        for _ in range(20):
            log.write(Line(who="a", what="x" * 1000, outcome="done"))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(read_audit(log.path)) == 80 and verify(log.path) == []
    assert log.path.stat().st_size > TAIL  # more than what is read to append
