"""Bodies: counted as they come, whatever their length claims to be, in bounded time and room."""

import asyncio

import pytest

from door_worlds import HOST, Echo, ask, open_door, talk
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions


def declared(length: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return (HOST, (b"content-length", length))


def test_bodies_up_to_the_limit_arrive_whole():
    door, echo = open_door(body_bytes=10)
    assert ask(door, "/v1/search", chunks=[b"01234", b"", b"56789"]).body == b"10"
    assert ask(door, "/v1/search", chunks=[b""]).body == b"0"
    assert echo.seen == [("/v1/search", b"0123456789"), ("/v1/search", b"")]


@pytest.mark.parametrize("length", [None, b"3", b"11", b"1000000", b"9" * 400])
def test_longer_ones_are_refused_whatever_they_claim(length: bytes | None):
    door, echo = open_door(body_bytes=10)
    headers = (HOST,) if length is None else declared(length)
    answer = ask(door, "/v1/search", headers=headers, chunks=[b"x"] * 11)
    assert (answer.status, answer.error, echo.seen) == (413, "body_too_large", [])
    assert answer.headers["connection"] == "close"
    assert door._bodies.held == 0


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"", b"0x10", b"\xb2", b"1, 1"])
def test_an_odd_length_is_refused(length: bytes):
    door, echo = open_door()
    assert ask(door, "/v1/search", headers=declared(length)).error == "bad_length"
    assert ask(door, "/v1/search", headers=(*declared(b"2"), (b"content-length", b"3"))).error == "header_twice"
    assert echo.seen == []


def test_an_endless_body_is_not_read_for_ever():
    door, _ = open_door(body_bytes=10)
    pieces = [b"x" * 10] * 100
    assert ask(door, "/v1/search", chunks=pieces, read=(read := [])).status == 413
    assert len(read) == 6  # one allowed, one too many, four times the limit to let an honest client finish


def test_a_client_that_waits_for_our_word_is_not_told_to_send():
    door, _ = open_door(body_bytes=10)
    headers = (*declared(b"20"), (b"expect", b"100-continue"))
    assert ask(door, "/v1/search", headers=headers, chunks=[b"x"] * 20, read=(read := [])).status == 413
    assert read == []


def test_slow_bodies_end():
    door, echo = open_door(body_timeout_s=0.05)
    answer = ask(door, "/v1/search", chunks=[b"x"] * 100, pause=0.01)
    assert (answer.status, answer.error, echo.seen) == (408, "slow_body", [])
    assert answer.headers["connection"] == "close" and door._bodies.held == 0


def test_a_client_that_leaves_within_its_body_is_not_answered_nor_served():
    door, echo = open_door()
    assert asyncio.run(talk(door, "/v1/search", chunks=[b"half"], leaves=True)) is None
    assert echo.seen == [] and door._bodies.held == 0


def test_all_bodies_together_have_bounded_room():
    async def run() -> list[int]:
        go = asyncio.Event()

        async def waiting(scope, receive, send) -> None:
            await go.wait()
            await Echo()(scope, receive, send)

        door = Door(waiting, DoorOptions(body_bytes=10, bodies_bytes=25))
        first = [asyncio.create_task(talk(door, "/v1/search", chunks=[b"x" * 10])) for _ in range(2)]
        await asyncio.sleep(0.05)
        third = await talk(door, "/v1/search", chunks=[b"x" * 5, b"y"])
        go.set()
        fourth = await talk(door, "/v1/search", chunks=[b"x" * 10])
        assert door._bodies.held == 0
        return [answer.status for answer in [*await asyncio.gather(*first), third, fourth] if answer]

    assert asyncio.run(run()) == [200, 200, 503, 200]


def test_a_crash_within_an_answer_ends_it_and_begins_no_other():
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("half way")

    answer = ask(Door(app, DoorOptions()), "/v1/search")
    assert (answer.status, answer.body, answer.whole) == (200, b"half", False)


def test_the_application_hears_that_the_client_left():
    heard = []

    async def app(scope, receive, send) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])

    asyncio.run(talk(Door(app, DoorOptions()), "/v1/search"))
    assert heard == ["http.request", "http.disconnect"]
