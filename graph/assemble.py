"""A catalogue -> the files of a taste graph: read and refuse, divide, then edges from what is left for training."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.build import interest_edges
from graph.co_saves import blocks_of, co_saved
from graph.csr import Prune, write_relation
from graph.divide import Boards, Divided, divide_boards, divide_users
from graph.grouped import Grouped, RowFile
from graph.ingest import (
    DUPLICATE,
    Ingest,
    Rejected,
    Table,
    board_table,
    check_actions,
    follow_table,
    interaction_table,
)  # fmt: skip
from graph.ordering import id_hashes
from graph.relation import ABOUT, CO_SAVED, FOLLOWS, HAS, HOLDS, SAVED, Edges, EdgeType, Relation
from graph.saves import Saves, distinct
from graph.sequence_file import SequenceFile
from graph.split import check_fraction, check_min_board
from graph.store import CSR, describe, write_nodes
from graph.user_split import check_last, time_cut
from navigator.contracts import Catalog, UserError
from navigator.contracts.catalog import PARTED_BOARDS

SCRATCH = "scratch"


@dataclass(frozen=True)
class Limits:
    """What a policy and a list of forgotten people leave out: SQL conditions by table, the oldest time, and follows."""

    stay: Callable[[str], str] = lambda table: "true"
    oldest: int | None = None
    follows: bool = True


@dataclass
class Assembly:
    """What a build has at hand while it writes: the session, the options, and what it has counted.

    Attributes:
        people: whose each board and each user is, as numbers by node.
    """

    folder: Path
    catalog: Catalog
    config: dict[str, Any]
    ingest: Ingest
    limits: Limits
    counts: dict[str, Any]
    rejected: list[Rejected]
    people: list[np.ndarray] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        return self.folder / SCRATCH


def assemble(folder: Path, catalog: Catalog, config: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Write nodes, csr, sequences, unseen and rejects into a work folder; returns the counts.

    Raises:
        UserError: no saves, all refused, none left to train on, unknown times under global-time, an option out of range.
    """
    check_fraction(config["valid_fraction"])
    check_min_board(config["min_board"])
    check_last(config["last"], config["user_split"])
    for leftover in folder.iterdir():  # of an interrupted build
        if leftover.is_dir():
            shutil.rmtree(leftover)
    ingest = Ingest(folder / SCRATCH, limits.oldest)
    work = Assembly(folder, catalog, config, ingest, limits, {}, [])
    try:
        _write(work)
        ingest.write_rejects(folder / "rejects.parquet", work.rejected)
    finally:
        ingest.close()
        shutil.rmtree(folder / SCRATCH)
    return work.counts


def _write(work: Assembly) -> None:
    boards, users, follows = _divide(work)
    item_ids = pa.array(work.catalog.item_ids, pa.string())
    sizes = {"item": len(item_ids), "board": boards.n_nodes, "user": users.n_nodes}
    hashes = {"item": id_hashes(item_ids), "board": id_hashes(boards.node_ids), "user": id_hashes(users.node_ids)}
    keywords = None
    if work.config["interests"] == "keywords":
        keywords = work.catalog.table("items", ["keywords"])["keywords"].combine_chunks()
    names, has, about = interest_edges(boards.train, boards.node_titles, keywords)
    sizes["interest"] = len(names)
    relations = [
        _saves_relation(work, HOLDS, boards, sizes, hashes),
        _saves_relation(work, SAVED, users, sizes, hashes),
    ]
    relations += [_plain_relation(work.folder, edge_type, sizes, e) for edge_type, e in ((HAS, has), (ABOUT, about))]
    if follows is not None:
        relations.append(_blocks_relation(work, FOLLOWS, sizes, lambda: blocks_of(follows)))
    if work.config["co_saves"]:
        blocks = ((block, people) for divided, people in zip((boards, users), work.people, strict=True)
                  for block in divided.train())  # fmt: skip
        pairs = co_saved(work.ingest, blocks, sizes["item"], work.config["co_saves"], work.scratch)
        relations.append(_blocks_relation(work, CO_SAVED, sizes, lambda: blocks_of(pairs)))
    with_sequences = SequenceFile(work.folder / "sequences.parquet", item_ids)
    for divided in (boards, users):
        divided.write(with_sequences)
    with_sequences.close()
    _write_nodes(work, item_ids, boards, users, names, has)
    trained = work.counts["boards_train_saves"] + work.counts["users_train_saves"]
    work.counts |= {f"edges_{r.edge_type[1]}": r.n_edges for r in relations}
    work.counts["edges_pruned"] = trained - relations[0].n_edges - relations[1].n_edges
    work.counts["relations"] = {r.edge_type[1]: describe(r) for r in relations}


def _divide(work: Assembly) -> tuple[Divided, Divided, Grouped | None]:
    """Boards, users and follows (by board number), with everything refused or held out counted."""
    config, ingest, folder = work.config, work.ingest, work.catalog.path
    given = config["user_split"] == "given"
    check_actions(ingest, folder, [*(config["actions"] or []), *(config["test_actions"] or [])])
    users_table = interaction_table(
        folder, config["actions"], [*(config["test_actions"] or []), *(config["impressions"] or [])]
    )
    test_table = interaction_table(folder, config["test_actions"]) if given else None
    tables = [board_table(folder), users_table, *([test_table] if test_table else [])]
    follows_table = follow_table(folder) if work.limits.follows else None
    boards = Boards.of(_kept_rows(work, "boards"))
    tables = [_staying(work, table) for table in tables]
    follows_table = None if follows_table is None else _staying(work, follows_table)
    ingest.nodes("item", pa.array(work.catalog.item_ids, pa.string()))
    ingest.nodes("board", boards.ids)
    if config["actions"] is None:
        work.counts["actions_counted"] = ingest.rows_by_action(tables[1])
    user_ids = ingest.sources([*tables[1:], *([follows_table] if follows_table else [])])
    ingest.nodes("user", user_ids)
    found = [
        ingest.edges(table, len(ids)) for table, ids in zip(tables, (boards.ids, user_ids, user_ids), strict=False)
    ]
    work.rejected = [rejected for _, rejected in found]
    read = sum(rejected.read for rejected in work.rejected)
    work.counts["interactions_of_other_actions"] = work.catalog.rows("interactions") - sum(
        rejected.read for rejected in work.rejected[1:]
    )
    if not any(len(grouped.target) for grouped, _ in found[:2]):
        raise UserError(_nothing(work, read))
    cut = None
    if config["user_split"] == "global-time":
        cut = time_cut(found[1][0].at, config["global_quantile"])
    unseen = None
    if config["unseen_owners"] or config["unseen_valid"] or boards.fate is not None:
        unseen = SequenceFile(work.folder / "unseen.parquet", pa.array(work.catalog.item_ids, pa.string()))
    of_boards, counts = divide_boards(
        *found[0], boards, config, cut, work.scratch, len(work.catalog.item_ids), unseen
    )  # fmt: skip
    work.counts |= counts
    if unseen is not None:
        unseen.close()
    of_users, counts = divide_users(*found[1], found[2] if given else None, user_ids, config, cut, work.scratch)
    work.counts |= counts
    if not counts["users"] and not work.counts["boards"]:
        raise UserError(
            f"the saves of catalog {folder} are all on unseen boards ({work.counts['unseen_boards']}); give smaller "
            "unseen_owners and unseen_valid, or a catalogue with boards of part train"
        )
    work.people = _people(boards.owners.filter(pa.array(of_boards.node >= 0)), of_users.node_ids)
    follows = None if follows_table is None else _follows(work, follows_table, len(user_ids), of_boards.node, cut)
    names = ("holds", "saved", "saved_test")[: len(tables)] + (("follows",) if follows is not None else ())
    work.counts["rows"] = {
        name: {"read": r.read, "kept": r.read - r.n_rows, "rejected": r.counts()}
        for name, r in zip(names, work.rejected, strict=True)
    }
    return of_boards, of_users, follows


def _people(board_owners: pa.Array, users: pa.Array) -> list[np.ndarray]:
    """Boards and users to people: a board's owner and the user of that name are one."""
    numbers = pa.concat_arrays([board_owners, users.cast(pa.string())]).dictionary_encode().indices.to_numpy()
    return np.split(numbers, [len(board_owners)])


def _follows(work: Assembly, table: Table, n_users: int, node: np.ndarray, cut: int | None) -> Grouped:
    """Distinct follows up to the cut of boards that training may see, by user."""
    grouped, rejected = work.ingest.edges(table, n_users)
    work.rejected.append(rejected)
    rows = RowFile(
        work.scratch / "follows.rows", ("target", "at", *(("weight",) if grouped.weight is not None else ()))
    )
    sizes = np.zeros(n_users, np.int64)
    unseen = after = 0
    for first, end in grouped.blocks():
        saves, again = distinct(grouped.saves(first, end))
        rejected.add(again.order_key, DUPLICATE)
        late = np.zeros(len(saves.at), bool) if cut is None else saves.at > cut
        board = node[saves.item]
        after, unseen = after + int(late.sum()), unseen + int((~late & (board < 0)).sum())
        keep = ~late & (board >= 0)
        saves = saves.rows(keep)
        rows.append_saves(Saves(saves.ids, saves.owner, board[keep], saves.at, None, saves.weight))
        sizes[first:end] = np.bincount(saves.owner, minlength=end - first)
    work.counts |= {"follows_of_unseen_boards": unseen, "follows_after_cut": after}
    return Grouped.of(sizes, rows)


def _saves_relation(
    work: Assembly, edge_type: EdgeType, divided: Divided, sizes: dict[str, int], hashes: dict[str, np.ndarray]
) -> Relation:
    prune = None
    if work.config["prune"]:
        prune = Prune(work.config["seed"], hashes[edge_type[0]], hashes["item"])
    return write_relation(work.folder / CSR, edge_type, sizes, divided.train, prune, work.scratch)


def _blocks_relation(
    work: Assembly, edge_type: EdgeType, sizes: dict[str, int], blocks: Callable[[], Iterator[Saves]]
) -> Relation:
    return write_relation(work.folder / CSR, edge_type, sizes, blocks, None, work.scratch)


def _plain_relation(folder: Path, edge_type: EdgeType, sizes: dict[str, int], edges: Edges) -> Relation:
    relation = Relation.from_edges(edge_type, sizes[edge_type[0]], sizes[edge_type[2]], edges)
    relation.save(folder / CSR)
    return relation


def _write_nodes(
    work: Assembly, item_ids: pa.Array, boards: Divided, users: Divided, names: list[str], has: Edges
) -> None:
    item_degree = np.zeros(len(item_ids), np.int64)
    own = {}
    for node_type, divided in (("board", boards), ("user", users)):
        own[node_type] = np.zeros(divided.n_nodes, np.int64)
        for block in divided.train():
            item_degree += np.bincount(block.item, minlength=len(item_ids))
            own[node_type] += np.bincount(block.owner, minlength=divided.n_nodes)
    interests = np.bincount(has.dst, minlength=len(names))
    nodes = {
        "item": (item_ids, item_degree), "board": (boards.node_ids, own["board"]), "user": (users.node_ids, own["user"]),
        "interest": (names, interests),
    }  # fmt: skip
    for node_type, (ids, degree) in nodes.items():
        write_nodes(work.folder, node_type, ids, degree)
        work.counts[f"nodes_{node_type}"] = len(ids)
        work.counts[f"cold_{node_type}"] = int((degree == 0).sum())


def _kept_rows(work: Assembly, name: str) -> pa.Table:
    path = work.catalog.path / f"{name}.parquet"
    columns = [column for column in PARTED_BOARDS.names if column in work.catalog.columns(name)]
    where = work.limits.stay(name)
    if where == "true":
        return pq.read_table(path, columns=columns)
    return work.ingest.db.sql(
        f"SELECT {', '.join(columns)} FROM read_parquet('{path}', file_row_number = true) WHERE {where} "
        "ORDER BY file_row_number"
    ).to_arrow_table()


def _staying(work: Assembly, table: Table) -> Table:
    where = work.limits.stay(table.path.stem)
    return table if where == "true" else table.narrowed(where)


def _nothing(work: Assembly, read: int) -> str:
    if not read:
        return f"catalog {work.catalog.path} has no save in board_items or interactions; there is no taste to learn"
    reasons: dict[str, int] = {}
    for rejected in work.rejected:
        for reason, n in rejected.counts().items():
            reasons[reason] = reasons.get(reason, 0) + n
    said = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
    return (
        f"all {read:,} saves of catalog {work.catalog.path} are refused ({said}); import the catalogue again or mend "
        "its tables"
    )
