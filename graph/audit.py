"""The audit log: one JSON line for everything that was done with a taste graph, and for everything that was refused.

The log of OUT is OUT.audit.jsonl, beside the artefact, so that it outlives the artefact's replacement and is no part of
what is published. A line is appended under a lock, in one write, and is on the disk before the command returns. Each
line carries the SHA-256 of the line before: an altered or a removed line is found by `verify_audit`. Lines cut off the
end are found by whoever kept a later head (`entry.head`, which commands return); against someone who rewrites the whole
log only such a kept head helps.
"""

import datetime
import fcntl
import getpass
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from navigator.contracts import UserError

ACTOR = "NAVIGATOR_ACTOR"
NOTHING = "0" * 64
Outcome = Literal["done", "refused", "failed"]


@dataclass
class Entry:
    """What a line will say; fill in what becomes known on the way.

    Attributes:
        what: the command or the access, such as "graph build".
        purpose: the purpose it was asked for under.
        policy: fingerprint of the policy, "" while unknown.
        artefacts: fingerprints by role, such as {"catalog": ..., "graph": ...}.
        parameters: options that matter.
        secret: words that must not enter the log, and what is written in their place (see `graph.forget`).
        head: SHA-256 of the line, once it is written.
    """

    what: str
    purpose: str
    policy: str = ""
    artefacts: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    secret: dict[str, str] = field(default_factory=dict)
    head: str = ""

    def write(self, log: Path, outcome: Outcome, reason: str = "") -> None:
        """Append to `log` (see `audit_path`)."""
        for word, instead in self.secret.items():
            reason = reason.replace(word, instead)
        said = {
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"), "who": actor(),
            "purpose": self.purpose, "what": self.what, "outcome": outcome, "reason": reason, "policy": self.policy,
            "artefacts": self.artefacts, "parameters": self.parameters,
        }  # fmt: skip

        def line(before: list[bytes]) -> bytes:
            chain = {"line": len(before) + 1, **said, "previous": _sha(before[-1]) if before else NOTHING}
            return json.dumps(chain, default=str).encode()

        self.head = _sha(append_locked(log, line))


@contextmanager
def audited(
    out: Path, what: str, purpose: str, parameters: dict[str, Any] | None = None, also: Path | None = None,
    made: bool = True,
) -> Iterator[Entry]:  # fmt: skip
    """Whatever happens in the block becomes one line in the log of `out`: done, refused (UserError) or failed.

    Args:
        out: the artefact that is made, or that is read where nothing is made.
        what: the command, such as "graph build".
        purpose: name of the purpose.
        parameters: options that matter; never the id of a person.
        also: another artefact whose log gets the line too, such as the graph that an export is taken from.
        made: whether `out` is made. A log is not begun beside an input that does not exist, `out` of which nothing is
            made or `also`: a mistyped name is refused without a trace of it.

    Raises:
        UserError: a log cannot be written; nothing was done then.
    """
    entry = Entry(what, purpose, parameters=dict(parameters or {}))
    logs = [
        audit_path(path)
        for path in dict.fromkeys((Path(out), Path(also or out)))
        if path.exists() or audit_path(path).exists() or (made and path == Path(out))
    ]
    for log in reversed(logs):
        append_locked(log, lambda lines: b"")

    def write(outcome: Outcome, reason: str = "") -> None:
        for log in reversed(logs):  # the head that stays is that of `out`
            entry.write(log, outcome, reason)

    try:
        yield entry
    except UserError as error:
        write("refused", str(error))
        raise
    except BaseException as error:  # interrupts as well: what was begun is in the log, and nothing is swallowed
        write("failed", f"{type(error).__name__}: {error}")
        raise
    write("done")


def audit_path(out: Path) -> Path:
    """OUT.audit.jsonl."""
    out = Path(out).absolute()
    return out.with_name(out.name + ".audit.jsonl")


def read_audit(log: Path) -> list[dict[str, Any]]:
    """The lines of a log, oldest first; none where there is no log."""
    return [json.loads(line) for line in _lines(log.read_bytes())] if log.is_file() else []


def verify_audit(log: Path, head: str = "") -> list[str]:
    """What is wrong with a log, one sentence a finding; nothing means that no line was altered or removed.

    Args:
        log: OUT.audit.jsonl.
        head: a head that a command returned earlier; the log must still contain that line.

    Raises:
        UserError: there is no log.
    """
    if not log.is_file():
        raise UserError(f"audit log {log} does not exist; every `navigator graph` command writes one beside its OUT")
    problems, previous, heads = [], NOTHING, set()
    for number, line in enumerate(_lines(log.read_bytes()), 1):
        try:
            said = json.loads(line)
            chain = (said["line"], said["previous"])
        except (ValueError, KeyError, TypeError):
            problems.append(f"line {number} is not an audit line (torn or overwritten)")
        else:
            if chain != (number, previous):
                problems.append(f"line {number} does not follow the line before it: one was altered or removed")
        previous = _sha(line)
        heads.add(previous)
    if head and head not in heads:
        problems.append(f"the line with head {head} is gone: the end was cut off, or the log was rewritten")
    return problems


def actor() -> str:
    """Who acts: the environment's NAVIGATOR_ACTOR, else the login name, else the number of the user."""
    try:
        return os.environ.get(ACTOR, "").strip() or getpass.getuser()
    except (OSError, KeyError):  # a container without a password entry
        return f"uid {os.getuid()}"


def append_locked(path: Path, make: Callable[[list[bytes]], bytes]) -> bytes:
    """Append the line that `make` gives for the lines so far; one writer at a time, durable on return.

    A last line without its end (a writer was killed) is ended first and stays as it is. An empty line is not written.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); nothing is done without it: make its folder writable"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(os.dup(descriptor), "rb") as handle:
            handle.seek(0)
            content = handle.read()
        line = make(_lines(content))
        if line:
            torn = b"\n" if content and not content.endswith(b"\n") else b""
            os.write(descriptor, torn + line + b"\n")
            os.fsync(descriptor)
        return line
    finally:
        os.close(descriptor)  # unlocks


def _lines(content: bytes) -> list[bytes]:
    return content.split(b"\n")[: None if content and not content.endswith(b"\n") else -1]


def _sha(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
