"""What the door makes of requests that are odd, or foreign, and of what goes wrong behind it."""

import asyncio
import logging

import pytest

from door_worlds import HOST, Echo, ask, keyed, open_door
from navigator.contracts import UserError
from navigator.refusal import Refusal
from navigator.serve.door.headers import check_binding, dressed
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions
from navigator.serve.door.places import place_of


def test_every_answer_has_the_headers_and_the_application_cannot_weaken_them():
    door, _ = open_door()
    for path in ("/v1/search", "/", "/v1/nowhere", "/healthz"):
        answer = ask(door, path)
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'" and policy["img-src"] == "'self' data: blob:"
        assert answer.headers["x-request-id"] != "the-app"
    assert ask(door, "/v1/search").headers["cache-control"] == "no-store"
    assert "cache-control" not in ask(door, "/static/app.js").headers
    allowed = dict(dressed([(b"Cache-Control", b"max-age=60")], "1", api=True))
    assert allowed[b"Cache-Control"] == b"max-age=60" and b"cache-control" not in allowed


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([b"abc-1.Z_"], True), ([b"a" * 64], True), ([b"a" * 65], False), ([b""], False), ([b"a b"], False),
        ([b"a\r\nset-cookie: x=1"], False), ([b"a\n"], False), ([b"\xe4"], False), ([b"a", b"b"], False),
    ],
)  # fmt: skip
def test_a_request_id_is_kept_only_if_it_is_one(given: list[bytes], kept: bool):
    door, echo = open_door()
    answer = ask(door, "/v1/search", headers=(HOST, *((b"x-request-id", value) for value in given)))
    said = answer.headers["x-request-id"]
    assert said == given[0].decode() if kept else len(said) == 32 and said.isalnum()
    assert echo.states[0]["request_id"] == said


ROUND = [
    "//v1/admin/reload", "/v1//admin/reload", "/v1/items/../admin/reload", "/static/../v1/admin/reload", "/./v1/search",
    "/v1/items/..", "/static/\\..\\x", "/static/a\x00b", "/v1/items/a\r\nb", "/v1/search/.",
]  # fmt: skip
NOWHERE = [
    "/V1/search",
    "/v1/Admin/reload",
    "/v1/search/",
    "/v1/admin",
    "/%761/search",
    "/v1/adm%69n/reload",
    "v1/search",
    "*",
]


@pytest.mark.parametrize("path", ROUND + NOWHERE)
def test_no_path_leads_round_the_table(path: str, tmp_path):
    for door, echo in (open_door(), keyed(tmp_path, {"alice": ["search"]})[:2]):
        answer = ask(door, path)
        assert answer.status == (400 if path in ROUND else 404) and echo.seen == []


def test_the_prefix_of_a_proxy_is_no_way_round(tmp_path):
    door, _, _, _ = keyed(tmp_path, {"alice": ["search"]})
    assert ask(door, "/shop/v1/search", root="/shop").error == "no_key"
    assert ask(door, "/shop/", root="/shop").status == 200
    assert ask(door, "/static/v1/search", root="/static").error == "no_key"  # the router sees /v1/search
    assert ask(door, "/shopping/v1/search", root="/shop").status == 404


def test_ids_with_slashes_and_odd_letters_go_through():
    for path in (
        "/v1/boards/a.j.-ashton/astronomy",
        "/v1/items/d\u00e9j\u00e0 vu%2e/picture",
        "/v1/items/..a",
        "/v1/items/a..",
    ):
        assert place_of(path).needs == "search"
    with pytest.raises(Refusal):
        place_of("/v1/boards/a/../b")


GOOD_HOSTS = [b"localhost", b"LOCALHOST:1", b"127.0.0.1:8080", b"[::1]:8080", b"shop.example", b"shop.example:443"]
WRONG_HOSTS = [
    b"evil.example", b"localhost.evil.example", b"127.0.0.1.nip.io", b"127.1", b"0.0.0.0", b"[::]", b"localhost.",
    b"192.168.0.1", b"2130706433",
]  # fmt: skip
BAD_HOSTS = [
    b"",
    b"localhost:",
    b"localhost:x",
    b"a@localhost",
    b"localhost/",
    b"localhost, evil.example",
    b"loc\xe4l",
    b" ",
]


def test_only_our_names_are_answered_on_loopback():
    door, echo = open_door(hosts=("shop.example",))
    assert [ask(door, "/v1/search", headers=((b"host", host),)).status for host in GOOD_HOSTS] == [200] * 6
    assert {ask(door, "/v1/search", headers=((b"host", host),)).error for host in WRONG_HOSTS} == {"wrong_host"}
    assert {ask(door, "/v1/search", headers=((b"host", host),)).error for host in BAD_HOSTS} == {"bad_host"}
    assert ask(door, "/v1/search", headers=()).error == "bad_host"
    assert ask(door, "/v1/search", headers=(HOST, (b"host", b"evil.example"))).error == "header_twice"
    assert len(echo.seen) == 6


def test_elsewhere_any_name_is_answered_unless_names_are_given():
    other = ((b"host", b"10.0.0.5:8080"),)
    anywhere, _ = open_door(host="0.0.0.0", insecure=True)
    assert ask(anywhere, "/v1/search", headers=other).status == 200
    named, _ = open_door(host="0.0.0.0", insecure=True, hosts=("shop.example",))
    assert ask(named, "/v1/search", headers=other).error == "wrong_host"
    assert ask(named, "/healthz", headers=other).status == 200  # probes of a cluster come by number


FOREIGN = [
    b"http://evil.example", b"null", b"http://localhost:3000", b"http://localhost", b"file://", b"http://localhost:8080.evil",
    b"http://u@localhost:8080", b"chrome-extension://localhost:8080", b"http://[", b"", b"localhost:8080",
]  # fmt: skip


def test_pages_of_other_origins_cannot_post():
    door, echo = open_door(hosts=("shop.example",))
    for origin in FOREIGN:
        assert ask(door, "/v1/admin/reload", headers=(HOST, (b"origin", origin))).error == "cross_origin", origin
    for site in (b"cross-site", b"same-site", b"odd"):
        assert ask(door, "/v1/search", headers=(HOST, (b"sec-fetch-site", site))).error == "cross_origin"
    twice = (HOST, (b"origin", b"http://localhost:8080"), (b"origin", b"http://evil.example"))
    assert ask(door, "/v1/search", headers=twice).error == "header_twice"
    assert ask(door, "/v1/items/a", headers=(HOST, (b"origin", b"http://evil.example")), method="DELETE").status == 403
    assert echo.seen == []
    for origin in (b"http://localhost:8080", b"https://shop.example"):
        assert ask(door, "/v1/search", headers=(HOST, (b"origin", origin))).status == 200
    assert ask(door, "/v1/items/a", headers=(HOST, (b"origin", b"http://evil.example")), method="GET").status == 200


def test_only_loopback_does_without_keys(tmp_path):
    for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"):
        check_binding(host, has_keys=False)
    for host in ("0.0.0.0", "::", "192.168.0.7", "shop.example", "", "localhost.evil.example"):
        check_binding(host, has_keys=True)
        check_binding(host, has_keys=False, insecure=True)
        with pytest.raises(UserError, match="--insecure"):
            check_binding(host, has_keys=False)
        with pytest.raises(UserError):
            Door(Echo(), DoorOptions(host=host))


def test_a_crash_tells_the_client_nothing_and_the_log_no_body(caplog: pytest.LogCaptureFixture):
    door, _ = open_door()
    with caplog.at_level(logging.INFO):
        answer = ask(door, "/v1/search", chunks=[b"crash my secret", b" wi", b"sh"])
    assert (answer.status, answer.error) == (500, "internal_error")
    assert answer.headers["x-request-id"] in answer.body.decode() and answer.headers["x-frame-options"] == "DENY"
    assert not any(word in answer.body for word in (b"Traceback", b"door_worlds", b"ValueError", b"wish"))
    assert (
        answer.headers["x-request-id"] in caplog.text
        and "door_worlds.py" in caplog.text
        and "ValueError" in caplog.text
    )
    assert "wish" not in caplog.text


def test_a_refusal_of_the_application_goes_out_as_one():
    told = []
    door = Door(Echo(), DoorOptions(), extra=lambda: {"X-Navigator-Release": "v1"}, told=told.append)
    answer = ask(door, "/v1/search", chunks=[b"refuse"])
    assert (answer.status, answer.error, answer.headers["x-navigator-release"]) == (504, "deadline", "v1")
    assert ask(door, "/v1/search").status == 200 and ask(door, "//").status == 400
    assert [refusal.code for refusal in told] == ["deadline", "bad_path"]


def test_websockets_are_closed_and_the_lifespan_passes():
    seen, sent = [], []

    async def app(scope, receive, send) -> None:
        seen.append(scope["type"])

    async def send(message) -> None:
        sent.append(message)

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    door = Door(app, DoorOptions())
    asyncio.run(door({"type": "websocket", "path": "/v1/search", "headers": []}, receive, send))
    asyncio.run(door({"type": "lifespan"}, receive, send))
    assert seen == ["lifespan"] and sent == [{"type": "websocket.close", "code": 1008}]
