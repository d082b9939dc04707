"""The traffic: requests of a log, or of what a taste graph holds out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from bench.evaluate import choose_queries
from bench.shadow.log import LogRow, read_log
from bench.shadow.options import Options
from bench.taste.slices import FEW_OWNERS, board_owners, resampling_unit
from navigator.contracts import Catalog, UserError
from navigator.contracts.manifest import digest
from navigator.contracts.signals import Query, make_queries


@dataclass(frozen=True)
class Request:
    """What both sides are asked: a query (its title is the text; its targets stay with the bench) and how many answers."""

    query: Query
    k: int


@dataclass(frozen=True, eq=False)
class Traffic:
    """Requests and what must be said of them.

    Attributes:
        described: where they come from, in words.
        resampled: what intervals draw, in words; `clusters` (n,): what each request belongs to, None where it stands alone.
        saves: (n_items,) saves of each item, by boards and users, before the ones that are asked for; None without a graph.
        held_out_by: fingerprint of the graph whose held-out saves ask; whatever was made with another may know them.
        left_out: what was left out of requests, in words -> how many.
    """

    requests: list[Request]
    described: str
    resampled: str
    clusters: np.ndarray | None
    left_out: dict[str, int]
    saves: np.ndarray | None = None
    held_out_by: str | None = None

    @property
    def digest(self) -> str:
        """Of everything that was asked: two runs with equal digests asked the same."""
        asked = [(request.query, request.k) for request in self.requests]
        return digest([[q.query_id, q.history, q.targets, q.title, k] for q, k in asked])


def open_traffic(options: Options, catalog: Catalog) -> Traffic:
    """The requests of the log, or without one of the graph's held-out saves; at most `options.requests`, a seeded choice.

    Raises:
        UserError: neither log nor graph, a foreign graph, an empty or unreadable log.
    """
    if options.graph is None:
        if options.log is None:
            raise UserError(
                "no traffic: give --log FILE, a log of requests, or --graph FOLDER, whose held-out saves ask"
            )
        return _some(_from_log(read_log(options.log), options, catalog), options)
    from graph.store import TasteGraph

    taste_graph = TasteGraph.open(options.graph, catalog, purpose="bench")
    sequences = taste_graph.sequences
    asks_valid = options.log is None and options.part == "valid"
    saved = [item for s in sequences for item in (s.items if asks_valid else s.items + s.valid)]
    saves = np.bincount(np.array(saved, np.int64), minlength=len(catalog.item_ids))
    if options.log is not None:
        return replace(_some(_from_log(read_log(options.log), options, catalog), options), saves=saves)
    queries = make_queries(sequences, options.task, options.part)
    owners = board_owners(catalog, queries) if options.task == "board-completion" else None
    described = f"{options.part} saves of task {options.task}, held out by the graph"
    found = Traffic([Request(query, options.k) for query in queries], described, *resampling_unit(owners), {})
    return replace(_some(found, options), saves=saves, held_out_by=taste_graph.fingerprint)


def _some(traffic: Traffic, options: Options) -> Traffic:
    chosen = choose_queries(len(traffic.requests), options.requests or None, options.seed)
    clusters = None if traffic.clusters is None else traffic.clusters[chosen]
    return replace(traffic, requests=[traffic.requests[row] for row in chosen], clusters=clusters)


def _from_log(rows: list[LogRow], options: Options, catalog: Catalog) -> Traffic:
    left_out: Counter[str] = Counter()
    requests = [_request(row, place, options.k, catalog, left_out) for place, row in enumerate(rows)]
    users = [row.user for row in rows]
    grouped = len({user for user in users if user is not None}) >= FEW_OWNERS
    units = np.array([f"request {place}" if user is None else f"user {user}" for place, user in enumerate(users)])
    return Traffic(
        requests, f"log {options.log}", "users" if grouped else "requests", units if grouped else None,
        {what: count for what, count in left_out.items() if count},
    )  # fmt: skip


def _request(row: LogRow, place: int, k: int, catalog: Catalog, left_out: Counter[str]) -> Request:
    def known(ids: Iterable[str], what: str) -> list[int]:
        rows = [catalog.item_index.get(item, -1) for item in ids]
        left_out[f"{what} that the catalogue lacks"] += rows.count(-1)
        return [item for item in rows if item >= 0]

    history = known(row.history or [], "items of histories")
    wanted = known(dict.fromkeys(row.targets or []), "targets")
    targets = tuple(item for item in wanted if item not in history)
    left_out["targets that are in the history already"] += len(wanted) - len(targets)
    name = str(place) if row.request_id is None else row.request_id
    return Request(Query(name, tuple(history), targets, (row.text or "").strip()), row.k or k)
