"""One attempt over HTTP, through the `openai` client, to any endpoint that speaks its /chat/completions.

The client's own retries are off: every attempt is booked, let through and written down by bench.frontier.ask. What comes
back is the response's text as it was, or what went wrong on the way; what the text is worth is bench.frontier.answer's.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from navigator.contracts.errors import UserError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

KEY_VARIABLE = "NAVIGATOR_FRONTIER_KEY"
HEADERS = (
    "content-type",
    "date",
    "retry-after",
    "retry-after-ms",
    "x-request-id",
    "request-id",
    "openai-processing-ms",
)
HEADER_STARTS = ("x-ratelimit-", "anthropic-ratelimit-")
_HIDDEN = "[key]"
_SECRET_CHARS = 12  # a shorter key is a word for a server that wants none, and may stand in any answer


@dataclass(frozen=True)
class Endpoint:
    """Where requests go; `base_url` ends before /chat/completions."""

    base_url: str
    key: str
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Reply:
    """What came of an attempt; see bench.frontier.journal.Done."""

    latency_ms: float
    status: int | None = None
    headers: dict[str, str] | None = None
    raw: str | None = None
    error_kind: str | None = None
    error: str | None = None

    @property
    def worth_another(self) -> bool:
        """Whether the same request may go through later: no response, busy, too many requests, or the server's fault.

        Not where the account is out of money, which OpenAI answers with 429 as well.
        """
        if self.status is None:
            return self.error_kind is not None
        return (self.status in (408, 409, 429) or self.status >= 500) and "insufficient_quota" not in (self.raw or "")


def endpoint_at(base_url: str, timeout_s: float = 60.0) -> Endpoint | None:
    """The endpoint with its key from the environment; None without a key.

    Raises:
        UserError: no http(s) URL, or one that holds a password or a query, which reports would repeat; a key that no HTTP
            header can hold.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not _plain(parts):
        raise UserError(
            f"base_url {parts._replace(netloc=parts.hostname or '', query='').geturl()!r} (without user, port and query): "
            f"allowed is http(s)://HOST/PATH such as https://api.openai.com/v1, the key goes into {KEY_VARIABLE}"
        )
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"the key in {KEY_VARIABLE} holds characters that no HTTP header can; allowed is printable ASCII"
        )
    return Endpoint(base_url.rstrip("/"), key, timeout_s) if key else None


def _plain(parts: SplitResult) -> bool:
    """Whether an address holds a host and maybe a port and a path, and nothing else."""
    try:
        wrong_port = parts.port == 0
    except ValueError:  # no number, or one above 65,535
        wrong_port = True
    return bool(parts.hostname) and not (
        parts.username or parts.password or parts.query or parts.fragment or wrong_port
    )


def open_client(endpoint: Endpoint) -> "AsyncOpenAI":
    """A client that retries nothing and sends no header from OPENAI_ variables.

    Raises:
        UserError: the openai package is not installed.
    """
    try:
        from openai import AsyncOpenAI, omit
    except ImportError as error:
        raise UserError(
            "asking hosted models needs the openai package; install the extra frontier: pip install -e '.[frontier]'"
        ) from error
    unsent: Any = {"OpenAI-Organization": omit, "OpenAI-Project": omit}
    return AsyncOpenAI(
        api_key=endpoint.key,
        base_url=endpoint.base_url,
        timeout=endpoint.timeout_s,
        max_retries=0,
        default_headers=unsent,
    )


async def attempt(client: "AsyncOpenAI", endpoint: Endpoint, payload: Mapping[str, Any]) -> Reply:
    """Send once. `timeout_s` is for the whole response, so a server that trickles cannot hold a request for ever."""
    import openai

    begun = time.perf_counter()

    def reply(status: int | None = None, **known: Any) -> Reply:
        return _without(endpoint.key, Reply((time.perf_counter() - begun) * 1000, status, **known))

    try:
        async with asyncio.timeout(endpoint.timeout_s):
            got = (await client.chat.completions.with_raw_response.create(**payload)).http_response
    except openai.APIStatusError as error:
        kind, text = f"http-{error.status_code}", error.response.text
        return reply(
            error.status_code, headers=_kept(error.response.headers), raw=text, error_kind=kind, error=text[:200]
        )
    except (TimeoutError, openai.APITimeoutError):
        return reply(error_kind="timeout", error=f"no whole response in {endpoint.timeout_s:g} s")
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        return reply(error_kind="connection", error=f"{type(cause).__name__}: {cause}")
    if got.status_code != 200:
        return reply(
            got.status_code, headers=_kept(got.headers), raw=got.text, error_kind=f"http-{got.status_code}",
            error="a success status other than 200 is no chat completion",
        )  # fmt: skip
    return reply(got.status_code, headers=_kept(got.headers), raw=got.text)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    named = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in named.items() if name in HEADERS or name.startswith(HEADER_STARTS)}


def _without(key: str, reply: Reply) -> Reply:
    """The reply with the key taken out wherever the endpoint repeats it."""

    def hide(text: str | None) -> str | None:
        return text.replace(key, _HIDDEN) if text and len(key) >= _SECRET_CHARS else text

    headers = {name: str(hide(value)) for name, value in (reply.headers or {}).items()}
    return Reply(reply.latency_ms, reply.status, headers, hide(reply.raw), reply.error_kind, hide(reply.error))
