"""Who did what to a root of releases, when and why; what was refused too. The lines are graph.audit's: chained, on disk.

What is written: `navigator release create`, `promote` and `rollback`. The parameters of a switch that was done carry its
number (`change`), the releases it went from and to, why, and by which shadow report.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from graph.audit import Entry, audit_path, audited, verify_audit
from navigator.contracts.errors import UserError

PURPOSE = "serving"
PATIENCE_S = 2.0  # how long one waits for another who switches: but for the check of a large release it is milliseconds


def written(root: Path, what: str, parameters: dict[str, Any]) -> AbstractContextManager[Entry]:
    """Whatever happens in the block becomes a line of the root's history: done, refused or failed."""
    return audited(root / "history", f"release {what}", PURPOSE, parameters)


def history_file(root: Path) -> Path:
    """ROOT/history.audit.jsonl."""
    return audit_path(Path(root) / "history")


def done(root: Path, what: str = "") -> list[dict[str, Any]]:
    """Lines of what was done (`release promote` alone, say), oldest first; a torn line is left to `problems`."""
    file, found = history_file(root), []
    for line in file.read_bytes().splitlines() if file.is_file() else []:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if said["outcome"] == "done" and said["what"].endswith(what):
            found.append(said)
    return found


def switches(root: Path) -> list[dict[str, Any]]:
    """The parameters of every promotion and rollback that was done, oldest first."""
    return [line["parameters"] for line in done(root) if "change" in line["parameters"]]


def problems(root: Path) -> list[str]:
    """What is wrong with the history itself, see graph.audit.verify_audit."""
    return verify_audit(history_file(root)) if history_file(root).is_file() else []


@contextmanager
def alone(root: Path, what: Literal["create", "switch"]) -> Iterator[None]:
    """Nobody else does the same to this root meanwhile; the lock goes with the process, however that ends.

    Raises:
        UserError: somebody else does it now, and PATIENCE_S later still.
    """
    descriptor = os.open(root / f".{what}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        until = time.monotonic() + PATIENCE_S
        while not _locked(descriptor):
            if time.monotonic() > until:
                now = "makes a release" if what == "create" else "promotes or rolls back"
                raise UserError(
                    f"another process {now} in {root} right now; see what it did with `navigator release list {root}`, "
                    "then try again"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
