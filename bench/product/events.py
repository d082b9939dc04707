"""The log in DuckDB: every row is used or refused with a reason, and the rest are sums by user.

Nothing is held in memory but sums: the log may be larger than that, and spills to a temporary folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa

from bench.product.command import COLUMNS, NEEDED
from bench.product.figures import COUNTS
from bench.product.judged import KINDS, judged
from graph.audit import audited
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import file_digest
from navigator.events.reading import reading, state_of
from navigator.importers.files import file_schema, quoted, scan

PURPOSE = "bench"  # under which an event store is read
UNITS = 20_000  # users are resampled one by one up to here, above it in so many groups made by their ids


@dataclass(frozen=True)
class Sums:
    """By version and unit of resampling.

    Attributes:
        versions: names, ascending.
        values: (units, versions, 5) sums of COUNTS.
        users: of each version; `only` those of one version alone, `several` those of more.
        days: UTC days of each version.
    """

    versions: list[str]
    values: np.ndarray
    users: dict[str, int]
    only: dict[str, int]
    several: int
    days: dict[str, int]
    n_users: int


@dataclass(frozen=True)
class Log:
    """An opened log: table `event` with row, event_id, user_id, system, kind, item_id, seconds, reason (null: used).

    Attributes:
        digest: of what was read, as `log_digest`; None for a file, which does not grow meanwhile.
    """

    db: duckdb.DuckDBPyConnection
    digest: str | None = None

    def refused(self) -> dict[str, int]:
        """Reason -> rows."""
        found = self._all(
            "SELECT reason, count(*) FROM event WHERE reason IS NOT NULL GROUP BY reason ORDER BY 2 DESC, 1"
        )
        return {reason: n for reason, n in found}

    def rejects(self) -> pa.Table:
        """Every refused row by number (from 1) and event id, with its reason; no user is named."""
        query = "SELECT row, event_id, reason FROM event WHERE reason IS NOT NULL ORDER BY row"
        return self.db.sql(query).to_arrow_table()

    def span(self) -> tuple[int, int, float | None, float | None]:
        """Rows, used rows, first and last time of these."""
        return self._all("SELECT count(*), count(*) FILTER (reason IS NULL), min(seconds) FILTER (reason IS NULL), "
                         "max(seconds) FILTER (reason IS NULL) FROM event")[0]  # fmt: skip

    def oldest(self) -> str:
        """The version whose used events begin first."""
        return self._all("SELECT system FROM event WHERE reason IS NULL GROUP BY 1 ORDER BY min(seconds), 1 LIMIT 1")[
            0
        ][0]

    def unseen_saves(self) -> dict[str, int | None]:
        """Version -> saves of an item that it had not shown to that user before; None where no save names its item."""
        query = """
            SELECT s.system, count(*) FILTER (s.item_id IS NOT NULL AND i.seconds IS NULL), count(s.item_id)
            FROM event AS s LEFT JOIN (
                SELECT system, user_id, item_id, min(seconds) AS seconds FROM event
                WHERE reason IS NULL AND kind = 'impression' AND item_id IS NOT NULL GROUP BY ALL
            ) AS i ON i.system = s.system AND i.user_id = s.user_id AND i.item_id = s.item_id AND i.seconds <= s.seconds
            WHERE s.reason IS NULL AND s.kind = 'save' GROUP BY s.system"""
        return {system: missed if named else None for system, missed, named in self._all(query)}

    def daily(self) -> pa.Table:
        """One row a version and UTC day: users and events by kind, to see whether a difference wears off."""
        counts = ", ".join(f"count(*) FILTER (kind = '{kind}') AS {kind}" for kind in KINDS)
        query = f"""
            SELECT system, epoch_ms(CAST(floor(seconds / 86400) * 86400000 AS BIGINT))::DATE AS day,
                count(DISTINCT user_id) AS users, {counts}
            FROM event WHERE reason IS NULL GROUP BY ALL ORDER BY 1, 2"""
        return self.db.sql(query).to_arrow_table()

    def sums(self) -> Sums:
        """Sums by user, or by group of users where there are very many."""
        counts = ", ".join(f"count(*) FILTER (kind = '{kind}') AS {kind}" for kind in KINDS)
        self.db.execute(f"""
            CREATE OR REPLACE TEMP TABLE user_sums AS SELECT system, user_id, {counts},
                count(DISTINCT floor(seconds / 86400)) AS user_day FROM event WHERE reason IS NULL GROUP BY system, user_id""")
        users = dict(self._all("SELECT system, count(*) FROM user_sums GROUP BY 1 ORDER BY 1"))
        n_users = self._all("SELECT count(DISTINCT user_id) FROM user_sums")[0][0]
        shared = "SELECT user_id FROM user_sums GROUP BY 1 HAVING count(*) > 1"
        only = dict(self._all(f"SELECT system, count(*) FROM user_sums WHERE user_id NOT IN ({shared}) GROUP BY 1"))
        days = "SELECT system, count(DISTINCT floor(seconds / 86400)) FROM event WHERE reason IS NULL GROUP BY 1"
        unit = "user_id" if n_users <= UNITS else f"(md5_number(user_id) % {UNITS})::VARCHAR"
        totals = ", ".join(f"sum({c})::DOUBLE AS {c}" for c in COUNTS)
        table = self.db.sql(f"""
            SELECT dense_rank() OVER (ORDER BY {unit}) - 1 AS unit, system, {totals}
            FROM user_sums GROUP BY {unit}, system ORDER BY 1, 2""").to_arrow_table()
        versions, rows = sorted(users), table["unit"].to_numpy()
        values = np.zeros((int(rows.max()) + 1, len(versions), len(COUNTS)))
        places = np.searchsorted(versions, table["system"].to_pylist())
        for number, name in enumerate(COUNTS):
            values[rows, places, number] = table[name].to_numpy()
        several = self._all(f"SELECT count(*) FROM ({shared})")[0][0]
        return Sums(
            versions, values, users, {v: only.get(v, 0) for v in versions}, several, dict(self._all(days)), n_users
        )

    def _all(self, query: str) -> list:
        return self.db.execute(query).fetchall()


def log_digest(path: Path) -> str:
    """Of a file's bytes, or of what an event store holds.

    Raises:
        UserError: neither.
    """
    if path.is_dir():
        return state_of(path, PURPOSE)
    if not path.is_file():
        raise UserError(
            f"log {path} does not exist; give a Parquet, CSV or TSV file of events, or an event store folder"
        )
    return file_digest(path)[:16]


@contextmanager
def open_log(path: Path, columns: dict[str, str]) -> Iterator[Log]:
    """Read a log, a file or an event store; nothing of it is left behind.

    Raises:
        UserError: no such file, an unreadable one, a missing column, a store whose policy does not let the bench read it.
    """
    if path.is_dir():
        with _open_store(path, columns) as log:
            yield log
        return
    present = file_schema(path).names
    taken = {name: columns.get(name, name) for name in COLUMNS}
    missing = next((n for n in COLUMNS if taken[n] not in present and (n in NEEDED or n in columns)), None)
    if missing is not None:
        raise UserError(
            f"{path} lacks the column {taken[missing]}; it has {', '.join(present)}; name it with --columns {missing}=THEIRS"
        )
    with TemporaryDirectory() as spill, duckdb.connect(config={"temp_directory": spill}) as db:
        try:
            db.execute(
                judged(scan(path), {n: quoted(theirs) if theirs in present else "NULL" for n, theirs in taken.items()})
            )
        except duckdb.Error as error:
            raise UserError(f"cannot read {path}: {' '.join(str(error).split())[:300]}") from error
        yield Log(db)


@contextmanager
def _open_store(path: Path, columns: dict[str, str]) -> Iterator[Log]:
    """An event store: its torn and damaged lines are refused rows too."""
    if columns:
        raise UserError(f"columns are for files; event store {path} has its own")
    with audited(path, "product", PURPOSE, made=False) as entry, reading(path, PURPOSE) as store:
        entry.policy, entry.artefacts = store.purpose.policy, {"events": store.fingerprint}
        store.db.execute(judged("(SELECT * FROM stored ORDER BY number)", {n: quoted(n) for n in COLUMNS}, "damage"))
        people = "SELECT system, count(DISTINCT user_id) FROM event WHERE reason IS NULL GROUP BY 1 ORDER BY 1"
        for system, users in store.db.execute(people).fetchall():
            store.purpose.check_group(users, f"what is told of version {system!r}")
        yield Log(store.db, store.state)
