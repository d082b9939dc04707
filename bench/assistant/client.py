"""The two requests that are scored, over HTTP: POST /v1/chat/completions and POST /v1/search; a failure is a reply too."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.load.judge import line, without_secrets

CHAT, SEARCH = "/v1/chat/completions", "/v1/search"


@dataclass(frozen=True)
class Reply:
    """What came back; unknown is None.

    Attributes:
        text: of the answer; "" where the system has no words.
        items: shown, best first.
        refused, grounded, retrieved: what the server says of itself.
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
        sent = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(self.url.rstrip("/") + route, json.dumps(body).encode(), sent)
        begun, status = time.perf_counter(), None
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
                status, raw = answer.status, answer.read()
            latency_ms = (time.perf_counter() - begun) * 1000
            return Reply(latency_ms=latency_ms, status=status, **read(json.loads(raw)))
        except urllib.error.HTTPError as error:
            status, said = error.code, f"HTTP {error.code}: {_message(error.read())}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = line(error)
        except (KeyError, TypeError, IndexError) as error:
            said = f"the answer is not of the form that {route} has: {line(error)}"
        return Reply((time.perf_counter() - begun) * 1000, status, without_secrets(said, self.headers))


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
