"""The commands of an event store: what is in it, and making Parquet of what was written."""

from pathlib import Path
from typing import Any

from graph.audit import audited
from navigator.events.compact import compact
from navigator.events.folder import read_store
from navigator.events.forget import forget_events
from navigator.events.importing import import_events
from navigator.events.reading import reading

__all__ = ["compact_events", "event_stats", "forget_events", "import_events"]


def compact_events(store: Path) -> dict[str, Any]:
    """Make Parquet of the segments that nobody writes, and delete what the policy no longer keeps.

    A server does this by itself every minute; it is for stores that no server writes to.

    Args:
        store: event store folder.

    Returns:
        Segments and events that became Parquet, torn and damaged lines found, events deleted as too old, segments that a
        server still writes.
    """
    read_store(store)
    return {"out": str(store), **vars(compact(store))}


def event_stats(store: Path, purpose: str = "stats") -> dict[str, Any]:
    """Count events by version of the system and kind.

    Args:
        store: event store folder.
        purpose: of the store's policy; a cell behind which fewer people stand than it allows is withheld.

    Returns:
        Rows, torn and repeated lines, first and last time, and events by version and kind; cells that were withheld.
    """
    with audited(store, "events stats", purpose, made=False) as entry, reading(store, purpose) as events:
        entry.policy, entry.artefacts = events.purpose.policy, {"events": events.fingerprint}
        query = "SELECT system, kind, count(*), count(DISTINCT user_id) FROM taken GROUP BY ALL ORDER BY 1, 2"
        cells = events.db.execute(query).fetchall()
        shown: dict[str, dict[str, int]] = {}
        for system, kind, n, people in cells:
            if events.purpose.large_enough(people):
                shown.setdefault(system, {})[kind] = n
        withheld = len(cells) - sum(map(len, shown.values()))
        first, last = events.db.execute('SELECT min("at"), max("at") FROM taken').fetchall()[0]
    return {
        "store": str(store), **events.counts, "first_at": first, "last_at": last, "events": shown, "withheld": withheld,
    }  # fmt: skip
