"""What an answer is worth, and what its headers say: from the bytes of HTTP to the words of a row."""

import json
from collections.abc import Mapping

from bench.load.rows import Outcome

_SHOWN = 200  # characters of an error that a row keeps


def judge(status: int, payload: bytes, json_answers: bool) -> tuple[Outcome, str | None]:
    """The outcome of an answer that came whole, and what went wrong."""
    if 200 <= status < 300:
        if json_answers and not _is_json(payload):
            return "malformed", f"status {status}, but the answer is no JSON"
        return "ok", None
    said = " ".join(payload[:_SHOWN].decode("utf-8", "replace").split())
    if status == 429:
        return "http_429", said
    known: dict[int, Outcome] = {4: "http_4xx", 5: "http_5xx"}
    return known.get(status // 100, "http_other"), said


def line(failure: Exception) -> str:
    """An exception as one line."""
    return f"{type(failure).__name__}: {' '.join(str(failure).split())}"[:_SHOWN]


def without_secrets(text: str | None, headers: Mapping[str, str]) -> str | None:
    """An endpoint may say in its error which key it was given: words of the headers that were sent are starred."""
    for value in headers.values():
        for word in sorted((w for w in value.split() if len(w) > 5), key=len, reverse=True):
            text = text and text.replace(word, "***")
    return text


def server_timing(header: str) -> dict[str, float]:
    """Entry -> milliseconds of a Server-Timing header (W3C Server Timing), such as "queue;dur=1.5, work;dur=30"."""
    found = {}
    for entry in header.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        value = number(next((p[4:].strip('"') for p in parameters if p.startswith("dur=")), None))
        if value is not None:
            found[name] = value
    return found


def number(text: str | None) -> float | None:
    """None where there is no number (Retry-After may also be a date, which is left out)."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except ValueError:
        return False
    return True
