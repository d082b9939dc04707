"""Command `navigator import events`: what people did, as edges for `navigator graph add`, and as a catalogue that knows it.

saved.parquet         source (user), target (item), at: saves, and clicks if wanted; each pair once, its first
holds.parquet         source (board), target (item), at: saves onto a board that the catalogue or an event made
boards.parquet        board_id, title, owner_id of boards that people made and the catalogue lacks
interactions.parquet  user_id, item_id, action, at: every impression, click and save, as a catalogue has them
rejects.parquet       every event that names an unknown item or board, with its reason
manifest.json         written last
"""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from graph.audit import audited
from navigator.contracts import Catalog, UserError, is_current, publish, read_manifest
from navigator.contracts.catalog import BOARDS, INTERACTIONS, OPTIONAL, REJECTS, TABLES
from navigator.events.reading import Reading, reading

KIND = "event-edges"
EDGES = pa.schema([("source", pa.string()), ("target", pa.string()), ("at", pa.int64())])
_JUDGED = """
CREATE TEMP TABLE board AS SELECT board_id, owner_id, true AS old FROM read_parquet($boards)
UNION ALL BY NAME
SELECT board_id, arg_min(user_id, number) AS owner_id, false AS old FROM taken
WHERE kind = 'board_created' AND board_id NOT IN (SELECT board_id FROM read_parquet($boards)) GROUP BY board_id;
CREATE TEMP TABLE judged AS
SELECT e.*, CAST(floor("at") AS BIGINT) AS second, CASE
    WHEN kind = 'board_created' THEN CASE WHEN b.old THEN 'board is in the catalogue already' END
    WHEN i.item_id IS NULL THEN 'unknown item'
    WHEN kind = 'save' AND e.board_id IS NOT NULL AND b.board_id IS NULL THEN 'unknown board' END AS reason
FROM taken AS e LEFT JOIN read_parquet($items) AS i USING (item_id) LEFT JOIN board AS b ON b.board_id = e.board_id
"""
_SELECTS = {
    "saved": """SELECT user_id AS source, item_id AS target, min(second) AS "at" FROM judged
        WHERE list_contains($actions, kind) AND reason IS DISTINCT FROM 'unknown item'
        GROUP BY ALL ORDER BY 3, 1, 2""",
    "holds": """SELECT board_id AS source, item_id AS target, min(second) AS "at" FROM judged
        WHERE kind = 'save' AND board_id IS NOT NULL AND reason IS NULL GROUP BY ALL ORDER BY 3, 1, 2""",
    "boards": "SELECT board_id, '' AS title, owner_id FROM board WHERE NOT old ORDER BY 1",
    "interactions": """SELECT user_id, item_id, kind AS action, second AS "at" FROM judged
        WHERE kind <> 'board_created' AND reason IS DISTINCT FROM 'unknown item' ORDER BY number""",
    "rejects": """SELECT 'events' AS "table", number AS row,
        CASE WHEN reason = 'unknown item' THEN item_id ELSE board_id END AS id, reason
        FROM judged WHERE reason IS NOT NULL ORDER BY number""",
}
_SCHEMAS = {"saved": EDGES, "holds": EDGES, "boards": BOARDS, "interactions": INTERACTIONS, "rejects": REJECTS}


def import_events(
    store: Path, catalog: Path, out: Path, purpose: str = "build", clicks: bool = False, catalog_out: Path | None = None
) -> dict[str, Any]:
    """Import what people did from an event store, as edges that `navigator graph add` takes.

    Args:
        store: event store folder, as `navigator serve --events` writes it; a server may go on writing to it.
        catalog: catalogue folder whose items were shown.
        out: folder to write: saved.parquet and holds.parquet for `graph add`, boards, interactions and rejects beside them.
        purpose: of the store's policy, under which it is read (build or train of the default one).
        clicks: let clicks count as saves.
        catalog_out: also write the catalogue with the boards, saves and interactions of the events in it: build a graph from
            it with --impressions impression, so that what was shown and not saved becomes negatives.

    Returns:
        Rows by file, events by kind, refused events by reason, unknown ids by name (the most frequent), and the next commands.

    Raises:
        UserError: no event store, another purpose, a purpose that lets nothing of single people leave, no event.
    """
    opened = Catalog.open(catalog)
    parameters = {"clicks": clicks, "catalog_out": None if catalog_out is None else str(catalog_out)}
    with audited(out, "import events", purpose, parameters, also=store) as entry, reading(store, purpose) as events:
        entry.policy = events.purpose.policy
        entry.artefacts = {"events": events.fingerprint, "catalog": opened.fingerprint}
        events.purpose.check_single_owners("events of single people")
        config, inputs = {"purpose": purpose, "clicks": clicks}, entry.artefacts | {"state": events.state}
        inputs |= {"policy": events.purpose.policy}
        unchanged = is_current(out, KIND, config, inputs)
        if not unchanged:
            with publish(out, KIND, config, inputs) as work:
                work.metrics = _write(work.path, events, opened, clicks)
        config = {"importer": "events", **config}
        if catalog_out is not None and not is_current(catalog_out, "catalog", config, inputs):
            with publish(catalog_out, "catalog", config, inputs) as work:
                work.metrics = _write_catalog(work.path, opened, out)
        manifest = read_manifest(out, KIND, "")
        entry.artefacts["result"] = manifest.fingerprint
    return {
        "out": str(out), "unchanged": unchanged, **manifest.metrics, "next": _next(out, manifest.metrics, catalog_out),
    }  # fmt: skip


def _write(folder: Path, events: Reading, catalog: Catalog, clicks: bool) -> dict[str, Any]:
    """All tables; returns counts."""
    if not _rows(events.db, "SELECT count(*) FROM taken")[0][0]:
        raise UserError(f"the event store has no event that purpose {events.purpose.name!r} may read ({events.counts})")
    files = {name: str(catalog.path / f"{name}.parquet") for name in ("items", "boards")}
    for statement in _JUDGED.split(";\n"):
        events.db.execute(statement, {name: path for name, path in files.items() if f"${name}" in statement})
    rows = {}
    for name, select in _SELECTS.items():
        given = {"actions": ["save", "click"] if clicks else ["save"]} if "$actions" in select else {}
        reader = events.db.sql(select, params=given).to_arrow_reader(65_536)
        with pq.ParquetWriter(folder / f"{name}.parquet", _SCHEMAS[name], compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch.cast(_SCHEMAS[name]))
        rows[name] = pq.read_metadata(folder / f"{name}.parquet").num_rows
    return {
        "rows": rows, "events": dict(_rows(events.db, "SELECT kind, count(*) FROM judged GROUP BY 1 ORDER BY 1")),
        "refused": dict(
            _rows(events.db, "SELECT reason, count(*) FROM judged WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 1")
        ),
        "unknown": _unknown(events.db), "store": events.counts,
    }  # fmt: skip


def _unknown(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The ten ids that the catalogue lacks and that occur most."""
    return dict(
        _rows(db, """SELECT CASE WHEN reason = 'unknown item' THEN item_id ELSE board_id END AS id, count(*) FROM judged
                     WHERE reason LIKE 'unknown %' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10""")
    )  # fmt: skip


def _write_catalog(folder: Path, catalog: Catalog, edges: Path) -> dict[str, Any]:
    """The catalogue with the events' rows at the end of its tables; a save that a board has already is not repeated."""
    shutil.copyfile(catalog.path / "items.parquet", folder / "items.parquet")
    added = {name: f"SELECT * FROM '{edges / name}.parquet'" for name in ("boards", "interactions", "rejects")}
    added["board_items"] = f"""
        SELECT e.source AS board_id, e.target AS item_id, e."at" AS saved_at FROM '{edges / "holds.parquet"}' AS e
        ANTI JOIN '{catalog.path / "board_items.parquet"}' AS b ON b.board_id = e.source AND b.item_id = e.target
        ORDER BY e."at", 1, 2"""
    with duckdb.connect() as db:
        for name, select in added.items():
            old = catalog.path / f"{name}.parquet"
            db.execute(
                f"COPY (SELECT * FROM '{old}' UNION ALL BY NAME ({select})) TO '{folder / name}.parquet' (COMPRESSION zstd)"
            )
    for name in OPTIONAL:
        if catalog.has(name):
            shutil.copyfile(catalog.path / f"{name}.parquet", folder / f"{name}.parquet")
    names = [name for name in TABLES if name != "items"]
    return {"counts": {name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in ("items", *names)}}


def _next(out: Path, metrics: dict[str, Any], catalog_out: Path | None) -> str:
    """The commands that take these files, one a line."""
    steps = [
        f"navigator graph add GRAPH {out / name}.parquet --relation {name} --catalog CATALOG --out LARGER"
        for name in ("saved", "holds")
        if metrics["rows"][name]
    ]
    shown = metrics["events"].get("impression")
    if catalog_out is not None:
        actions = " --actions save" + (" --impressions impression" if shown else "")
        steps.append(f"navigator graph build {catalog_out} --out GRAPH{actions}")
    return "\n  ".join(["", *steps]) if steps else "nothing: no save and no new board"


def _rows(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple]:
    return db.execute(query).fetchall()
