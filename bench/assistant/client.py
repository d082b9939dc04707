"""The two requests that are scored, over HTTP: POST /v1/chat/completions and POST /v1/search; a failure is a reply too."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bench.load.judge import line, number, without_secrets

CHAT, SEARCH = "/v1/chat/completions", "/v1/search"
PATIENCE = 5  # times that a request waits as Retry-After says: a rate limit is no failure of what is scored here
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class Reply:
    """What came back; unknown is None.

    Attributes:
        text: of the answer; "" where the system has no words.
        items: shown, best first.
        refused, grounded, retrieved: what the server says of itself.
        waits: how often the server said 429 and when to come back; that time is in no latency.
        error: what went wrong, one line; then nothing else is known but the time, and the status if there was an answer.
    """

    latency_ms: float | None = None
    status: int | None = None
    error: str | None = None
    text: str = ""
    items: list[str] = field(default_factory=list)
    refused: bool | None = None
    grounded: bool | None = None
    retrieved: bool | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    release: str | None = None
    waits: int = 0


@dataclass(frozen=True)
class Endpoint:
    """A server; `headers`, such as a key, are sent and kept out of every file."""

    url: str
    timeout_s: float
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def chat(self, body: dict[str, Any]) -> Reply:
        """One chat completion."""
        return self._ask(CHAT, body, _chat)

    def search(self, body: dict[str, Any]) -> Reply:
        """One search."""
        return self._ask(SEARCH, body, _search)

    def _ask(self, route: str, body: dict[str, Any], read: Callable[[Any], dict[str, Any]]) -> Reply:
        for waits in range(PATIENCE):
            reply, wait_s = self._once(route, body, read)
            if wait_s is None:
                return replace(reply, waits=waits)
            time.sleep(wait_s)
        return replace(self._once(route, body, read)[0], waits=PATIENCE)

    def _once(
        self, route: str, body: dict[str, Any], read: Callable[[Any], dict[str, Any]]
    ) -> tuple[Reply, float | None]:
        """One attempt, and the seconds after which the server wants to be asked again, if it says so."""
        sent = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(self.url.rstrip("/") + route, json.dumps(body).encode(), sent)
        begun, status, wait_s = time.perf_counter(), None, None
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
                status, raw = answer.status, answer.read()
            latency_ms = (time.perf_counter() - begun) * 1000
            return Reply(latency_ms=latency_ms, status=status, **read(json.loads(raw))), None
        except urllib.error.HTTPError as error:
            status, said = error.code, f"HTTP {error.code}: {_message(error.read())}"
            after = number(error.headers.get("Retry-After"))
            wait_s = after if status == 429 and after is not None and after <= LONGEST_WAIT_S else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = line(error)
        except (KeyError, TypeError, IndexError) as error:
            said = f"the answer is not of the form that {route} has: {line(error)}"
        return Reply((time.perf_counter() - begun) * 1000, status, without_secrets(said, self.headers)), wait_s


def _chat(answer: dict[str, Any]) -> dict[str, Any]:
    own, usage = answer["navigator"], answer.get("usage") or {}
    return {
        "text": answer["choices"][0]["message"]["content"] or "", "items": [str(shown["item"]) for shown in own["items"]],
        "refused": bool(own["refused"]), "grounded": bool(own["grounded"]), "retrieved": bool(own["retrieved"]),
        "prompt_tokens": usage.get("prompt_tokens"), "completion_tokens": usage.get("completion_tokens"),
        "release": own.get("release"),
    }  # fmt: skip


def _search(answer: dict[str, Any]) -> dict[str, Any]:
    items = [str(shown["item"]) for shown in answer["results"]]
    return {"items": items, "refused": not items, "retrieved": True, "release": answer.get("release")}


def _message(raw: bytes) -> str:
    """What an error of OpenAI's form says, or the beginning of whatever came."""
    try:
        return str(json.loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return raw[:200].decode(errors="replace")
