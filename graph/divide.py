"""The saves of all boards and of all users, divided block by block before anything learns from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.grouped import Grouped, RowFile
from graph.ingest import DUPLICATE, Rejected
from graph.ordering import set_hashes
from graph.saves import Saves, distinct, in_user_order
from graph.sequence_file import SequenceFile
from graph.split import OUT, TRAIN, counted, hold_out, lowest_of, twin_groups
from graph.unseen import choose_unseen, fates, given_parts, held_out_counts, hold_out_unseen
from graph.user_split import split_ordered_users
from navigator.contracts.signals import Task

Counts = dict[str, int]
NOBODY = Saves([], *(np.zeros(0, np.int64) for _ in range(3)))


@dataclass(frozen=True)
class Divided:
    """The distinct saves of one task by owner, in sequence order, each with its part.

    Attributes:
        task: whose they are.
        ids: external ids of the owners in the catalogue.
        node: (n_owners,) int64 node number of each owner, -1 for a board that training may not see.
        saves: by owner.
        part: (n,) int8, TRAIN, VALID, TEST or OUT; mapped.
        titles: of the owners; None for users.
    """

    task: Task
    ids: pa.Array
    node: np.ndarray
    saves: Grouped
    part: np.ndarray
    titles: pa.Array | None = None

    @property
    def node_ids(self) -> pa.Array:
        return self.ids.filter(pa.array(self.node >= 0))

    @property
    def node_titles(self) -> list[str]:
        """Titles by node number; a title is empty where there is none."""
        return [] if self.titles is None else self.titles.filter(pa.array(self.node >= 0)).to_pylist()

    @property
    def n_nodes(self) -> int:
        return int((self.node >= 0).sum())

    def train(self) -> Iterator[Saves]:
        """The training saves a block at a time, owners by node number, in sequence order."""
        for first, end in self.saves.blocks():
            saves = self.saves.saves(first, end)
            chosen = np.asarray(self.part[self.saves.span(first, end)]) == TRAIN
            yield Saves([], self.node[first + saves.owner[chosen]], *_values(saves.rows(chosen)))

    def write(self, file: SequenceFile) -> None:
        for first, end in self.saves.blocks():
            saves = self.saves.saves(first, end, self.ids.slice(first, end - first).to_pylist())
            titles = None if self.titles is None else self.titles.slice(first, end - first)
            file.append(self.task, saves, np.asarray(self.part[self.saves.span(first, end)]), titles)


@dataclass(frozen=True)
class Boards:
    """What is known of all boards of the catalogue: ids, titles (never null), whose each is, and perhaps a given split.

    Attributes:
        fate: (n,) int8 TRAIN, VALID or TEST as the column `part` says; None where the catalogue has none.
    """

    ids: pa.Array
    titles: pa.Array
    owners: pa.Array
    fate: np.ndarray | None = None

    @classmethod
    def of(cls, table: pa.Table) -> "Boards":
        """From boards.parquet; a board without an owner is its own."""
        ids, titles, owners = (
            table[name].combine_chunks().cast(pa.string()) for name in ("board_id", "title", "owner_id")
        )
        named = pc.call_function("greater", [pc.call_function("binary_length", [owners.fill_null("")]), pa.scalar(0)])
        own = pc.call_function("if_else", [named, owners.fill_null(""), ids])
        fate = given_parts(ids, table["part"].combine_chunks()) if "part" in table.column_names else None
        return cls(ids, titles.fill_null(""), own, fate)


def divide_boards(
    grouped: Grouped, rejected: Rejected, boards: Boards, config: dict[str, Any], cut: int | None, scratch: Path,
    n_items: int, unseen: SequenceFile | None,
) -> tuple[Divided, dict[str, Any]]:  # fmt: skip
    """Divide the saves of boards by the options of `graph.commands.build_graph`; unseen boards go to their file.

    Args:
        cut: saves after this time are dropped and counted; None keeps all.
    """
    counts, saves, hashes = _distinct_boards(grouped, rejected, cut, scratch)
    sizes = np.diff(saves.indptr)
    fate, told = fates(boards.owners, boards.fate, config["unseen_owners"], config["unseen_valid"])
    group = twin_groups(hashes, sizes > 0)
    stays, chosen, unseen_counts = choose_unseen(group, fate, boards.ids)
    first_of_twins = lowest_of(group, boards.ids, stays)
    cut_owners = boards.owners.filter(pa.array((fate != TRAIN) & (sizes > 0)))
    counts |= told | {"unseen_owners": 0 if told else len(cut_owners.unique()), **unseen_counts}
    parts = RowFile(scratch / "boards.part", ("part",))
    seen_item, unseen_item = np.zeros(n_items, bool), np.zeros(n_items, bool)
    totals = counted("boards", NOBODY, NOBODY.owner) | held_out_counts(NOBODY.owner)
    for first, end in saves.blocks():
        ids = boards.ids.slice(first, end - first).to_pylist()
        block, here = saves.saves(first, end, ids), slice(first, end)
        part = np.full(len(block.owner), OUT, np.int8)
        ours = first_of_twins[here][block.owner]
        kept = block.rows(ours)
        part[ours] = hold_out(kept, config["seed"], config["min_board"], config["valid_fraction"])
        parts.append(part)
        theirs = chosen[here][block.owner]
        hidden = block.rows(theirs)
        hidden_part = hold_out_unseen(hidden, fate[here], config["seed"], config["min_board"])
        if unseen is not None:
            unseen.append("board-completion", hidden, hidden_part, boards.titles.slice(first, end - first))
        seen_item[block.item[stays[here][block.owner]]] = True
        unseen_item[hidden.item] = True
        _add(totals, counted("boards", kept, part[ours]) | held_out_counts(hidden_part))
    counts |= {"items_on_unseen_boards_only": int((unseen_item & ~seen_item).sum())}
    counts |= {"boards_merged": int(((sizes > 0) & stays & ~first_of_twins).sum())}
    node = np.where(stays, np.cumsum(stays) - 1, -1)
    part = parts.done()["part"]
    return Divided("board-completion", boards.ids, node, saves, part, boards.titles), counts | totals


def divide_users(
    grouped: Grouped, rejected: Rejected, given: tuple[Grouped, Rejected] | None, ids: pa.Array,
    config: dict[str, Any], cut: int | None, scratch: Path,
) -> tuple[Divided, Counts]:  # fmt: skip
    """Divide the saves of users; `given` are the test saves of user_split given."""
    weighted = ("weight",) if grouped.weight is not None else ()
    rows = RowFile(scratch / "users.rows", ("target", "at", *weighted))
    parts = RowFile(scratch / "users.part", ("part",))
    sizes = np.zeros(len(ids), np.int64)
    totals = counted("users", NOBODY, NOBODY.owner) | {"user_saves_repeated": 0}
    for first, end in grouped.blocks():
        names = ids.slice(first, end - first).to_pylist()
        saves, again = in_user_order(grouped.saves(first, end, names))
        rejected.add(_row(again), DUPLICATE)
        test = None
        if given is not None:
            test, twice = in_user_order(given[0].saves(first, end, names))
            given[1].add(_row(twice), DUPLICATE)
        split = split_ordered_users(saves, config["seed"], config["valid_fraction"], config["user_split"], cut, test,
                                    config["last"])  # fmt: skip
        rows.append_saves(split.saves)
        parts.append(split.part)
        sizes[first:end] = np.bincount(split.saves.owner, minlength=end - first)
        _add(totals, split.counts | {"user_saves_repeated": len(again.owner)})
    divided = Divided(
        "next-item", ids, np.arange(len(ids)), Grouped.of(sizes, rows), parts.done()["part"]
    )  # fmt: skip
    return divided, totals


def _distinct_boards(
    grouped: Grouped, rejected: Rejected, cut: int | None, scratch: Path
) -> tuple[Counts, Grouped, np.ndarray]:
    """Counts, the distinct saves up to the cut, and the hashes of each board's item set."""
    rows = RowFile(scratch / "boards.rows", ("target", "at", *(("weight",) if grouped.weight is not None else ())))
    sizes, hashes = np.zeros(grouped.n_sources, np.int64), np.zeros((grouped.n_sources, 2), np.uint64)
    after = 0
    for first, end in grouped.blocks():
        saves = grouped.saves(first, end)
        if cut is not None:
            after += int((saves.at > cut).sum())
            saves = saves.rows(saves.at <= cut)
        saves, again = distinct(saves)
        rejected.add(_row(again), DUPLICATE)
        rows.append_saves(saves)
        _, bounds = saves.by_owner
        sizes[first:end] = np.diff(bounds)
        hashes[first:end] = set_hashes(bounds, saves.item.astype(np.int64))
    counts = {} if cut is None else {"time_cut": cut, "board_saves_after_cut": after}
    return counts, Grouped.of(sizes, rows), hashes


def _values(saves: Saves) -> tuple[np.ndarray, np.ndarray, None, np.ndarray | None]:
    return saves.item, saves.at, None, saves.weight


def _row(saves: Saves) -> np.ndarray:
    return np.zeros(0, np.int64) if saves.row is None else saves.row


def _add(totals: Counts, more: Counts) -> None:
    for name, value in more.items():
        totals[name] = totals.get(name, 0) + value
