"""Command `navigator events forget`: a store as if a person had never been, and the proof of it.

The person goes on the store's list of forgotten people first: readers leave them out from then on, writers take nothing
more of them and end their segments, so that all there is of the person can be rewritten. Of boards that the person made
the name goes from other people's saves too.
"""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from graph.audit import audit_path, audited
from graph.forgotten import add_forgotten, forgotten_path
from graph.traces import occurrences
from navigator.contracts import UserError
from navigator.events.compact import compact, read_rows, write_bytes, write_rows
from navigator.events.event import LONGEST, SCHEMA, read_line
from navigator.events.folder import (
    ASIDE,
    DAYS,
    day_files,
    listed_at,
    locked,
    policy_of,
    read_store,
    segments,
    split_lines,
)

PURPOSE = "forget"
SEARCHED = tuple(name for name in LONGEST if name not in ("kind", "item_id"))


def forget_events(user: str, store: Path, wait_s: float = 30.0) -> dict[str, Any]:
    """Remove a person's events from a store, and prove that nothing of them is left there.

    Args:
        user: the person's id, as user_id has it. A server may go on writing meanwhile; nothing more of this id is taken.
        store: event store folder.
        wait_s: how long to wait for servers to end the files that they write, seconds.

    Returns:
        Events removed, boards of theirs whose name was taken out of other people's saves, and places where an id is still
        found (none). What was imported from the store before keeps its rows: import again, and see `navigator graph forget`.

    Raises:
        UserError: no event store, a policy that does not allow the purpose forget, or a writer that did not end its file:
            the person is on the list then, and the same command goes on.
    """
    with audited(store, "events forget", PURPOSE, made=False) as entry:
        entry.secret[user] = "(the user)"
        entry.artefacts = {"events": read_store(store).fingerprint}
        policy = policy_of(store)
        entry.policy = policy.fingerprint
        policy.purpose(PURPOSE).check_types(["saved", "holds"])
        listed = add_forgotten(forgotten_path(store), user)
        _compact_all(store, wait_s)
        with locked(store):
            boards = _boards_of(store, user)
            entry.secret |= dict.fromkeys(boards, "(a board of the user)")
            removed, unnamed = _rewrite(store, user, boards)
            found = _found(store, {user, *boards})
        report = {
            "out": str(store), "user": listed.hash_of(user), "removed": removed, "boards": len(boards),
            "board_names_removed": unnamed, "found": found, "exit_code": int(bool(found)),
        }  # fmt: skip
        entry.parameters |= report
    return report | {"audit": entry.head}


def _compact_all(store: Path, wait_s: float) -> None:
    """Compact every segment whose writer did not know of the user; running writers end theirs at once."""
    listed, until = forgotten_path(store).stat().st_size, time.monotonic() + wait_s
    while True:
        compact(store)
        left = [path for path in segments(store) if listed_at(path) < listed]
        if not left:
            return
        if time.monotonic() > until:
            raise UserError(
                f"{len(left)} segments of {store} are still written after {wait_s:g} s, such as {left[0].name}; the user is "
                f"on {forgotten_path(store)} and is not handed out any more; run this again when that server answers"
            )
        time.sleep(0.2)


def _boards_of(store: Path, user: str) -> list[str]:
    found: set[str] = set()
    for path in day_files(store):
        table = read_rows(path, ["user_id", "kind", "board_id"])
        made = pc.and_(pc.equal(table["user_id"], user), pc.equal(table["kind"], "board_created"))  # type: ignore[attr-defined]
        found |= set(table.filter(made)["board_id"].to_pylist())
    return sorted(found)


def _rewrite(store: Path, user: str, boards: list[str]) -> tuple[int, int]:
    """Take the user's rows and the names of their boards out of every file; returns how many of each."""
    removed = unnamed = 0
    for path in day_files(store):
        table = read_rows(path)
        kept = table.filter(pc.not_equal(table["user_id"], user))  # type: ignore[attr-defined]
        theirs = pc.fill_null(pc.is_in(kept["board_id"], value_set=pa.array(boards, pa.string())), False)  # type: ignore[attr-defined]
        named = pc.sum(theirs).as_py() or 0  # type: ignore[attr-defined]
        if kept.num_rows == table.num_rows and not named:
            continue
        names = pc.if_else(theirs, pa.scalar(None, pa.string()), kept["board_id"])  # type: ignore[attr-defined]
        write_rows(path, kept.set_column(SCHEMA.get_field_index("board_id"), SCHEMA.field("board_id"), names))
        removed, unnamed = removed + table.num_rows - kept.num_rows, unnamed + named
    for path in (store / ASIDE).glob("*.txt"):  # what is no event cannot be told apart: any line with the id goes
        lines, torn = split_lines(path.read_bytes())
        kept_lines = [line for line in [*lines, torn] if user.encode() not in line]
        if len(kept_lines) <= len(lines):
            write_bytes(path, b"\n".join(kept_lines))
    for path in [*(store / DAYS).rglob("*.tmp"), *(store / ASIDE).glob("*.tmp")]:  # of what was interrupted
        path.unlink()
    return removed, unnamed


def _found(store: Path, ids: set[str]) -> dict[str, int]:
    """Places where an id is still a whole value; empty is the proof."""
    found: dict[str, int] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for path in day_files(store):
        table = read_rows(path, list(SEARCHED))
        hits = sum(pc.sum(pc.is_in(table[name], value_set=wanted)).as_py() or 0 for name in SEARCHED)  # type: ignore[attr-defined]
        found[path.relative_to(store).as_posix()] = hits
    for path in segments(store):
        events = [read_line(line) for line in split_lines(path.read_bytes())[0]]
        found[f"segments/{path.name}"] = sum(e is not None and not ids.isdisjoint(map(e.get, SEARCHED)) for e in events)
    for path in (store / ASIDE).iterdir():
        found[f"{ASIDE}/{path.name}"] = sum(path.read_bytes().count(word.encode()) for word in ids)
    log = audit_path(store)
    found[log.name] = occurrences(log, ids) if log.is_file() else 0
    return {place: n for place, n in found.items() if n}
