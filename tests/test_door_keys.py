"""Keys: what is stored of them, which paths they open, and when they stop."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from door_worlds import HOST, Echo, ask, bearer, keyed, talk
from navigator.cli import main
from navigator.contracts import UserError
from navigator.refusal import Refusal
from navigator.serve.door.commands import create_key, list_keys, revoke_key
from navigator.serve.door.keys import hashed, read_keys
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions
from navigator.serve.door.places import FOLDERS, PATHS, place_of

SCOPES = ("search", "chat", "events", "admin")


def test_the_file_holds_a_hash_and_only_its_owner_reads_it(tmp_path: Path):
    path = tmp_path / "deep" / "keys.json"
    before = os.umask(0o022)
    try:
        made = create_key(path, "alice")
        assert os.umask(0o022) == 0o022  # as it was
    finally:
        os.umask(before)
    assert made["key"].startswith("nav_") and len(made["key"]) == 4 + 43  # 43 characters of base64 are 256 bits
    stored = path.read_text()
    assert made["key"] not in stored and made["key"][4:] not in stored
    assert json.loads(stored)["keys"][0]["sha256"] == hashed(made["key"])
    assert [file.stat().st_mode & 0o777 for file in path.parent.iterdir()] == [0o600] * 3  # keys, lock, audit
    assert made["key"] not in (tmp_path / "deep" / "keys.json.audit.jsonl").read_text()


def test_keys_differ_and_names_stay_taken(tmp_path: Path):
    path = tmp_path / "keys.json"
    assert len({create_key(path, f"k{n}")["key"] for n in range(20)}) == 20
    revoke_key(path, "k3")
    with pytest.raises(UserError, match="names stay taken"):
        create_key(path, "k3")


def test_the_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = str(tmp_path / "keys.json")
    assert main(["keys", "create", path, "alice", "--scopes", "search,admin", "--days", "30", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scopes"] == ["search", "admin"] and made["expires_at"] is not None
    assert main(["keys", "list", path, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["keys"]
    assert [(key["name"], key["state"]) for key in shown] == [("alice", "good")]
    assert "key" not in shown[0] and "sha256" not in shown[0]
    assert main(["keys", "revoke", path, "alice"]) == 0
    assert "was revoked" in capsys.readouterr().out
    assert main(["keys", "revoke", path, "alice", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is True
    assert main(["keys", "revoke", path, "bob"]) == 2
    assert capsys.readouterr().err == f"error: {path} has no key 'bob'; it has alice\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "../x"}, "letters"),
        ({"per_minute": 0}, "above 0"),
        ({"burst": 0}, "1 and more"),
        ({"days": -1}, "above 0"),
    ],
)
def test_wrong_options_make_no_key(tmp_path: Path, wrong: dict, said: str):
    with pytest.raises(UserError, match=said):
        create_key(tmp_path / "keys.json", **{"name": "alice", **wrong})
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize("broken", ["", "{}x", '{"schema_version": 2}', '{"keys": [{"name": "a"}]}', '{"more": 1}'])
def test_a_broken_file_starts_no_server(tmp_path: Path, broken: str):
    path = tmp_path / "keys.json"
    path.write_text(broken)
    path.chmod(0o600)
    with pytest.raises(UserError, match="not a file of `navigator keys`"):
        Door(Echo(), DoorOptions(keys=path))


def test_a_file_that_others_can_reach_or_that_is_not_there_starts_no_server(tmp_path: Path):
    path = tmp_path / "keys.json"
    with pytest.raises(UserError, match="does not exist"):
        Door(Echo(), DoorOptions(keys=path))
    create_key(path, "alice")
    for mode in (0o644, 0o640, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(UserError, match="chmod 600"):
            Door(Echo(), DoorOptions(keys=path))
    with pytest.raises(UserError, match="does not exist"):
        list_keys(tmp_path / "other.json")


def test_every_scope_opens_its_paths_and_no_others(tmp_path: Path):
    door, _, secrets, _ = keyed(tmp_path, {scope: [scope] for scope in SCOPES}, refused_per_minute=1000)
    paths = [*PATHS, *(f"{folder}x" for folder in FOLDERS), "/v1/items/x/picture"]
    for path in paths:
        needs = place_of(path).needs
        for scope in SCOPES:
            opened = needs in ("any", "nothing", scope)
            answer = ask(door, path, headers=bearer(secrets[scope]))
            assert answer.status == (200 if opened else 403), (path, scope)
            assert answer.error == ("" if opened else "wrong_scope")
        assert ask(door, path).status == (200 if needs == "nothing" else 401), path
    assert {needs for needs in (place_of(path).needs for path in paths)} == {"any", "nothing", *SCOPES}


ODD = [
    b"", b"Bearer", b"Bearer ", b"nav_x", b"Basic %s", b"Bearer  %s", b"Bearer %s ", b"Bearer %sA", b"Bearer\t%s",
    b"Bearer %s,Bearer %s", b"Bearer " + b"nav_" + b"A" * 43, b"Bearer " + b"x" * 60_000, b"Bearer \xff\xfe", b"Bearer nav_\n",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_keys_are_no_keys(tmp_path: Path, odd: bytes):
    door, echo, secrets, _ = keyed(tmp_path, {"alice": ["search"]})
    value = odd.replace(b"%s", secrets["alice"].encode())
    answer = ask(door, "/v1/search", headers=(HOST, (b"authorization", value)))
    assert (answer.status, answer.error, echo.seen) == (401, "wrong_key", [])
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_scheme_has_no_case_and_two_headers_are_refused(tmp_path: Path):
    door, echo, secrets, _ = keyed(tmp_path, {"alice": ["search"]})
    good = (b"authorization", b"bEARER " + secrets["alice"].encode())
    assert ask(door, "/v1/search", headers=(HOST, good)).status == 200
    assert ask(door, "/v1/search", headers=(HOST, good, (b"authorization", b"Bearer x"))).error == "header_twice"
    assert echo.states[0]["key_name"] == "alice" and len(echo.seen) == 1


def test_a_revoked_key_stops_with_the_next_request(tmp_path: Path):
    door, _, secrets, path = keyed(tmp_path, {"alice": ["search"], "bob": ["search"]})
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).status == 200
    revoke_key(path, "alice")
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).error == "key_revoked"
    assert ask(door, "/v1/search", headers=bearer(secrets["bob"])).status == 200
    carol = create_key(path, "carol", ["search"])["key"]
    assert ask(door, "/v1/search", headers=bearer(carol)).status == 200


def test_a_key_expires(tmp_path: Path):
    door, _, secrets, path = keyed(tmp_path, {"alice": ["search"]})
    stored = json.loads(path.read_text())
    stored["keys"][0]["expires_at"] = "2020-01-01T00:00:00Z"
    path.write_text(json.dumps(stored))
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).error == "key_expired"
    assert list_keys(path)["keys"][0]["state"] == "expired"


def test_a_keys_file_that_breaks_or_goes_never_opens_the_door(tmp_path: Path):
    door, echo, secrets, path = keyed(tmp_path, {"alice": ["search"]})
    good = path.read_text()
    path.write_text("{")
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).error == "keys_unreadable"
    path.unlink()
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).status == 503
    assert ask(door, "/v1/search").status == 401 and echo.seen == []
    path.write_text(good)
    path.chmod(0o600)
    assert ask(door, "/v1/search", headers=bearer(secrets["alice"])).status == 200
    assert read_keys(path).keys[0].name == "alice"


def test_a_stream_ends_when_its_key_is_revoked(tmp_path: Path):
    _, _, secrets, path = keyed(tmp_path, {"alice": ["chat"]})
    ended = []

    async def streaming(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for number in range(5):
                if number == 2:
                    revoke_key(path, "alice")
                await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            await send({"type": "http.response.body", "body": b"!", "more_body": False})
        except OSError as error:
            ended.append(type(error))
            raise

    door = Door(streaming, DoorOptions(keys=path))
    answer = asyncio.run(talk(door, "/v1/chat/completions", headers=bearer(secrets["alice"])))
    assert answer is not None and (answer.body, answer.whole, ended) == (b"01", False, [OSError])


def test_places_are_refused_by_default():
    for path in ("/v1", "/v1/", "/v1/admin", "/v1/admin/", "/v1/secret", "/docs", "/static/", "/v1/items/", ""):
        with pytest.raises(Refusal) as caught:
            place_of(path)
        assert caught.value.status == 404, path
