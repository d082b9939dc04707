"""What the systems answer to a gold set: ranked item ids, query by query, from stores, models and run files."""

from pathlib import Path

from bench.gold.figures import RankedBy
from bench.gold.frozen import Gold
from bench.gold.metrics import DEPTH
from bench.gold.options import RunOptions
from bench.gold.run_file import read_run
from bench.gold.systems import as_world, open_graph, rankings, sources
from navigator.contracts import Catalog, UserError
from navigator.contracts.manifest import file_digest
from navigator.contracts.signals import Query

Ranked = dict[str, list[list[str]]]  # system -> query by query, item ids


def rank_all(gold: Gold, options: RunOptions) -> tuple[Ranked, dict[str, RankedBy], dict[str, str]]:
    """Ranked lists of every system, what is said of each, and fingerprints of all that was read."""
    inputs = {"gold": gold.manifest.fingerprint}
    ranked: Ranked = {}
    what: dict[str, str] = {name: "training saves" for name in options.ranked_by.systems}
    what |= {name: str(f) for name, f in (options.ranked_by.vectors | options.ranked_by.models).items()}
    if what:
        found, read = _rank_here(gold, options)
        ranked, inputs = ranked | found, inputs | read
    foreign = {}
    for name, file in options.runs.items():
        own = read_run(name, Path(file), {row["query_id"] for row in gold.queries})
        ranked[name] = [own.ranked.get(row["query_id"], []) for row in gold.queries]
        foreign[name], what[name] = own.foreign, file
        inputs[f"run {name}"] = file_digest(Path(file))[:16]
    systems = {}
    for name, lists in ranked.items():
        kept = [[i for i in own if i not in row["history"]] for own, row in zip(lists, gold.queries, strict=True)]
        answered = [row["kind"] for row, own in zip(gold.queries, kept, strict=True) if own]
        systems[name] = RankedBy(
            source=what[name], answered={kind: answered.count(kind) for kind in kinds(gold)},
            left_out=sum(map(len, lists)) - sum(map(len, kept)), foreign_queries=foreign.get(name, 0),
        )  # fmt: skip
        ranked[name] = kept
    return ranked, systems, inputs


def _rank_here(gold: Gold, options: RunOptions) -> tuple[Ranked, dict[str, str]]:
    assert options.catalog is not None and options.graph is not None
    taste_graph = open_graph(options.catalog, options.graph)
    queries = as_queries(gold, taste_graph.catalog)
    world = as_world(taste_graph, options.ranked_by, queries)
    ids = taste_graph.catalog.item_ids
    found = rankings(world, DEPTH)
    lists = {name: [[ids[i] for i in own if i >= 0] for own in rows.tolist()] for name, rows in found.items()}
    return lists, sources(world)


def as_queries(gold: Gold, catalog: Catalog) -> list[Query]:
    """The set's queries by catalogue row.

    Raises:
        UserError: the catalogue lacks items of the set.
    """
    named = {item for row in gold.queries for item in row["history"]} | {i for own in gold.judged.values() for i in own}
    lacking = sorted(named - catalog.item_index.keys())
    if lacking:
        raise UserError(
            f"catalogue {catalog.path} lacks {len(lacking):,} of {len(named):,} items of the gold set (first: {lacking[0]!r}); "
            "give the catalogue that it was made from, or a later one that still has them"
        )
    return [
        Query(row["query_id"], tuple(catalog.item_index[i] for i in row["history"]), (), row["title"])
        for row in gold.queries
    ]


def kinds(gold: Gold) -> list[str]:
    """Kinds of the set's queries."""
    return list(dict.fromkeys(row["kind"] for row in gold.queries))
