"""Everything that was sent and answered, one JSON line each, on disk before the next step: what was paid for is never lost.

    {"event": "sent", key, attempt, at, usd_at_most}     before an attempt leaves
    {"event": "done", key, attempt, ... status, headers, raw, usd}     after it came back, or did not

A run that was killed leaves a "sent" without its "done": it may have been billed, and counts at the most it can cost. Lines
hold no key and no picture bytes (pictures are named by their SHA-256).
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from navigator.contracts.errors import UserError

ANSWERED = 200


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    attempt: int
    at: str


class Sent(_Line):
    """An attempt about to leave. `usd_at_most` is null for a model without a price."""

    event: Literal["sent"] = "sent"
    usd_at_most: float | None


class Done(_Line):
    """An attempt that ended.

    Attributes:
        request: the body, pictures by digest.
        waited_ms: for money, rate limits and after the attempt before, before this one left.
        latency_ms: from leaving to the whole response, or to giving up.
        status: HTTP status; null where no response came.
        headers: those that matter (bench.frontier.client.HEADERS).
        raw: the response's text; null where none came.
        error: what went wrong on the way, null with status 200; the kind is http-STATUS, timeout or connection.
        usd: what it cost: by the usage reported, 0 for a response that reports an error, at most that much where nothing
            tells (then `usd_known` is false); null for a model without a price.
    """

    event: Literal["done"] = "done"
    query_id: str
    model: str
    base_url: str
    request: dict[str, Any]
    waited_ms: float
    latency_ms: float
    status: int | None
    headers: dict[str, str]
    raw: str | None
    error_kind: str | None
    error: str | None
    usd: float | None
    usd_known: bool


_LINE: TypeAdapter[Sent | Done] = TypeAdapter(Annotated[Sent | Done, Field(discriminator="event")])


class Journal:
    """The file, open for appending; one process at a time.

    Attributes:
        done: key -> its ended attempts, in their order, of this and earlier runs.
    """

    def __init__(self, path: Path):
        """Open and read.

        Raises:
            UserError: another process writes it, or a line in it is none of ours.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.done: dict[str, list[Done]] = {}
        self._open: dict[tuple[str, int, str], float] = {}
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(f"another run writes {path}; wait for it, or give another --answers") from error
        self._read()

    def write(self, line: Sent | Done) -> None:
        """Append a line and force it to disk."""
        self._file.write(line.model_dump_json().encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._count(line)

    def answered(self, key: str) -> bool:
        """Whether the endpoint ever answered the request: then it is not asked again, whatever the answer is worth."""
        return any(done.status == ANSWERED for done in self.done.get(key, []))

    def spent_usd(self) -> float:
        """All that this file knows was spent, or may have been."""
        ended = sum(done.usd or 0.0 for own in self.done.values() for done in own)
        return ended + sum(self._open.values())

    def of(self, keys: Sequence[str]) -> list[Done]:
        """The ended attempts of these requests, for a report's own copy."""
        return [done for key in keys for done in self.done.get(key, [])]

    def close(self) -> None:
        self._file.close()

    def _read(self) -> None:
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        whole = sum(len(line) + 1 for line in lines[:-1])
        for number, line in enumerate(lines[:-1], start=1):
            try:
                self._count(_LINE.validate_json(line))
            except ValidationError as error:
                raise UserError(
                    f"{self.path} line {number} is no line of a frontier journal ({error.errors()[0]['msg']}); give another "
                    "--answers"
                ) from error
        self._file.truncate(whole)  # a line that a kill cut off; its "sent" line still counts

    def _count(self, line: Sent | Done) -> None:
        if isinstance(line, Sent):
            self._open[line.key, line.attempt, line.at] = line.usd_at_most or 0.0
        else:
            self._open.pop((line.key, line.attempt, line.at), None)
            self.done.setdefault(line.key, []).append(line)
