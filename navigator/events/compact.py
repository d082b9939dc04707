"""Closed segments become Parquet, by UTC day; what a policy no longer lets anybody keep is deleted.

For each segment: Parquet files are written beside their places, flushed and renamed, then the segment is removed. Until
that moment the segment counts and its Parquet files do not (navigator.events.folder), and who finds both begins anew.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from graph.audit import Entry, audit_path
from graph.policy import DAY
from navigator.contracts import UserError
from navigator.events.event import SCHEMA, Event, read_line
from navigator.events.folder import (
    ASIDE,
    DAYS,
    claimed,
    day_files,
    day_of,
    locked,
    policy_of,
    read_store,
    segments,
    settled,
    split_lines,
    sync_folder,
)  # fmt: skip

KEEPS = "build"  # the purpose whose retention_days the store keeps to: no other may demand less (graph.policy)


@dataclass
class Compacted:
    """What a compaction did.

    Attributes:
        segments: that became Parquet; open: that a process still writes.
        events: in them.
        torn: last lines without an end, which nobody was told of; damaged: other lines that are no events. Both are
            under aside/.
        expired: events deleted because they were older than the policy keeps.
    """

    segments: int = 0
    open: int = 0
    events: int = 0
    torn: int = 0
    damaged: int = 0
    expired: int = 0


def compact(
    folder: Path, now: float | None = None, wait: bool = True, at_step: Callable[[str], None] = lambda step: None
) -> Compacted:
    """Compact all segments that nobody writes, then delete what is too old; one line in the audit log if anything was done.

    Args:
        folder: of the store.
        now: seconds since 1970.
        wait: for a reader or another compaction; otherwise what is in the way is left for the next time.
        at_step: called at each step of a segment, for tests of what a kill there leaves behind.

    Raises:
        UserError: the disk does not take it, or a file is broken; nothing is lost.
    """
    done = Compacted()
    try:
        for path in segments(folder):
            with locked(folder, wait=wait) as held:
                if held:
                    _compact_segment(folder, path, done, at_step)
        with locked(folder, wait=wait) as held:
            if held:
                _expire(folder, time.time() if now is None else now, done)
    except OSError as error:
        raise UserError(
            f"event store {folder} cannot be compacted ({error}); its events are kept as they are"
        ) from error
    if done.segments or done.expired:
        entry = Entry("events compact", KEEPS, policy_of(folder).fingerprint)
        entry.artefacts, entry.parameters = {"events": read_store(folder).fingerprint}, vars(done)
        entry.write(audit_path(folder), "done")
    return done


def _compact_segment(folder: Path, segment: Path, done: Compacted, at_step: Callable[[str], None]) -> None:
    with claimed(segment) as content:
        if content is None:
            done.open += segment.exists()
            return
        for path in day_files(folder, segment.stem):  # of a compaction that was interrupted
            path.unlink()
        days, damaged, torn = sorted_by_day(content)
        at_step("read")
        for day, events in days.items():
            write_rows(folder / DAYS / f"day={day}" / f"{segment.stem}.parquet", pa.Table.from_pylist(events, SCHEMA))
            at_step("written")
        aside = folder / ASIDE / f"{segment.stem}.txt"
        if damaged or torn:
            write_bytes(aside, b"\n".join([*damaged, torn]))
        at_step("before removal")
        segment.unlink()
        sync_folder(segment.parent)
        at_step("removed")
    done.segments += 1
    done.events += sum(map(len, days.values()))
    done.damaged, done.torn = done.damaged + len(damaged), done.torn + bool(torn)


def sorted_by_day(content: bytes) -> tuple[dict[str, list[Event]], list[bytes], bytes]:
    """Events of a segment by UTC day, lines that are none, and the last line if it has no end."""
    lines, torn = split_lines(content)
    days: dict[str, list[Event]] = {}
    damaged = []
    for line in lines:
        event = read_line(line)
        if event is None:
            damaged.append(line)
        else:
            days.setdefault(day_of(event["at"]), []).append(event)
    return days, damaged, torn


def write_rows(path: Path, table: pa.Table) -> None:
    """Write a Parquet file so that it is whole or absent, on the disk on return; none for a table without rows."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
        sync_folder(path.parent.parent)
    if not table.num_rows:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        return
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def read_rows(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Rows of a Parquet file of the store; UserError where it is broken."""
    try:
        with pq.ParquetFile(path) as file:  # read_table would take the folder's name for a column
            return file.read(columns)
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} of the event store cannot be read ({said}); restore it from a copy, or remove it"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """As contracts.manifest.write_text, for bytes, with the name as lasting as the content."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def _expire(folder: Path, now: float, done: Compacted) -> None:
    """Delete days that are over the retention as a whole; of the day that is partly over it readers see the rest."""
    rules = policy_of(folder).purposes.get(KEEPS)
    if rules is None or rules.retention_days is None:
        return
    oldest = now - rules.retention_days * DAY
    for path in settled(folder):
        if path.parent.name < f"day={day_of(oldest)}":
            done.expired += read_rows(path, ["event_id"]).num_rows
            path.unlink()
            sync_folder(path.parent)
    for path in (folder / ASIDE).glob("*.txt"):
        if path.stat().st_mtime < oldest:
            path.unlink()
