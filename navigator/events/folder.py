"""What lies where in an event store, and who may touch it when.

    STORE/manifest.json                written last: the store's identity
    STORE/policy.yaml                  the purposes under which it is read (graph/policy.py)
    STORE/segments/TIME-PROCESS-X-N.jsonl    one event a line, appended; held (flock) by the process that writes it
    STORE/days/day=2026-11-21/NAME.parquet   the rows of a segment on one UTC day, once it is compacted
    STORE/aside/NAME.txt               lines of a segment that are no events: nothing is dropped silently
    STORE/lock                         shared by readers, alone for who compacts, forgets or makes the store
    STORE.audit.jsonl                  who read what for which purpose (graph/audit.py)
    STORE.forgotten.txt                salted hashes of people who were forgotten (graph/forgotten.py)

A segment counts until its file is gone: rows of it in days/ are not read before. So a kill at any moment of a
compaction neither loses nor doubles an event. The locks are the kernel's: they end with the process that holds them,
and they need a local file system.
"""

import datetime
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph.policy import FILE as POLICY
from graph.policy import Policy, load_policy
from navigator.contracts import Manifest, UserError, read_manifest
from navigator.contracts.manifest import MANIFEST, check_free, write_text

KIND = "events"
SEGMENTS, DAYS, ASIDE, LOCK = "segments", "days", "aside", "lock"


def make_store(folder: Path, policy: Path | None = None) -> Manifest:
    """Make the store, or find it made; a store carries the policy that it was made under.

    Args:
        folder: of the store.
        policy: YAML file of purposes, or a folder that carries one; Navigator's own by default.

    Raises:
        UserError: the folder holds other things, or was made under another policy than the one given.
        OSError: it cannot be written.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        check_free_store(folder)
        for name in (SEGMENTS, DAYS, ASIDE):
            (folder / name).mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not (folder / MANIFEST).is_file():
                load_policy(policy).write(folder)
                made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                manifest = Manifest(kind=KIND, fingerprint=secrets.token_hex(8), created_at=made)
                write_text(folder / MANIFEST, manifest.model_dump_json(indent=2))
                sync_folder(folder)
    manifest = read_store(folder)
    if policy is not None and load_policy(policy).fingerprint != policy_of(folder).fingerprint:
        raise UserError(
            f"event store {folder} was made under another policy than {policy}; change {folder / POLICY}, or leave "
            "the policy out"
        )
    return manifest


def check_free_store(folder: Path) -> None:
    """As check_free; what an interrupted make_store left behind is free."""
    left = {SEGMENTS, DAYS, ASIDE, LOCK, POLICY, f"{POLICY}.tmp", f"{MANIFEST}.tmp"}
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - left:
        check_free(folder, KIND)


def read_store(folder: Path) -> Manifest:
    """Raises UserError when the folder is not an event store."""
    return read_manifest(folder, KIND, f"navigator serve ... --events {folder}")


def is_store(folder: Path) -> bool:
    """Whether a folder holds events, and no other artefact."""
    try:
        return read_store(folder).kind == KIND
    except UserError:
        return False


def policy_of(folder: Path) -> Policy:
    return load_policy(folder)


def day_of(at: float) -> str:
    """UTC day of a time in seconds since 1970, as 2026-11-21."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()


def segments(folder: Path) -> list[Path]:
    return sorted((folder / SEGMENTS).glob("*.jsonl"))


def listed_at(segment: Path) -> int:
    """Bytes of the list of forgotten people that the writer of a segment knew: it takes nothing more of these people."""
    return int(segment.stem.rsplit("-", 1)[1])


def day_files(folder: Path, of: str = "*") -> list[Path]:
    """Parquet files of the segments named so, by day."""
    return sorted((folder / DAYS).glob(f"day=*/{of}.parquet"))


def aside(folder: Path) -> list[Path]:
    """Files of lines that are no events, of the segments that are gone: damaged ones, then a torn one without end."""
    left = {path.stem for path in segments(folder)}
    return [path for path in sorted((folder / ASIDE).glob("*.txt")) if path.stem not in left]


def settled(folder: Path) -> list[Path]:
    """Parquet files that count: those whose segment is gone."""
    left = {path.stem for path in segments(folder)}
    return [path for path in day_files(folder) if path.stem not in left]


def split_lines(content: bytes) -> tuple[list[bytes], bytes]:
    """Whole lines of a segment, and what stands after the last of them."""
    *lines, rest = content.split(b"\n")
    return lines, rest


@contextmanager
def locked(folder: Path, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the store's lock; gives False where another holds it and `wait` is false."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        yield lock_file(descriptor, shared, wait)
    finally:
        os.close(descriptor)  # unlocks


@contextmanager
def claimed(segment: Path, shared: bool = False) -> Iterator[bytes | None]:
    """The bytes of a segment that nobody writes, held for the block; None where a process still writes it."""
    try:
        descriptor = os.open(segment, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield segment.read_bytes() if lock_file(descriptor, shared, wait=False) else None
    finally:
        os.close(descriptor)


def lock_file(descriptor: int, shared: bool, wait: bool) -> bool:
    """Whether the lock of an open file could be had."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make names that were added to or removed from a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
