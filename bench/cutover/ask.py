"""Questions to a server of releases, and what is remembered of each answer: which release says it gave it, and what it is."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from navigator.contracts import UserError

_TIMEOUT_S = 60.0
_CLOSE = 1e-3  # scores of one release in batches of another size differ in the last digits


@dataclass(frozen=True)
class Question:
    """A POST to the server."""

    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What came of a question.

    Attributes:
        question: its number.
        failure: why there is no answer; None where there is one.
        header, release: the release by X-Navigator-Release and by the body.
        said: the answer without release and timings.
        sent, took_ms: when by time.monotonic(), and how long it took.
    """

    question: int
    failure: str | None
    header: str | None
    release: str | None
    said: Any
    sent: float
    took_ms: float


class Client:
    """One connection that is kept alive.

    Args:
        url: of the server.
        key: sent as a bearer token, "" for none.
    """

    def __init__(self, url: str, key: str = ""):
        found = urlsplit(url)
        if found.scheme != "http" or not found.hostname:
            raise UserError(f"--url {url} is not http://HOST:PORT; give what `navigator serve` printed")
        self._connection = http.client.HTTPConnection(found.hostname, found.port or 80, timeout=_TIMEOUT_S)
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def close(self) -> None:
        """The next request would open the connection again."""
        self._connection.close()

    def get(self, path: str) -> Any:
        """Raises UserError where there is no answer with status 200."""
        self.close()  # seconds may lie between two of these, and a server closes what is idle
        try:
            self._connection.request("GET", path, headers=self._headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UserError(
                f"the server does not answer GET {path} ({error}); is `navigator serve` running?"
            ) from error
        if answer.status != 200:
            raise UserError(f"GET {path} is answered with {answer.status}: {content[:200].decode(errors='replace')}")
        return json.loads(content)

    def ask(self, number: int, question: Question) -> Reply:
        """Whatever happens is a Reply."""
        sent = time.monotonic()
        header, body, failure = None, {}, None
        try:
            self._connection.request("POST", question.path, json.dumps(question.body), self._headers)
            answer = self._connection.getresponse()
            content, header = answer.read(), answer.headers.get("X-Navigator-Release")
            body = json.loads(content)
            if answer.status != 200:
                failure = f"{answer.status}: {content[:200].decode(errors='replace')}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            failure = f"{type(error).__name__}: {error}"
            self.close()
        took_ms = (time.monotonic() - sent) * 1000
        said = {name: value for name, value in body.items() if name not in ("release", "timings_ms")}
        return Reply(number, failure, header, body.get("release"), said, sent, took_ms)


def make_questions(client: Client, count: int) -> list[Question]:
    """Searches, recommendations, rankings and embeddings of items that lie on the server's boards, taking turns.

    Raises:
        UserError: too few items on boards.
    """
    boards = [client.get(f"/v1/boards/{board['board']}")["items"] for board in client.get("/v1/boards?limit=20")]
    items = list(dict.fromkeys(one["item"] for board in boards for one in board))
    if len(items) < 16:
        raise UserError(f"the server's largest boards hold {len(items)} items; at least 16 are needed to ask about")
    turns = itertools.cycle(("/v1/search", "/v1/recommend", "/v1/rank", "/v1/embeddings"))
    found = []
    for number, path in zip(range(count), turns, strict=False):
        own = [items[(number * 7 + step) % len(items)] for step in range(12)]
        body = {
            "/v1/search": {"item": own[0], "k": 5},
            "/v1/recommend": {"history": own[:3], "k": 5},
            "/v1/rank": {"history": own[:3], "candidates": own[3:]},
            "/v1/embeddings": {"model": "navigator", "input": [{"type": "item", "item": own[0]}]},
        }[path]
        found.append(Question(path, body))
    return found


def ask_all(
    url: str, key: str, asked: Sequence[Question], count: int, clients: int, until: threading.Event
) -> list[Reply]:
    """At least `count` replies by so many clients at once, who go on until the event is set too."""
    numbers, lock = itertools.count(), threading.Lock()

    def one_client(_: int) -> list[Reply]:
        replies = []
        with closing(Client(url, key)) as client:
            while True:
                with lock:
                    number = next(numbers)
                if number >= count and until.is_set():
                    return replies
                replies.append(client.ask(number % len(asked), asked[number % len(asked)]))

    with ThreadPoolExecutor(clients) as pool:
        return [reply for own in pool.map(one_client, range(clients)) for reply in own]


def alike(one: Any, other: Any) -> bool:
    """Whether two answers say the same; numbers may differ in what rounding leaves."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other) <= _CLOSE * max(1.0, abs(one))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(*pair) for pair in zip(one, other, strict=True))
    return one == other
