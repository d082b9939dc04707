"""The rows of a file of edges that a graph may take: checked, joined with its nodes, all others refused with a reason."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graph.divide import Boards
from graph.forgotten import Forgotten, forgotten_rows, is_not
from graph.grown import Addition
from graph.grown_sequences import sequence_blocks
from graph.ingest import AFTER_CUT, DUPLICATE, HELD_OUT, Ingest, Rejected, Table
from graph.relation import FOLLOWS, HOLDS, SAVED, EdgeType
from graph.saves import Saves, in_user_order
from graph.split import TEST, TRAIN, VALID
from graph.store import TasteGraph
from navigator.contracts import UserError

RELATIONS = {"holds": HOLDS, "saved": SAVED, "follows": FOLLOWS}

_COLUMNS = {
    "source": ("text, the ids as the catalogue has them", lambda kind: _is_text(kind)),
    "target": ("text, the ids as the catalogue has them", lambda kind: _is_text(kind)),
    "at": ("whole seconds since 1970, -1 or empty where unknown", pa.types.is_integer),
    "weight": ("a number", lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind)),
}


def check_addition(old: TasteGraph, edges: Path, relation: str) -> EdgeType:
    if relation not in RELATIONS:
        raise UserError(f"relation {relation!r} cannot be added to; allowed are {', '.join(RELATIONS)}")
    names = [name for _, name, _ in old.edge_types]
    if relation not in names:
        raise UserError(f"taste graph {old.path} has no relation {relation!r}; it has {', '.join(names)}")
    if "co_saved" in names:
        raise UserError(
            f"taste graph {old.path} has co-saves, which added edges would change; build it again from a catalogue with "
            "these edges, or without --co_saves"
        )
    if not edges.is_file():
        raise UserError(
            f"edges {edges} does not exist; give a Parquet file with source, target and, if known, at, weight"
        )
    _check_columns(old, edges)
    return RELATIONS[relation]


def _check_columns(old: TasteGraph, edges: Path) -> None:
    """Raises UserError: no Parquet, a column that lacks or is of another type, a field that the purpose may not read."""
    try:
        schema = pq.read_schema(edges)
    except pa.ArrowInvalid as error:
        raise UserError(
            f"edges {edges} are not a readable Parquet file; give one with source, target and, if known, at, weight"
        ) from error
    missing = [name for name in ("source", "target") if name not in schema.names]
    if missing:
        raise UserError(f"edges {edges} lack the column {missing[0]}; they have {', '.join(schema.names)}")
    for name, (wanted, fits) in _COLUMNS.items():
        if name in schema.names and not (pa.types.is_null(kind := schema.field(name).type) or fits(kind)):
            raise UserError(f"column {name} of edges {edges} is of type {kind}; it has to be {wanted}")
    for name, field in (("at", "time"), ("weight", "weight")):
        if name in schema.names and not pa.types.is_null(schema.field(name).type):
            old.purpose.check_field(field)


def read_edges(
    folder: Path, ingest: Ingest, old: TasteGraph, edge_type: EdgeType, edges: Path, forgotten: Forgotten
) -> tuple[Addition, Rejected]:
    """Accepted edges and new nodes; everything else is rejected with a reason."""
    ids = {name: pa.array(old.node_ids(name), pa.string()) for name in ("item", "board", "user", "interest")}
    boards = Boards.of(old.catalog.table("boards", ["board_id", "title", "owner_id"]))
    table = Table(edge_type, edges, "source", "target", "at")
    total = pq.read_metadata(edges).num_rows
    if edge_type[0] == "user" and forgotten.hashes:
        hashes = ", ".join(f"'{h}'" for h in sorted(forgotten.hashes))
        table = table.narrowed(f"source IS NULL OR sha256('{forgotten.salt}|' || source) NOT IN ({hashes})")
    theirs = forgotten_rows(old.catalog.path, forgotten).boards
    for column, kind in (("source", edge_type[0]), ("target", edge_type[2])):
        if kind == "board" and theirs:
            table = table.narrowed(is_not(column, theirs))
    present = ingest.sources([table])
    new = present.filter(pc.call_function("invert", [_among(present, ids[edge_type[0]])]))
    hidden = np.zeros(0, np.int64)
    ids[edge_type[0]] = pa.concat_arrays([ids[edge_type[0]], new])
    if edge_type[0] == "board":  # a board of the catalogue that training may not see
        hidden = np.flatnonzero(_among(ids["board"], boards.ids).to_numpy(zero_copy_only=False))
        hidden = hidden[hidden >= old.n_nodes("board")]
    for name in {edge_type[0], edge_type[2]}:
        ingest.nodes(name, ids[name])
    grouped, rejected = ingest.edges(table, len(ids[edge_type[0]]))
    saves = grouped.saves(0, grouped.n_sources)
    saves, again = in_user_order(saves)
    rejected.add(again.order_key, DUPLICATE)
    saves = _new_pairs(old, edge_type, ids, saves, rejected)
    cut = old.manifest.metrics.get("time_cut")
    for wrong, reason in (
        (np.isin(saves.owner, hidden), HELD_OUT),
        (saves.at > cut if cut is not None else np.zeros(len(saves.at), bool), AFTER_CUT),
    ):
        rejected.add(saves.order_key[wrong & ~_told(saves, rejected)], reason)
    saves = saves.rows(~_told(saves, rejected))
    if not len(saves.owner) and rejected.read == total:  # where people are forgotten, nothing may be left
        said = ", ".join(f"{n:,} {reason}" for reason, n in rejected.counts().items())
        raise UserError(f"none of the {total:,} edges of {edges} can be added ({said or 'there is none'})")
    ids[edge_type[0]] = _only_used(ids[edge_type[0]], old.n_nodes(edge_type[0]), saves)
    saves = _renumbered(saves, old.n_nodes(edge_type[0]))
    counts = dict(old.manifest.metrics)
    counts["added"] = {
        "relation": edge_type[1], "read": rejected.read, "kept": len(saves.owner), "rejected": rejected.counts(),
        "forgotten": total - rejected.read, "new_sources": len(ids[edge_type[0]]) - old.n_nodes(edge_type[0]),
    }  # fmt: skip
    return Addition(folder, old, edge_type, ids, saves, boards, counts), rejected


def _new_pairs(
    old: TasteGraph, edge_type: EdgeType, ids: dict[str, pa.Array], saves: Saves, rejected: Rejected
) -> Saves:
    """Refuse pairs that the graph knows: training saves are duplicates, held-out ones are held out."""
    width = len(ids[edge_type[2]])
    keys = saves.owner.astype(np.int64) * width + saves.item
    touched = np.zeros(len(ids[edge_type[0]]), bool)
    touched[saves.owner] = True
    code = np.zeros(len(keys), np.int64)
    if edge_type == FOLLOWS:
        known = old.relation("follows").edges()
        code[np.isin(keys, known.src.astype(np.int64) * width + known.dst)] = DUPLICATE
    else:
        for owner, items, part, _ in sequence_blocks(old, edge_type, ids[edge_type[0]]):
            own = touched[owner]
            found = owner[own] * width + items[own]
            for reason, parts in ((DUPLICATE, (TRAIN,)), (HELD_OUT, (VALID, TEST))):
                code[np.isin(keys, found[np.isin(part[own], parts)])] = reason
    for reason in (DUPLICATE, HELD_OUT):
        rejected.add(saves.order_key[code == reason], reason)
    return saves.rows(code == 0)


def _told(saves: Saves, rejected: Rejected) -> np.ndarray:
    """(n,) bool: rows that are refused already."""
    refused = np.concatenate(rejected.rows) if rejected.rows else np.zeros(0, np.int64)
    return np.isin(saves.order_key, refused)


def _only_used(ids: pa.Array, n_old: int, saves: Saves) -> pa.Array:
    """Without new nodes that none of the accepted edges names."""
    used = np.unique(saves.owner[saves.owner >= n_old])
    return pa.concat_arrays([ids.slice(0, n_old), ids.take(pa.array(used))])


def _renumbered(saves: Saves, n_old: int) -> Saves:
    owner = saves.owner.copy()
    new = owner >= n_old
    owner[new] = n_old + np.unique(owner[new], return_inverse=True)[1]
    return Saves([], owner, saves.item, saves.at, None, saves.weight)


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
    )


def _among(values: pa.Array, ids: pa.Array) -> pa.Array:
    return pc.call_function("is_in", [values], pc.SetLookupOptions(ids))
