"""`navigator-bench gold make`: draw the queries, pool the items, hand out what annotators need.

for-annotators/NAME.csv, NAME.html   one pair of files each; the only thing to give away
queries.parquet, pairs.parquet       what was drawn, with probabilities, and which system found what
things.parquet                       titles and small pictures of the items shown
task.json                            counts by stratum, systems, what could not be shown
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.gold.annotate import Shown, Things, shuffled, write_annotator
from bench.gold.options import MakeOptions
from bench.gold.pool import Pair, pair_name, pool, share_out, write_pairs, write_queries
from bench.gold.queries import Asking, candidates, draw
from bench.gold.scale import GRADES
from bench.gold.strata import bands
from bench.gold.systems import as_world, open_graph, rankings, sources
from bench.provenance import came_about
from bench.taste.slices import FEW_OWNERS
from navigator.contracts import Catalog, is_current, publish
from navigator.contracts.manifest import digest, file_digest, write_text
from navigator.importers.pictures import PictureError, shrink

KIND = "gold-task"
FOR_ANNOTATORS = "for-annotators"
_SIDE, _MAX_PIXELS = 200, 50_000_000


def make_task(options: MakeOptions) -> dict[str, Any]:
    """Write the task folder, or find it current.

    Raises:
        UserError: see bench.gold.command.
    """
    taste_graph = open_graph(options.catalog, options.graph)
    catalog, sequences = taste_graph.catalog, taste_graph.sequences
    owners = board_owners(catalog)
    every = candidates(sequences, owners, options.kinds, options.texts)
    asked = draw(every, options.queries, options.allocation, options.seed)
    world = as_world(taste_graph, options.ranked_by, [asking.query for asking in asked])
    inputs = sources(world) | ({"texts": file_digest(options.texts)[:16]} if options.texts else {})
    config = options.config()
    if is_current(options.out, KIND, config, inputs):
        return _answer(options, json.loads((options.out / "task.json").read_text()), True)
    ranked = rankings(world, options.depth)
    saves = np.bincount([i for s in sequences for i in s.items], minlength=len(catalog.item_ids))
    pairs = pool(asked, ranked, options.held_out, bands(saves), options.random, options.seed)
    whose = share_out(len(asked), options.annotators, options.overlap, options.seed)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        write_queries(work.path / "queries.parquet", asked, catalog.item_ids)
        write_pairs(work.path / "pairs.parquet", pairs, asked, catalog.item_ids, whose)
        shown = as_shown(asked, pairs, catalog.item_ids, options.show)
        things, broken = gather_things(catalog, shown)
        write_things(work.path / "things.parquet", things)
        for number, name in enumerate(options.annotators):
            own = [one for one, by in zip(shown, whose, strict=True) if name in by]
            key = digest([config, inputs])
            write_annotator(work.path / FOR_ANNOTATORS, name, key, shuffled(own, name, options.seed + number), things)
        scale = "".join(f"{grade.number}  {grade.name}: {grade.meaning}\n" for grade in GRADES)
        write_text(work.path / FOR_ANNOTATORS / "GRADES.txt", scale)
        task = _task(options, every, asked, pairs, whose, ranked, broken) | came_about(
            options.seed, options.command_line(), config, inputs, []
        )
        write_text(work.path / "task.json", json.dumps(task, indent=2, default=lambda model: model.model_dump()))
        work.metrics = task["counts"]
    return _answer(options, task, False)


def board_owners(catalog: Catalog) -> dict[str, str]:
    """Board -> owner; nothing where owners are too few to be what intervals draw."""
    table = catalog.table("boards", ["board_id", "owner_id"])
    rows = zip(table["board_id"].to_pylist(), table["owner_id"].to_pylist(), strict=True)
    owners = {board: owner for board, owner in rows if owner}
    return owners if len(set(owners.values())) >= FEW_OWNERS else {}


def as_shown(asked: Sequence[Asking], pairs: Sequence[Pair], item_ids: Sequence[str], show: int) -> list[Shown]:
    """The queries as annotators see them, the latest `show` items of a history among them."""
    found = [
        Shown(a.kind, a.query.title, [item_ids[i] for i in a.query.history[-show:]] if show else [], []) for a in asked
    ]
    for pair in pairs:
        item = item_ids[pair.item]
        found[pair.query].pairs.append((pair_name(asked[pair.query].query.query_id, item), item))
    return found


def gather_things(catalog: Catalog, shown: Sequence[Shown]) -> tuple[Things, int]:
    """Titles and small pictures of all items shown, and how many pictures could not be read."""
    wanted = {i for own in shown for i in [*own.history, *(item for _, item in own.pairs)]}
    table = catalog.table("items", ["item_id", "title"])
    rows = zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True)
    titles = {item: title or "" for item, title in rows if item in wanted}
    pictures, broken = {}, 0
    for item, data in catalog.images(sorted(wanted)).items():
        try:
            pictures[item] = shrink(data, _SIDE, _MAX_PIXELS)
        except PictureError:
            broken += 1
    return Things(titles, pictures), broken


def write_things(path: Path, things: Things) -> None:
    """things.parquet: item_id, title, picture."""
    ids = sorted(things.titles)
    columns = {
        "item_id": ids,
        "title": [things.titles[i] for i in ids],
        "picture": [things.pictures.get(i) for i in ids],
    }
    schema = pa.schema([("item_id", pa.string()), ("title", pa.string()), ("picture", pa.binary())])
    pq.write_table(pa.table(columns, schema=schema), path)


def read_things(path: Path) -> Things:
    """What `write_things` wrote."""
    rows = pq.read_table(path).to_pylist()
    pictures = {row["item_id"]: row["picture"] for row in rows if row["picture"]}
    return Things({row["item_id"]: row["title"] for row in rows}, pictures)


def _task(
    options: MakeOptions, every: Sequence[Asking], asked: Sequence[Asking], pairs: Sequence[Pair],
    whose: Sequence[Sequence[str]], ranked: dict[str, np.ndarray], broken: int,
) -> dict[str, Any]:  # fmt: skip
    """Everything that was counted."""
    graded = [name for pair in pairs for name in whose[pair.query]]
    sizes, drawn = Counter(a.stratum for a in every), Counter(a.stratum for a in asked)
    kinds = {kind: [n for n, a in enumerate(asked) if a.kind == kind] for kind in dict.fromkeys(a.kind for a in asked)}
    return {
        "counts": {
            "queries": len(asked), "pairs": len(pairs), "pooled": sum(bool(p.found_by) for p in pairs),
            "random": sum(not p.found_by for p in pairs), "shared_queries": sum(len(by) > 1 for by in whose),
            "by_annotator": {name: graded.count(name) for name in options.annotators}, "unreadable_pictures": broken,
        },
        "strata": {
            name: {"could_ask": size, "asked": drawn[name], "p_query": drawn[name] / size} for name, size in sizes.items()
        },
        "item_bands": {
            f"{band}, {'pool' if pooled else 'random'}": n
            for (band, pooled), n in sorted(Counter((p.band, bool(p.found_by)) for p in pairs).items())
        },
        "answered": {
            name: {kind: int((lists[rows] >= 0).any(axis=1).sum()) for kind, rows in kinds.items()}
            for name, lists in ranked.items()
        },
    }  # fmt: skip


def _answer(options: MakeOptions, task: dict[str, Any], unchanged: bool) -> dict[str, Any]:
    counts, folder = task["counts"], options.out / FOR_ANNOTATORS
    lines = [
        f"{counts['queries']:,} queries, {counts['pairs']:,} pairs to grade: {counts['pooled']:,} found by a system or held "
        f"out, {counts['random']:,} drawn at random; {counts['shared_queries']:,} queries go to every annotator.",
        "",
        f"{'stratum':16} could ask  asked  probability",
    ]
    lines += [
        f"{name:16} {row['could_ask']:>9,}  {row['asked']:>5,}  {row['p_query']:.4f}"
        for name, row in task["strata"].items()
    ]
    lines += ["", "pool: queries that got an answer, by system"]
    lines += [
        f"{name:16} {', '.join(f'{kind} {n:,}' for kind, n in row.items())}" for name, row in task["answered"].items()
    ]
    lines += [
        f"kind {kind}: only popularity has an answer; with --encoder, stores and models answer titles and texts"
        for kind in next(iter(task["answered"].values()), {})
        if not any(row[kind] for name, row in task["answered"].items() if name != "popularity")
    ]
    lines += ["", *(f"{name}: {folder / name}.html or .csv, {n:,} pairs" for name, n in counts["by_annotator"].items())]
    if counts["unreadable_pictures"]:
        lines.append(f"{counts['unreadable_pictures']:,} pictures could not be read and are shown as none")
    lines.append(f"give away only {folder}{' (unchanged)' if unchanged else ''}")
    shown = {name: task[name] for name in ("counts", "strata", "item_bands", "answered")}
    return {"out": str(options.out), "unchanged": unchanged, **shown, "text": "\n".join(lines)}
