"""The load generator: one asyncio loop that sends on schedule and turns every end of a request into a row.

Open loop sends at the scheduled moment and waits for nobody; closed loop keeps a number of clients busy, each sending its next
request when its last has ended. Requests share keep-alive connections, as many as are needed at once.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from tqdm import tqdm

from bench.latency import no_collection
from bench.load.judge import judge, line, number, server_timing, without_secrets
from bench.load.rows import Row
from bench.load.schedule import Arrivals

_LEAD_S = 0.05  # between making the plan and the first moment of a step


@dataclass(frozen=True)
class Target:
    """An endpoint and what is sent to it.

    Attributes:
        url: of the requests.
        bodies: cycled in this order, POST; none at all is GET.
        headers: sent with every request, kept out of every log.
        timeout_s: from sending to the last byte.
        json_answers: whether an answer that is no JSON is malformed.
    """

    url: str
    bodies: Sequence[bytes]
    timeout_s: float
    json_answers: bool
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Sent:
    """What a step sent: the rows, the seconds it took and the generator's own CPU seconds."""

    rows: list[Row]
    scheduled: int
    seconds: float
    cpu_s: float


def open_loop(target: Target, arrivals: Arrivals, progress: str) -> Sent:
    """Send at the scheduled moments; returns when the last request has ended."""

    async def drive(session: aiohttp.ClientSession, begun: float) -> tuple[list[Row], int]:
        names = [segment.phase for segment in arrivals.segments]
        waiting = []
        planned = list(zip(arrivals.offsets_s.tolist(), arrivals.segment.tolist(), strict=True))
        for place, (offset, segment) in enumerate(tqdm(planned, progress, unit="req", mininterval=1)):
            await asyncio.sleep(max(0.0, begun + offset - time.perf_counter()))
            waiting.append(asyncio.create_task(_ask(session, target, names[segment], place, offset, begun)))
        return list(await asyncio.gather(*waiting)), len(planned)

    return _run(target, drive)


def closed_loop(target: Target, phase: str, clients: int, seconds: float, progress: str) -> Sent:
    """Keep `clients` busy for `seconds`; what was begun by then is waited for."""

    async def drive(session: aiohttp.ClientSession, begun: float) -> tuple[list[Row], int]:
        numbers, rows = itertools.count(), []
        bar = tqdm(desc=progress, unit="req", mininterval=1)

        async def client() -> None:
            free = max(0.0, time.perf_counter() - begun)
            while free < seconds:
                rows.append(await _ask(session, target, phase, next(numbers), free, begun))
                bar.update()
                free = time.perf_counter() - begun

        await asyncio.sleep(max(0.0, begun - time.perf_counter()))
        await asyncio.gather(*(client() for _ in range(clients)))
        bar.close()
        return sorted(rows, key=lambda row: row.number), next(numbers)

    return _run(target, drive)


def _run(target: Target, drive: Any) -> Sent:
    async def whole() -> Sent:
        kind = {"Content-Type": "application/json"} if target.bodies else {}
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=target.timeout_s),
            headers=kind | target.headers, cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:  # fmt: skip
            begun, cpu = time.perf_counter() + _LEAD_S, time.process_time()
            rows, scheduled = await drive(session, begun)
            return Sent(rows, scheduled, time.perf_counter() - begun, time.process_time() - cpu)

    with no_collection():
        return asyncio.run(whole())


async def _ask(
    session: aiohttp.ClientSession, target: Target, phase: str, place: int, intended: float, begun: float
) -> Row:
    """Send one request; whatever happens to it becomes its row."""
    body = target.bodies[place % len(target.bodies)] if target.bodies else None
    status, headers, payload, failed = None, {}, b"", None
    sent = time.perf_counter() - begun
    try:
        method = "POST" if body else "GET"
        async with session.request(method, target.url, data=body, allow_redirects=False) as answer:
            status, headers = answer.status, answer.headers
            payload = await answer.read()
    except TimeoutError:
        failed = "timeout", f"no whole answer within {target.timeout_s:g} s"
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as failure:
        failed = "connection", line(failure)
    except aiohttp.ClientError as failure:
        failed = "malformed", line(failure)
    ended = time.perf_counter() - begun
    outcome, error = failed or judge(status or 0, payload, target.json_answers)
    told = server_timing(headers.get("Server-Timing", ""))
    return Row(
        phase, place, intended, sent, ended, outcome, status, told.get("queue"), told.get("work"),
        number(headers.get("Retry-After")), without_secrets(error, target.headers),
    )  # fmt: skip
