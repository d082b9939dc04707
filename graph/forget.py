"""Command `navigator graph forget`: a graph and its vectors as if a user had never been, and the proof of it.

Saves are entangled: they decide how others' edges are pruned, where the time cut falls, which interests exist, what the
walks visit. So nothing is edited in place. The user goes on the graph's list of forgotten people (graph.forgotten), the
graph is built again from its catalogue with its own options without whoever is on the list, files of edges that were
added to it are added again without their rows, and the result takes the old one's place at once. Vectors follow: rows of
the user and of their boards are taken out, refined vectors are computed again, and vectors that were trained on the old
graph are named, because only training again makes them forget.
"""

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from graph.audit import Entry, audit_path, audited
from graph.commands import build_graph
from graph.forget_vectors import clean, content_of, graph_of, left, stores_in
from graph.forgotten import Theirs, add_forgotten, forgotten_path
from graph.policy import FILE, load_policy
from graph.replay import additions_of, build_again, rows_of
from graph.store import TasteGraph
from graph.traces import check_searchable, occurrences, traces
from navigator.contracts import Catalog, Manifest, UserError

PURPOSE = "forget"
NO_VECTORS = (
    "no vectors were given, none was searched: refined or trained vectors made from this graph may still hold the user; "
    "give them with --vectors"
)


def forget(user: str, graph: Path, catalog: Path, vectors: list[Path] | None = None) -> dict[str, Any]:
    """Remove a user from a taste graph and its vectors, and prove that nothing of them is left there.

    Args:
        user: the user's id as the catalogue has it: who saved and followed, and whose boards go too.
        graph: taste graph folder; built again without them, in place.
        catalog: the catalogue that the graph was built from. It is not changed, nor are files of edges that were added;
            its rows of the user are left out of this build and of all later ones with this --out.
        vectors: vector folders to clean: of users, boards or items, or a folder of train.gnn, which means its items/,
            boards/ and users/. With vectors refined by this graph also the content vectors that they were made from.
            Vectors that are not named here are not looked for: they may still hold the user.

    Returns:
        Fingerprints before and after, edges and rows removed, places where an id is still found (none), vectors that
        were cleaned, and in `stale` those that have to be trained again; `complete` says whether nothing is left to
        do in the graph and these vectors, and `exit_code` is 1 otherwise; `searched` names what was looked through.

    Raises:
        UserError: an unknown user, a graph of another catalogue, vectors that cannot be cleaned, a policy that does not
            allow the purpose forget. Nothing is changed then.
    """
    stores = stores_in(vectors or [])
    with audited(graph, "graph forget", PURPOSE, {"vectors": [str(path) for path in stores]}, made=False) as entry:
        entry.secret[user] = "(the user)"
        report = _forget(user, Path(graph), Catalog.open(catalog), stores, entry)
    return report | {"audit": entry.head}


def _forget(user: str, graph: Path, catalog: Catalog, stores: list[Path], entry: Entry) -> dict[str, Any]:
    """See `forget`; every check comes before the first change."""
    policy = load_policy(graph if (graph / FILE).is_file() else None)
    entry.policy = policy.fingerprint
    policy.purpose(PURPOSE).check_types(["holds", "saved", "follows", "about"])
    before = TasteGraph.open(graph, catalog, purpose=PURPOSE)
    added = additions_of(before.manifest, graph)
    theirs = rows_of(catalog.path, user, added)
    entry.secret |= dict.fromkeys(theirs.boards, "(a board of the user)")
    options = _options(before.manifest)
    content = content_of(stores)
    for path in (graph, *stores):
        check_searchable(path)
    removed = _edges_of(before, theirs)

    listed = add_forgotten(forgotten_path(graph), user)
    hidden = listed.hash_of(user)
    try:
        built = build_again(graph, catalog.path, options, added)
    except UserError as error:
        raise UserError(
            f"{error}; the user is on {forgotten_path(graph)}, but {graph} could not be built without them and still "
            "has them: remove that folder"
        ) from error
    after = TasteGraph.open(graph, catalog, purpose=PURPOSE)
    cleaned = []
    for path in stores:
        with audited(path, "graph forget", PURPOSE, {"user": hidden}) as line:
            cleaned.append(clean(path, content, graph, catalog, theirs))
            line.artefacts |= {key: cleaned[-1][key] for key in ("before", "after")} | {"graph": after.fingerprint}
            line.parameters["action"] = cleaned[-1]["action"]
    stale = [str(path) for path in stores if graph_of(path) not in (None, after.fingerprint)]
    found = _left(graph, stores, catalog, theirs)
    complete = not stale and not found
    report = {
        "out": str(graph), "user": hidden, "unchanged": built["unchanged"] and not any(c["changed"] for c in cleaned),
        "before": before.fingerprint, "after": after.fingerprint, "rows": theirs.rows, "removed": removed,
        "edges": {name: [_n(before, name), _n(after, name)] for name in before.manifest.metrics["relations"]},
        "vectors": cleaned, "stale": stale, "found": found, "complete": complete,
        "searched": [str(path) for path in (graph, *stores)], "exit_code": int(not complete),
    }  # fmt: skip
    if not stores:
        report["note"] = NO_VECTORS
    if stale:
        report["next"] = f"{', '.join(stale)}: still learned from the old graph; train again, then give them here again"
    entry.artefacts |= {"catalog": catalog.fingerprint, "before": before.fingerprint, "graph": after.fingerprint}
    entry.parameters |= {
        key: report[key] for key in ("user", "rows", "removed", "vectors", "stale", "found", "complete")
    }
    return report


def _options(manifest: Manifest) -> dict[str, Any]:
    """The options the graph was built with, as `build_graph` takes them."""
    taken = set(inspect.signature(build_graph).parameters) - {"catalog", "out", "policy", "forgotten"}
    return {name: value for name, value in manifest.config.items() if name in taken}


def _edges_of(before: TasteGraph, theirs: Theirs) -> dict[str, int]:
    """How many edges of each relation start or end at the user or at a board of theirs."""
    ids = {"user": set(theirs.users), "board": set(theirs.boards)}
    mine = {kind: [n for n, node in enumerate(before.node_ids(kind)) if node in ids[kind]] for kind in ids}
    removed = {}
    for source, name, target in before.edge_types:
        if source in mine:
            edges = before.relation(name)
            starts = sum(int(edges.indptr[n + 1] - edges.indptr[n]) for n in mine[source])
            ends = [edges.rev_indices[edges.rev_indptr[n] : edges.rev_indptr[n + 1]] for n in mine.get(target, [])]
            removed[name] = starts + sum(int((~np.isin(others, mine[source])).sum()) for others in ends)
    return removed


def _n(taste_graph: TasteGraph, name: str) -> int:
    return taste_graph.manifest.metrics["relations"].get(name, {}).get("edges", 0)


def _left(graph: Path, stores: list[Path], catalog: Catalog, theirs: Theirs) -> dict[str, int]:
    """Places in the graph, its log and the stores where an id of theirs is still found; empty is the proof.

    What an interrupted command left beside them counts as a place.
    """
    ids = {*theirs.users, *theirs.boards}
    found = {f"{graph}/{place}": n for place, n in traces(graph, ids).items()}
    found |= {str(path): n for path in (audit_path(graph),) if (n := occurrences(path, ids))}
    found |= {f"{store}/{place}": n for store in stores for place, n in left(store, catalog, theirs).items()}
    beside = [path.with_name(path.name + end) for path in (graph, *stores) for end in (".work", ".old")]
    return found | {str(path): 1 for path in beside if path.exists()}
