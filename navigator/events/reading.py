"""Events handed out: for a named purpose, as far as its rules go, each once.

An event is an edge of the taste graph in the making, so the policy of the graph says who may read it: impressions, clicks
and saves are read by who may read `saved`, boards of saves and new boards by who may read `holds`, times by who may read
`time`; rows that are older than the purpose's retention_days and rows of forgotten people are not handed out.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import duckdb
import pyarrow as pa

from graph.forgotten import forgotten_path, read_forgotten
from graph.ingest import MEMORY
from graph.policy import DAY, Purpose
from navigator.contracts import UserError
from navigator.contracts.manifest import digest
from navigator.events.compact import sorted_by_day
from navigator.events.event import SCHEMA
from navigator.events.folder import aside, claimed, locked, policy_of, read_store, segments, settled, split_lines
from navigator.importers.files import quoted

EdgeTypes = tuple[Literal["saved", "holds"], ...]
TORN, DAMAGED = "last line torn off", "line is no event"
_NAMES = ", ".join(map(quoted, SCHEMA.names))


@dataclass(frozen=True)
class Reading:
    """An opened store.

    Attributes:
        db: DuckDB with the tables `stored`: number (in the order of arrival), the columns of SCHEMA, and damage (null, or
            why the line is no event: then all else is null); and `taken`: the same with each event_id once, its first.
        fingerprint: of the store.
        state: of what was in it; changes with every event.
        purpose: under which it was opened.
        counts: rows, torn, damaged, repeated, expired (rows too old for the purpose), forgotten (rows of people who were).
    """

    db: duckdb.DuckDBPyConnection
    fingerprint: str
    state: str
    purpose: Purpose
    counts: dict[str, int]


@contextmanager
def reading(store: Path, purpose: str, edge_types: EdgeTypes = ("saved", "holds")) -> Iterator[Reading]:
    """Open an event store for a purpose; others go on writing to it.

    Raises:
        UserError: no event store, or a purpose that the store's policy does not have or that may not read these edges
            or their times.
    """
    store = Path(store)
    rules = policy_of(store).purpose(purpose, store)
    rules.check_types(edge_types)
    rules.check_field("time")
    with TemporaryDirectory() as spill:
        options = {"temp_directory": spill, "memory_limit": MEMORY}
        with duckdb.connect(config=options) as db:  # type: ignore[arg-type]
            try:
                with locked(store, shared=True):  # nothing is compacted meanwhile
                    state = _state(store, rules)
                    counts = _load(db, store, rules)
            except (OSError, duckdb.Error) as error:
                raise UserError(f"cannot read event store {store}: {' '.join(str(error).split())[:300]}") from error
            yield Reading(db, read_store(store).fingerprint, state, rules, counts)


def state_of(store: Path, purpose: str) -> str:
    """Of what a purpose may read of a store, without reading it; another one with every event.

    Raises:
        UserError: no event store, no such purpose.
    """
    read_store(store)
    with locked(store, shared=True):
        return _state(store, policy_of(store).purpose(purpose, store))


def _state(store: Path, rules: Purpose) -> str:
    files = [(path.relative_to(store).as_posix(), path.stat().st_size) for path in (*settled(store), *aside(store))]
    files += [(path.name, path.stat().st_size) for path in segments(store)]
    day = None if rules.retention_days is None else int(time.time() // DAY)
    gone = read_forgotten(forgotten_path(store)).fingerprint
    return digest([read_store(store).fingerprint, rules.policy, rules.name, files, day, gone])


def _load(db: duckdb.DuckDBPyConnection, store: Path, rules: Purpose) -> dict[str, int]:
    """Make the tables; returns counts."""
    db.execute(f"CREATE TEMP TABLE line AS SELECT {_NAMES}, NULL::VARCHAR AS damage FROM {_source(settled(store))}")
    counts = {"torn": 0, "damaged": 0}
    for segment in segments(store):
        lines, torn, damaged = _segment_rows(segment)
        counts["torn"], counts["damaged"] = counts["torn"] + torn, counts["damaged"] + damaged
        db.register("segment", lines)
        db.execute(f"INSERT INTO line SELECT {_NAMES}, NULL FROM segment")
        db.unregister("segment")
    for path in aside(store):
        damaged, torn = split_lines(path.read_bytes())
        counts["torn"], counts["damaged"] = counts["torn"] + bool(torn), counts["damaged"] + len(damaged)
    for reason, n in ((TORN, counts["torn"]), (DAMAGED, counts["damaged"])):
        db.execute("INSERT INTO line (damage) SELECT ? FROM range(?)", [reason, n])
    expired, forgotten = _withheld(store, rules)
    counts["expired"] = _count(db, f"SELECT count(*) FROM line WHERE {expired}")
    counts["forgotten"] = _count(db, f"SELECT count(*) FROM line WHERE NOT coalesce({expired}, false) AND {forgotten}")
    db.execute(f"""
        CREATE TEMP TABLE stored AS
        SELECT row_number() OVER (ORDER BY received_at NULLS LAST, event_id) AS number, * FROM line
        WHERE NOT coalesce({expired} OR {forgotten}, false) ORDER BY number;
        DROP TABLE line;
        CREATE TEMP TABLE taken AS SELECT * EXCLUDE (damage) FROM stored WHERE damage IS NULL
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY number) = 1 ORDER BY number""")
    counts["rows"] = _count(db, "SELECT count(*) FROM stored")
    counts["repeated"] = counts["rows"] - counts["torn"] - counts["damaged"] - _count(db, "SELECT count(*) FROM taken")
    return counts


def _segment_rows(segment: Path) -> tuple[pa.Table, int, int]:
    """Events, whether the last line is torn, damaged lines; what is just being written is no torn line."""
    with claimed(segment, shared=True) as content:
        days, damaged, torn = sorted_by_day(segment.read_bytes() if content is None else content)
        events = [event for events in days.values() for event in events]
        return pa.Table.from_pylist(events, SCHEMA), int(bool(torn) and content is not None), len(damaged)


def _withheld(store: Path, rules: Purpose) -> tuple[str, str]:
    """SQL conditions: true for rows too old for the purpose, and for rows of people who were forgotten."""
    limit = rules.retention_days
    expired = "false" if limit is None else f'"at" < {time.time() - limit * DAY}'
    listed = read_forgotten(forgotten_path(store))
    hashes = ", ".join(f"'{known}'" for known in sorted(listed.hashes))
    return expired, f"sha256('{listed.salt}|' || user_id) IN ({hashes})" if hashes else "false"


def _source(paths: list[Path]) -> str:
    """SQL of Parquet files; of none, a table without rows."""
    if not paths:
        kinds = {pa.string(): "VARCHAR", pa.float64(): "DOUBLE"}
        return f"(SELECT {', '.join(f'NULL::{kinds[f.type]} AS {quoted(f.name)}' for f in SCHEMA)} LIMIT 0)"
    names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{names}], hive_partitioning = false)"


def _count(db: duckdb.DuckDBPyConnection, query: str) -> int:
    return db.execute(query).fetchall()[0][0]
