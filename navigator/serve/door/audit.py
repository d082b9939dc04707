"""The door's audit log: one JSON line for every admin call, every refused key and every key made or revoked.

The lines are chained as those of graph.audit (each carries the SHA-256 of the one before, under the same names), so
`verify` is its check. Only the end of the file is read to append: anybody can cause lines here, and a log that is read
whole for each of them would let strangers slow the server down.
"""

import datetime
import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from graph.audit import NOTHING, verify_audit
from navigator.contracts import UserError

TAIL = 2**16  # bytes; a line is a few hundred


@dataclass(frozen=True)
class Line:
    """What happened.

    Attributes:
        who: name of the key, or of the person at the command line; None where nobody is known. Never a key.
        what: such as "POST /v1/admin/reload".
        outcome: of the call.
        reason: the refusal's code, or what was changed.
        origin: the address that it came from ("from" in the log).
        request_id: of the answer.
        status: of HTTP.
        not_written: refused keys from that address since its last line that were turned away without one.
    """

    who: str | None
    what: str
    outcome: Literal["done", "refused", "failed"]
    reason: str = ""
    origin: str | None = None
    request_id: str | None = None
    status: int | None = None
    not_written: int = 0


class AuditLog:
    """A log file; several processes may write to it at once."""

    def __init__(self, path: Path):
        self.path = path

    def check(self) -> None:
        """Whether a line could be written now.

        Raises:
            UserError: it could not; nothing that has to be in the log may be done then.
        """
        os.close(self._open())

    def write(self, line: Line) -> str:
        """Append `line`; it is on the disk on return. Gives the head, for `verify`.

        Raises:
            UserError: the log cannot be written.
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            number, previous, torn = _end(descriptor)
            text = json.dumps({"line": number + 1, **_said(line), "previous": previous}).encode()
            os.write(descriptor, torn + text + b"\n")
            os.fsync(descriptor)
            return hashlib.sha256(text).hexdigest()
        except OSError as error:
            raise UserError(f"audit log {self.path} cannot be written ({error.strerror})") from error
        finally:
            os.close(descriptor)  # unlocks

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise UserError(
                f"audit log {self.path} cannot be written ({error.strerror}); make its folder writable"
            ) from error


def verify(log: Path, head: str = "") -> list[str]:
    """What is wrong with a log, one sentence a finding; nothing means that no line was altered or removed.

    Args:
        log: file of the log.
        head: a head that `AuditLog.write` gave earlier; the log must still contain that line.

    Raises:
        UserError: there is no log.
    """
    if not log.is_file():
        raise UserError(f"audit log {log} does not exist; the server writes one at the first admin call or refused key")
    return verify_audit(log, head)


def _said(line: Line) -> dict[str, Any]:
    said = asdict(line)
    said["from"] = said.pop("origin")
    return {"when": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"), **said}


def _end(descriptor: int) -> tuple[int, str, bytes]:
    """Lines so far, hash of the last one, and what has to end it first (a writer was killed within a line)."""
    size = os.fstat(descriptor).st_size
    if not size:
        return 0, NOTHING, b""
    tail = os.pread(descriptor, TAIL, max(0, size - TAIL))
    last = tail.removesuffix(b"\n").rpartition(b"\n")[2]
    try:
        if tail.endswith(b"\n"):
            return int(json.loads(last)["line"]), hashlib.sha256(last).hexdigest(), b""
    except (ValueError, KeyError, TypeError):
        pass  # not one of our lines: counted the long way
    whole = os.pread(descriptor, size, 0)
    torn = b"" if whole.endswith(b"\n") else b"\n"
    lines = (whole + torn).split(b"\n")[:-1]
    return len(lines), hashlib.sha256(lines[-1]).hexdigest(), torn
