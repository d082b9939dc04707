"""Whether anything that is held out got into the graph or its signals, found out from the files themselves.

No counter of the builder is believed: the sequences say what is held out, the catalogue says when each save happened,
and edges and signals are read back and compared. A check says how much it looked at and how much it found wrong; a check that
had nothing to look at says so and is no pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from graph.relation import CO_SAVED, UNKNOWN_TIME, Edges, Relation
from graph.saved_files import Files, board_people, both_of, index_of, is_save, keys_of, owners_of_both
from graph.signal_table import read_hard_negatives, read_impressions, read_pairs, read_signal
from graph.split import TRAIN
from graph.store import CSR
from graph.unseen import given_parts
from navigator.contracts.signals import Task

_OF_RELATION: dict[str, Task] = {"holds": "board-completion", "saved": "next-item"}
_NODE = {"board-completion": "board", "next-item": "user"}
_OF_SIGNAL: dict[str, Task] = {
    "next-item": "next-item", "board-completion": "board-completion", "board-title": "board-completion",
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes:
        name: what must not be.
        checked: things looked at.
        found: how many of them are wrong.
        note: what they are, or why there is nothing to look at.
        open: things of which it cannot be said; a check that leaves any open is a note and no pass.
    """

    name: str
    checked: int
    found: int
    note: str
    open: int = 0

    @property
    def verdict(self) -> str:
        if self.found:
            return "fail"
        return "note" if self.open else "pass" if self.checked else "nothing to check"


def check_all(files: Files) -> list[Check]:
    """Every check there is, each with its verdict."""
    return list(
        chain(
            _sequences(files), _edges(files), [_interests(files)], [_co_saved(files)], _signals(files),
            _impressions(files), [_walked(files), _negatives(files)], _moments(files), [_unseen(files)],
        )
    )  # fmt: skip


def _sequences(files: Files) -> Iterator[Check]:
    for task, owners in files.owners.items():
        held = owners.held
        both = np.isin(held, owners.train).sum() + len(held) - len(np.unique(held))
        yield Check(f"held-out saves among the training saves of {task}", len(held), int(both), "held-out saves")


def _edges(files: Files) -> Iterator[Check]:
    """Held-out saves among the edges, and edges that are no training save of anybody."""
    for name, task in _OF_RELATION.items():
        if name not in _relations(files):
            continue
        edges, owners = files.taste_graph.relation(name).edges(), files.owners[task]
        rows = owners.rows_of(pa.array(files.taste_graph.node_ids(_NODE[task]), pa.string()))[edges.src]
        keys = np.where(rows >= 0, rows * files.n + edges.dst, -1)
        found = int(np.isin(owners.held, keys).sum())
        yield Check(f"held-out saves among the edges {name}", len(owners.held), found, "held-out saves")
        strange = int((~np.isin(keys, owners.train)).sum())
        yield Check(f"edges {name} that are no training save", len(keys), strange, "edges")


def _interests(files: Files) -> Check:
    """An item that has its held-out board's title as an interest, though no training board of that title holds it."""
    name = "held-out saves that an item's interests tell"
    if files.taste_graph.manifest.config.get("interests") != "boards" or "has" not in _relations(files):
        return Check(
            name, 0, 0, "interests are the items' keywords: whether those tell boards is the catalogue's matter"
        )
    owners, edges = files.owners["board-completion"], files.taste_graph.relation("has").edges()
    labels = pa.array([title.strip().lower() for title in owners.titles.to_pylist()], pa.string())
    label = index_of(labels, pa.array(files.taste_graph.node_ids("interest"), pa.string()))
    width = files.taste_graph.n_nodes("interest") + 1

    def told(keys: np.ndarray) -> np.ndarray:
        return np.unique((keys % files.n) * width + label[keys // files.n] + 1)

    hidden = np.setdiff1d(told(owners.held), told(owners.train))
    hidden = hidden[hidden % width > 0]
    has = edges.src.astype(np.int64) * width + edges.dst + 1
    return Check(name, len(hidden), int(np.isin(hidden, has).sum()), "items and titles that only held-out saves join")


def _co_saved(files: Files) -> Check:
    """Two items joined as saved together, though no training owner saved both."""
    name = "co-saves that no training owner made"
    if "co_saved" not in _relations(files):
        return Check(name, 0, 0, "the graph has no relation co_saved")
    edges = _every_co_save(files)
    alone = int((owners_of_both(files, edges.src, edges.dst) == 0).sum())
    return Check(name, len(edges.src), alone, "edges")


def _signals(files: Files) -> Iterator[Check]:
    """Rows of the signal table that say more than an owner's training saves."""
    for name, task in _OF_SIGNAL.items():
        owners, checked, found = files.owners[task], 0, 0
        for table in read_signal(files.taste_graph.path, name, ["owner", "items"]):
            lists = table["items"].combine_chunks()
            keys = keys_of(lists, owners.rows_of(table["owner"]), files.item_ids, files.n)
            checked += len(keys)
            found += int((~np.isin(keys, owners.train)).sum())
        yield Check(f"items of signal {name} that are no training save of their owner", checked, found, "items")


def _impressions(files: Files) -> Iterator[Check]:
    """Impressions of an item that the user saved, and those not before what is held out of the user."""
    owners, shown = files.owners["next-item"], read_impressions(files.taste_graph.path, files.catalog.item_ids)
    rows = np.repeat(owners.rows_of(pa.array(shown.owner_ids, pa.string())), np.diff(shown.indptr))
    keys = np.where(rows >= 0, rows * files.n + shown.items, -1)
    saved = np.isin(keys, np.concatenate([owners.train, owners.held])) | (rows < 0)
    yield Check("impressions of an item that the user saved", len(keys), int(saved.sum()), "impressions")
    late = int((~np.isin(keys, _early(files))).sum())
    yield Check("impressions not before what is held out of the user", len(keys), late, "impressions")


def _early(files: Files) -> np.ndarray:
    """Keys of the log's impressions that are before all that is held out of their user, and before the cut."""
    config, owners = files.taste_graph.manifest.config, files.owners["next-item"]
    log = files.catalog.table("interactions")
    rows, items = owners.rows_of(log["user_id"]), index_of(log["item_id"], files.item_ids)
    keys, place = np.where((rows >= 0) & (items >= 0), rows * files.n + items, -1), np.arange(len(rows))
    at = np.asarray(log["at"].fill_null(UNKNOWN_TIME), dtype=np.int64)
    saves, n_owners = is_save(log["action"], config) & (keys >= 0), len(owners.ids)
    timeless = np.zeros(n_owners, bool)
    timeless[rows[saves & (at == UNKNOWN_TIME)]] = True
    moment = np.where(timeless[rows], place, at) if n_owners else at
    end = np.full(n_owners, np.iinfo(np.int64).max)
    held = saves & np.isin(keys, owners.held)
    np.minimum.at(end, rows[held], moment[held])
    cut = files.taste_graph.manifest.metrics.get("time_cut")
    end = end if cut is None else np.where(timeless, end, np.minimum(end, cut))
    shown = np.isin(np.asarray(log["action"].to_pylist(), object), config.get("impressions") or []) & (keys >= 0)
    shown[shown] &= (moment[shown] < end[rows[shown]]) & (timeless[rows[shown]] | (at[shown] != UNKNOWN_TIME))
    return keys[shown]


def _walked(files: Files) -> Check:
    """Co-save pairs are walks over training edges, so both ends are joined by a path of them: else a hidden save is."""
    pairs = read_pairs(files.taste_graph.path, files.catalog.item_ids)
    saved = files.item_owners
    joined = sp.block_array([[None, saved], [saved.T, None]], format="csr")
    part = connected_components(joined, directed=False)[1]
    apart = int((part[pairs[:, 0]] != part[pairs[:, 1]]).sum())
    return Check("co-save pairs that no path of training saves joins", len(pairs), apart, "pairs")


def _negatives(files: Files) -> Check:
    """Items and what is near, yet on none of their boards: an item that shares a training board is no negative.

    One that shares only a held-out save has to be able to occur: leaving it out would tell that save.
    """
    lists = read_hard_negatives(files.taste_graph.path, files.catalog.item_ids)
    item, place = np.nonzero(lists >= 0)
    boards = files.item_owners[:, : len(files.owners["board-completion"].ids)]
    found = int((both_of(sp.csr_array(boards), item, lists[item, place]) > 0).sum())
    return Check("hard negatives that share a training board with their item", len(item), found, "negatives")


def _moments(files: Files) -> Iterator[Check]:
    """The order of users' saves in time, and the cut."""
    users = files.owners["next-item"]
    n = len(users.ids)
    last, first = np.full(n, UNKNOWN_TIME), np.full(n, np.iinfo(np.int64).max)
    timeless, wrong, asked = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool)
    added = np.zeros(0, np.int64)  # saves of `navigator graph add`, of which the catalogue knows nothing
    if files.taste_graph.manifest.config.get("added"):
        added = np.setdiff1d(users.train, files.times["next-item"][0])
    for keys in (np.setdiff1d(users.train, added), users.valid, users.test):
        at, rows = files.time_of("next-item", keys), keys // files.n
        timeless[rows[at == UNKNOWN_TIME]] = True
        first[:] = np.iinfo(np.int64).max
        np.minimum.at(first, rows, at)
        wrong |= first < last
        np.maximum.at(last, rows, at)
    asked[users.held // files.n] = True
    more = len(np.intersect1d(added // files.n, np.flatnonzero(asked)))
    asked &= ~timeless
    name = "users whose held-out saves are not their last in time"
    if files.taste_graph.manifest.config.get("user_split") == "given":
        yield Check(name, 0, 0, "the test saves were given, not taken by time")
    else:
        note = "users with times and held-out saves"
        if more:
            note += (
                f"; to {more:,} users with held-out saves others were added later (navigator graph add), so that what is "
                "held out of them need no longer be their last: only what the catalogue has is compared"
            )
        yield Check(name, int(asked.sum()), int((wrong & asked).sum()), note, more)
    cut = files.taste_graph.manifest.metrics.get("time_cut")
    if cut is None:
        yield Check("saves and edges after the cut", 0, 0, "the split is not by global time")
        return
    at = np.concatenate([files.time_of(task, owners.train) for task, owners in files.owners.items()])
    edges = [
        (_every_co_save(files) if name == "co_saved" else files.taste_graph.relation(name).edges()).time
        for name in _relations(files)
    ]
    at = np.concatenate([at, files.time_of("next-item", users.valid), *edges])
    yield Check("saves and edges after the cut", len(at), int((at > cut).sum()), "training saves and edges")


def _unseen(files: Files) -> Check:
    """Unseen boards, by what the catalogue says of them or else by their owners, among the nodes, sequences or signals."""
    name, path = "unseen boards in the graph", files.taste_graph.path / "unseen.parquet"
    if not path.is_file():
        return Check(name, 0, 0, "no board was kept unseen")
    hidden = pq.read_table(path, columns=["owner"])["owner"].combine_chunks()
    ids, person = board_people(files.catalog)
    if "part" in files.catalog.columns("boards"):
        parts = files.catalog.table("boards", ["part"])["part"].combine_chunks()
        theirs = pa.concat_arrays(
            [ids.filter(pa.array(given_parts(ids, parts) != TRAIN)), hidden.cast(ids.type)]
        ).unique()
    else:
        people = person.take(pa.array(np.unique(index_of(hidden, ids))))
        theirs = ids.filter(pa.array(index_of(person, people) >= 0))
    seen = [files.taste_graph.node_ids("board"), files.owners["board-completion"].ids.to_pylist()]
    for signal in ("board-completion", "board-title"):
        seen += [table["owner"].to_pylist() for table in read_signal(files.taste_graph.path, signal, ["owner"])]
    return Check(name, len(theirs), len(set(theirs.to_pylist()) & set(chain(*seen))), "boards")


def _every_co_save(files: Files) -> Edges:
    """Those too that few people made and that the purpose of whoever asks does not show: a check tells numbers only."""
    about = files.taste_graph.manifest.metrics["relations"]["co_saved"]
    return Relation.open(files.taste_graph.path / CSR, CO_SAVED, about["time_first"], about["time_unit"]).edges()


def _relations(files: Files) -> list[str]:
    return [edge_type[1] for edge_type in files.taste_graph.edge_types]
