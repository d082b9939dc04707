"""A graph made again without whoever is forgotten: built from its catalogue, then its files of edges added once more."""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from graph.commands import add_edges, build_graph
from graph.forgotten import Theirs, forgotten_path, is_not, rows_of_user
from graph.ingest import quoted
from graph.policy import FILE
from navigator.contracts import Manifest, UserError
from navigator.contracts.manifest import file_digest


def additions_of(manifest: Manifest, graph: Path) -> list[dict[str, str]]:
    """The files of edges that were added to a graph, oldest first.

    Raises:
        UserError: one of them is gone or was changed, or the graph holds something else than these.
    """
    added = manifest.config.get("added", [])
    known = {"catalog", "policy", "forgotten", *(("graph", "edges") if added else ())}
    lost = [a["edges"] for a in added if not Path(a["edges"]).is_file() or file_digest(Path(a["edges"])) != a["digest"]]
    if lost or set(manifest.inputs) - known:
        what = f"edges of {lost[0]}, which is gone or was changed" if lost else "edges of unknown files"
        raise UserError(
            f"taste graph {graph} holds {what}; {'put that file back, or ' if lost else ''}put those edges into the "
            "catalogue, build the graph of it with the same --out, then forget"
        )
    return added


def rows_of(catalog: Path, user: str, added: list[dict[str, str]]) -> Theirs:
    """What of a catalogue and of added edges is one user's, who may be in the latter only.

    Raises:
        UserError: neither has such a user.
    """
    people = sum(_count(a, "source", [user]) for a in added if a["relation"] != "holds")
    try:
        theirs = rows_of_user(catalog, user)
    except UserError:
        if not people:
            raise
        theirs = Theirs([user], [], {})
    boards = [_count(a, "source" if a["relation"] == "holds" else "target", theirs.boards)
              for a in added if a["relation"] != "saved"]  # fmt: skip
    more = people + sum(boards)
    return replace(theirs, rows=theirs.rows | ({"added edges": more} if more else {}))


def build_again(graph: Path, catalog: Path, options: dict[str, Any], added: list[dict[str, str]]) -> dict[str, Any]:
    """Build in place without whoever is on the graph's list; what is made on the way stands beside it and goes."""
    listed = forgotten_path(graph)
    if not added:
        return build_graph(catalog, graph, **options, policy=graph / FILE, forgotten=listed)
    with TemporaryDirectory(dir=graph.absolute().parent, prefix=f"{graph.name}.forget.") as folder:
        steps = [*(Path(folder) / str(n) for n in range(len(added))), graph]
        build_graph(catalog, steps[0], **options, policy=graph / FILE, forgotten=listed)
        shutil.copyfile(listed, forgotten_path(steps[0]))
        done: dict[str, Any] = {}
        for addition, old, new in zip(added, steps[:-1], steps[1:], strict=True):
            done = add_edges(old, Path(addition["edges"]), catalog, new, addition["relation"])
    return done


def _count(addition: dict[str, str], column: str, ids: list[str]) -> int:
    query = f"SELECT count(*) FROM {quoted(Path(addition['edges']))} WHERE NOT {is_not(column, ids)}"
    with duckdb.connect() as db:
        return db.execute(query).fetchall()[0][0]
