"""The load generator against a server that answers in every way it can: schedule, rows, and waiting that must not be hidden."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from bench.load.client import Target, closed_loop, open_loop
from bench.load.command import load
from bench.load.judge import server_timing
from bench.load.rows import OUTCOMES, Row, check_complete, count_outcomes, read_rows, write_rows
from bench.load.schedule import Segment, plan, poisson

STALL_S = 0.6


class Endpoint:
    """An HTTP/1.1 server in a thread: what it answers is the path, so that a test names the fault it wants."""

    def __init__(self):
        self.seen: list[bytes] = []
        self.stalled_until = 0.0
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.run(),))
        self.thread.start()
        assert self.ready.wait(5)

    async def run(self) -> None:
        server = await asyncio.start_server(self.client, "127.0.0.1", 0, backlog=512)
        self.base, self.end = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asyncio.Event()
        self.ready.set()
        await self.end.wait()
        server.close()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await self.head(reader):
                path = head.split()[1].decode().strip("/")
                self.seen.append(head)
                if path == "stall" and len(self.seen) == 5:
                    self.stalled_until = time.perf_counter() + STALL_S
                await asyncio.sleep(max(0.0, self.stalled_until - time.perf_counter()) + (2 if path == "slow" else 0))
                writer.write(self.answer(path))
                if path in ("cut", "none", "gibberish"):
                    break
        finally:
            writer.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        return head + await reader.readexactly(length)

    def answer(self, path: str) -> bytes:
        body, status, more = b'{"fine": 1}', "200 OK", "Server-Timing: queue;dur=1.5, work;dur=30\r\n"
        if path == "none":
            return b""
        if path == "gibberish":
            return b"this is no HTTP\r\n\r\n"
        if path == "text":
            body = b"not JSON"
        if path.isdigit():
            status, more, body = f"{path} Fault", "Retry-After: 2\r\n", b'{"error": "key sk-secret-123 is tired"}'
        length = len(body) + (5 if path == "cut" else 0)
        return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n".encode() + body

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(5)
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.wait([*left, self.loop.create_task(asyncio.sleep(0.01))]))
        self.loop.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    started = Endpoint()
    yield started
    started.stop()


def target(endpoint: Endpoint, path: str, bodies=(b'{"n": 1}',), **options) -> Target:
    return Target(f"{endpoint.base}/{path}", bodies, **{"timeout_s": 0.5, "json_answers": True} | options)


def test_arrivals_are_a_poisson_process_at_the_asked_rate_and_the_seed_repeats_them():
    times = poisson(200.0, 50.0, np.random.default_rng(3))
    gaps = np.diff(times)
    assert len(times) == 10_000 and 0 <= times[0] and times[-1] < 50 and (gaps >= 0).all()
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1, abs=0.05)  # of exponential gaps; 0 of regular ones
    segments = [Segment("calm", 10, 2), Segment("overload", 100, 3)]
    first, second, other = plan(segments, [1]), plan(segments, [1]), plan(segments, [2])
    assert first.offsets_s.tolist() == second.offsets_s.tolist() != other.offsets_s.tolist()
    assert np.bincount(first.segment).tolist() == [20, 300]
    assert ((first.offsets_s >= 2) == (first.segment == 1)).all() and first.offsets_s.max() < 5


@pytest.mark.parametrize(
    ("path", "outcome", "status", "says"),
    [
        ("fine", "ok", 200, None),
        ("429", "http_429", 429, "is tired"),
        ("404", "http_4xx", 404, "is tired"),
        ("503", "http_5xx", 503, "is tired"),
        ("302", "http_other", 302, "is tired"),
        ("slow", "timeout", None, "no whole answer within 0.5 s"),
        ("none", "connection", None, "ServerDisconnectedError"),
        ("cut", "connection", 200, "ClientPayloadError"),
        ("text", "malformed", 200, "no JSON"),
        ("gibberish", "malformed", None, "ClientResponseError"),
    ],
)
def test_every_end_of_a_request_is_a_row(endpoint, path, outcome, status, says):
    sent = open_loop(target(endpoint, path), plan([Segment("p", 50, 0.1)], [0]), "test")
    check_complete(sent.rows, sent.scheduled, "test")
    assert len(sent.rows) == sent.scheduled == 5
    assert {(row.outcome, row.status) for row in sent.rows} == {(outcome, status)}
    assert all(says is None if row.error is None else says in row.error for row in sent.rows)
    told = {(row.queue_ms, row.work_ms, row.retry_after_s) for row in sent.rows}
    assert told == {(None, None, 2.0) if path.isdigit() else (1.5, 30.0, None) if status else (None, None, None)}
    assert count_outcomes(sent.rows) == dict.fromkeys(OUTCOMES, 0) | {outcome: 5}


def test_nobody_listens(endpoint):
    nobody = Target("http://127.0.0.1:9", [], 0.5, True)
    assert {row.outcome for row in closed_loop(nobody, "p", 1, 0.05, "test").rows} == {"connection"}


def test_the_open_loop_counts_what_waited_for_a_stall_and_a_closed_one_hides_it(endpoint):
    """The endpoint answers nobody for 0.6 s: of 100 arrivals a second some 60 wait, of one closed client's only one."""
    rows = open_loop(target(endpoint, "stall", timeout_s=5), plan([Segment("p", 100, 1.5)], [0]), "test").rows
    waited = sum(row.response_ms > 100 for row in rows)
    assert waited >= 35 and max(row.response_ms for row in rows) > 500
    assert all(row.response_ms >= row.service_ms - 1e-6 for row in rows)
    endpoint.seen.clear()
    closed = closed_loop(target(endpoint, "stall", timeout_s=5), "p", 1, 1.5, "test").rows
    assert 1 <= sum(row.response_ms > 100 for row in closed) <= 5


def test_a_late_generator_counts_from_the_intended_moment(endpoint):
    """Reading an answer's words takes this generator 0.1 s: what it sends late by that, users have waited."""
    slow = type("Slow", (list,), {"__getitem__": lambda self, place: time.sleep(0.1 * (place == 0)) or b"{}"})([b"{}"])
    slow_target = target(endpoint, "fine", slow)
    rows = open_loop(slow_target, plan([Segment("p", 60, 0.3)], [0]), "test").rows
    late = [row for row in rows[1:] if row.lateness_ms > 20]
    assert late and all(row.response_ms == pytest.approx(row.service_ms + row.lateness_ms) for row in rows)
    assert all(row.response_ms > row.service_ms + 20 for row in late)


def test_bodies_are_cycled_headers_are_sent_and_never_kept(endpoint):
    secret = {"Authorization": "Bearer sk-secret-123"}
    rows = closed_loop(target(endpoint, "401", [b"[1]", b"[2]"], headers=secret), "p", 2, 0.05, "test").rows
    assert all(b"Bearer sk-secret-123" in seen and seen.startswith(b"POST") for seen in endpoint.seen)
    assert sorted({seen.split(b"\r\n\r\n")[1] for seen in endpoint.seen}) == [b"[1]", b"[2]"]
    assert "sk-secret" not in repr(rows) and all("key *** is tired" in (row.error or "") for row in rows)
    assert "sk-secret" not in repr(target(endpoint, "fine", headers=secret))
    closed_loop(target(endpoint, "fine", []), "p", 1, 0.02, "test")
    assert endpoint.seen[-1].startswith(b"GET /fine")


def test_no_step_sends_what_another_has_sent(endpoint, tmp_path):
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text("\n".join(f'{{"n": {n}}}' for n in range(20_000)))
    options = {"seconds": 0.2, "warm_up": 0.1, "concurrency": [1, 2], "fractions": [0.2], "overload": 0.0}
    load(url=f"{endpoint.base}/fine", bodies=bodies, out=tmp_path / "r", max_lateness_ms=1000.0, **options)
    sent = [seen.split(b"\r\n\r\n")[1] for seen in endpoint.seen]
    assert len(sent) == len(set(sent)) > 20


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [Row("p", 0, 0.1, 0.2, 0.5, "ok", 200, 1.0, 2.0), Row("p", 1, 0.3, 0.3, 0.9, "timeout", error="late")]
    write_rows(tmp_path / "r.parquet", rows, json.dumps({"n": 2}))
    assert read_rows(tmp_path / "r.parquet") == (rows, '{"n": 2}')
    assert rows[0].response_ms == pytest.approx(400) and rows[0].service_ms == pytest.approx(300)
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]


@pytest.mark.parametrize(("numbers", "first"), [([0, 2], 1), ([0, 1, 1, 2], 1), ([0, 1, 2, 3], 3)])
def test_a_missing_or_double_row_stops_the_run(numbers, first):
    rows = [Row("p", n, 0, 0, 0, "ok") for n in numbers]
    with pytest.raises(RuntimeError, match=rf"step: 1 of 3 requests lack their one row \(first: {first}\)"):
        check_complete(rows, 3, "step")


def test_server_timing():
    assert server_timing('queue;dur=1.5, cache;desc="x", work;desc=y;dur="30"') == {"queue": 1.5, "work": 30.0}
    assert server_timing("") == server_timing("queue;dur=soon") == {}
