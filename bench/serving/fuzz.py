"""The command `navigator-bench fuzz`: thousands of broken requests; does the server stay up, quick, and as small as it was?"""

import http.client
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from navigator.contracts.errors import UserError

GROWTH = 0.05
_SETTLED_S = 2.0


def fuzz(
    url: str, catalog: Path, count: int = 2000, warm_up: int = 500, timeout_s: float = 30.0, skip: list[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Send broken bodies and pictures to every POST route of a running `navigator serve`.

    Wanted: no answer of 500 and above (an overrun deadline, 504, is none, nor is a part that the server was started
    without, 503 not_served and the like), every answer within the time-out, memory at most 5 % above what it was after the
    warm-up. The exit code is 1 where one of them is missed.

    Args:
        url: of the server, started with --per_minute 0.
        catalog: what it serves.
        count: requests that are judged.
        warm_up: requests of another seed before them.
        timeout_s: seconds after which a request hangs.
        skip: routes to leave out, such as /v1/chat/completions where an answer takes long.
        seed: of what is drawn.

    Returns:
        Answers by status, failures with what was sent, the slowest answer, memory before and after, and the verdict.

    Raises:
        UserError: nobody answers there, or the catalogue has too few items.
    """
    from bench.load.target import read_headers
    from bench.serving.meters import read_meters
    from bench.serving.mutate import mutated
    from navigator.contracts import Catalog

    items = Catalog.open(catalog).item_ids[:6]
    if len(items) < 6:
        raise UserError(f"catalogue {catalog} has {len(items)} items; 6 are needed to make requests of")
    headers, left_out = read_headers(), skip or []

    def memory() -> float | None:
        time.sleep(_SETTLED_S)
        return read_meters(url.rstrip("/"), "search", headers).memory_bytes

    _send_all(url, mutated(items, warm_up, seed + 1, left_out), headers, timeout_s)
    before = memory()
    answers = _send_all(url, mutated(items, count, seed, left_out), headers, timeout_s)
    after = memory()
    growth = None if not before or after is None else after / before - 1
    failures = [f"{status}: {path}: {how}" for status, path, how, _ in answers if not _fine(status)]
    met = not failures and growth is not None and growth <= GROWTH
    return {
        "requests": len(answers), "statuses": dict(sorted(Counter(str(status) for status, *_ in answers).items())),
        "failures": failures[:50], "n_failures": len(failures), "slowest_s": round(max(spent for *_, spent in answers), 3),
        "memory_mb": [None if value is None else round(value / 2**20, 1) for value in (before, after)],
        "growth": None if growth is None else round(growth, 4), "met": met, "exit_code": int(not met),
    }  # fmt: skip


def _fine(status: str) -> bool:
    return status in ("504", "503 not_served", "503 events_not_kept") or status[:1] in "234"


def _send_all(
    url: str, requests: Sequence[Any], headers: dict[str, str], timeout_s: float
) -> list[tuple[str, str, str, float]]:
    """For each request its status (or what came in its place), route, what was done to it, and the seconds."""
    from tqdm import tqdm

    sent = []
    for request in tqdm(requests, "requests"):
        begun = time.perf_counter()
        status = _send(url, request, headers, timeout_s)
        sent.append((status, request.path, request.how, time.perf_counter() - begun))
    return sent


def _send(url: str, request: Any, headers: dict[str, str], timeout_s: float) -> str:
    """Status, with the code of a 503; or what was wrong with the connection."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=timeout_s)
    try:
        connection.request("POST", request.path, request.body, headers | request.headers)
        answer = connection.getresponse()
        said = answer.read()
    except TimeoutError:
        return "no answer in time"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({type(error).__name__})"
    finally:
        connection.close()
    code = next((own for own in ("not_served", "events_not_kept") if own.encode() in said), "")
    return f"{answer.status} {code}".strip() if answer.status == 503 else str(answer.status)
