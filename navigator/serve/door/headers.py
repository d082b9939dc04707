"""What a request's headers must say, and what every answer's headers say to the browser.

A server on loopback without keys is open to whatever runs on this computer, pages in its browser included. Two checks
keep pages of other sites out: a name that an attacker points at 127.0.0.1 (DNS rebinding) is not among the names that we
answer to, and a form or script of another origin gives itself away by Origin (or Sec-Fetch-Site).
"""

import ipaddress
import re
import uuid
from collections.abc import Iterable
from urllib.parse import urlsplit

from navigator.contracts import UserError
from navigator.refusal import Refusal
from navigator.serve.door.options import DoorOptions

Headers = Iterable[tuple[bytes, bytes]]  # as ASGI has them: names in lower case

HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
SAFE = ("GET", "HEAD", "OPTIONS")

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def one(headers: Headers, name: str) -> str | None:
    """The value of a header that may come once.

    Raises:
        Refusal: 400, it came more than once, so that nobody could say which of them counts.
    """
    values = [value for key, value in headers if key == name.encode()]
    if len(values) > 1:
        raise Refusal(400, "header_twice", f"the request has {len(values)} headers {name}; send one")
    return values[0].decode("latin-1") if values else None


def request_id(headers: Headers) -> str:
    """The client's X-Request-Id if it is one and 1 to 64 letters, digits and . _ -; else a new one."""
    given = [value.decode("latin-1") for key, value in headers if key == b"x-request-id"]
    return given[0] if len(given) == 1 and REQUEST_ID.fullmatch(given[0]) else uuid.uuid4().hex


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a server that is bound to `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_binding(host: str, has_keys: bool, insecure: bool = False) -> None:
    """Nobody serves other computers without keys by accident.

    Raises:
        UserError: `host` is not loopback, there are no keys, and it was not asked for by --insecure.
    """
    if not (has_keys or insecure or is_loopback(host)):
        raise UserError(
            f"host {host!r} can be reached from other computers, and there are no keys: make one with `navigator keys "
            "create` and give --keys FILE, bind to 127.0.0.1, or say --insecure to let everybody do everything"
        )


def check_host(headers: Headers, options: DoorOptions) -> str:
    """The Host header, in lower case.

    Raises:
        Refusal: 400 without one or with an odd one, 421 for a name that we do not go by.
    """
    host = (one(headers, "host") or "").lower()
    parsed = HOST.fullmatch(host)
    if not parsed:
        raise Refusal(400, "bad_host", "the request has no valid Host header")
    ours = {name.lower() for name in options.hosts}
    if is_loopback(options.host):
        ours |= set(LOOPBACK_NAMES)
    if ours and host not in ours and parsed[1] not in ours:
        raise Refusal(421, "wrong_host", "the server does not go by that Host; its owner can add it with --hosts")
    return host


def check_origin(method: str, headers: Headers, host: str, options: DoorOptions) -> None:
    """A request that could change something or cost something comes from our page or from no page.

    Raises:
        Refusal: 403, it comes from a page of another origin.
    """
    if method in SAFE:
        return
    origin, site = one(headers, "origin"), one(headers, "sec-fetch-site")
    if origin is None:
        foreign = site not in (None, "same-origin", "none")
    else:
        foreign = _netloc(origin) not in {host, *(name.lower() for name in options.hosts)}
    if foreign:
        raise Refusal(403, "cross_origin", "pages of other origins may not call this server; its owner can add --hosts")


def dressed(headers: Headers, request_id: str, api: bool) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with ours added; ours win. What the API says is not stored unless the answer allows it."""
    ours = {**SECURITY, "X-Request-Id": request_id}
    taken = {name.lower().encode() for name in ours}
    kept = [(name, value) for name, value in headers if name.lower() not in taken]
    if api and not any(name.lower() == b"cache-control" for name, _ in kept):
        kept.append((b"cache-control", b"no-store"))
    return kept + [(name.lower().encode(), value.encode()) for name, value in ours.items()]


def _netloc(origin: str) -> str:
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return ""
    return parts.netloc if parts.scheme in ("http", "https") else ""
