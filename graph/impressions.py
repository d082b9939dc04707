"""Impressions: what a user was shown and never saved, the sharpest negative a log holds.

Three things could make an impression a leak or a lie, so DuckDB takes them out of the log, out of core: the user did
save the item, at whatever time; the impression is not earlier than what is held out of the user, or than the moment
after which everything is; its time is unknown although the user's saves have times. A user with a save of unknown
time has the order of the rows instead, as in graph.saves.in_user_order.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from graph.ingest import MEMORY
from navigator.contracts import Catalog, UserError

KEPT = "impressions"
_BATCH = 65_536
_SHOWN = """
CREATE TABLE shown AS
WITH log AS (
    SELECT user_id, item_id, coalesce(action, '') AS action, "at", file_row_number AS place
    FROM read_parquet($log, file_row_number = true)
), saves AS (
    SELECT user_id, item_id, min("at") AS "at", min(place) AS place, bool_or("at" IS NULL) AS timeless FROM log
    WHERE CASE WHEN $actions IS NULL THEN NOT list_contains($impressions, action)
               ELSE list_contains($actions, action) END
    GROUP BY ALL
), owners AS (
    SELECT owner AS user_id, file_row_number AS number, list_concat(valid, test) AS held
    FROM read_parquet($sequences, file_row_number = true) WHERE task = 'next-item'
), held AS (SELECT user_id, unnest(held) AS item_id FROM owners
), added AS (
    SELECT DISTINCT owner AS user_id, unnest(items) AS item_id
    FROM read_parquet($sequences) WHERE task = 'next-item' AND $grown
), users AS (
    SELECT owners.user_id, any_value(number) AS number, bool_or(timeless) AS timeless,
        least(min(saves."at") FILTER (held.item_id IS NOT NULL), $cut) AS end_at,
        min(saves.place) FILTER (held.item_id IS NOT NULL) AS end_place
    FROM owners JOIN saves USING (user_id) LEFT JOIN held USING (user_id, item_id) GROUP BY owners.user_id
)
SELECT users.number, log.user_id, log.item_id, log.place,
    CASE WHEN users.user_id IS NULL THEN 'impressions_of_users_without_saves'
         WHEN items.item_id IS NULL THEN 'impressions_of_unknown_items'
         WHEN saves.item_id IS NOT NULL OR added.item_id IS NOT NULL THEN 'impressions_saved'
         WHEN NOT users.timeless AND log."at" IS NULL THEN 'impressions_without_time'
         WHEN CASE WHEN users.timeless THEN log.place >= end_place ELSE log."at" >= end_at END
             THEN 'impressions_not_before_held_out'
         ELSE 'impressions' END AS fate
FROM log LEFT JOIN users USING (user_id) LEFT JOIN saves ON saves.user_id = log.user_id AND saves.item_id = log.item_id
    LEFT JOIN added ON added.user_id = log.user_id AND added.item_id = log.item_id
    LEFT JOIN read_parquet($items) AS items ON items.item_id = log.item_id
WHERE list_contains($impressions, log.action)
"""
_LISTS = """
WITH once AS (SELECT number, user_id, item_id, min(place) AS place FROM shown WHERE fate = 'impressions' GROUP BY ALL)
SELECT user_id AS owner, list(item_id ORDER BY place) AS negatives FROM once GROUP BY number, user_id ORDER BY number
"""


def impressions_of(
    catalog: Catalog, sequences: Path, impressions: Sequence[str], actions: Sequence[str] | None, cut: int | None = None,
    grown: bool = False,
) -> tuple[dict[str, int], Iterator[pa.RecordBatch]]:  # fmt: skip
    """Impressions not saved, by user.

    Args:
        catalog: its interactions are the log; nothing of it is held in memory.
        sequences: sequences.parquet of the graph that is being built: its users in order, and what is held out of them.
        impressions: actions that only show an item.
        actions: actions that save one; None is all others.
        cut: seconds since 1970 after which everything is held out (global-time), else None.
        grown: whether the sequences have saves that the log does not, because edges were added to the graph.

    Returns:
        Rows of the log that were kept (KEPT) or left out, by reason; and batches of owner, negatives[] (external ids,
        as first shown), users in the order of the sequences.

    Raises:
        UserError: an action that does not occur, or that is said to save as well.
    """
    both = sorted(set(impressions) & set(actions or ()))
    if both:
        raise UserError(f"action {both[0]!r} is both in actions and in impressions; an impression is no save")
    folder = TemporaryDirectory()
    options = {"temp_directory": folder.name, "preserve_insertion_order": False, "memory_limit": MEMORY}
    database = duckdb.connect(config=options)  # type: ignore[arg-type]
    log = str(catalog.path / "interactions.parquet")
    known = [row[0] for row in database.execute("SELECT DISTINCT action FROM read_parquet(?)", [log]).fetchall()]
    missing = next((action for action in impressions if action not in known), None)
    if missing is not None:
        occurring = ", ".join(sorted(action for action in known if action)) or "no interaction"
        raise UserError(f"action {missing!r} does not occur in {catalog.path}; it has {occurring}")
    database.execute(
        _SHOWN,
        {
            "log": log, "sequences": str(sequences), "items": str(catalog.path / "items.parquet"), "cut": cut,
            "impressions": list(impressions), "grown": grown, "actions": None if actions is None else list(actions),
        },
    )  # fmt: skip
    counts = dict(database.execute("SELECT fate, count(*) FROM shown GROUP BY fate ORDER BY fate").fetchall())
    return {KEPT: 0, **counts}, _batches(database, folder)


def _batches(database: duckdb.DuckDBPyConnection, folder: TemporaryDirectory) -> Iterator[pa.RecordBatch]:
    with folder, database:
        yield from database.sql(_LISTS).to_arrow_reader(_BATCH)
