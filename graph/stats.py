"""Command `navigator graph stats`: what is in a taste graph, and whether anything held out got in.

People read this, so it goes by the policy's purpose "stats": a figure or an example behind which fewer people stand than
its minimum_group_size is left out and counted. A board stands for its owner. The checks tell numbers only and are
always told.
"""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from navigator.contracts import Catalog, UserError
from navigator.contracts.manifest import write_text

PURPOSE = "stats"
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def stats(graph: Path, catalog: Path, out: Path | None = None, item: str = "") -> dict[str, Any]:
    """Nodes, edges and signals of a taste graph, checks that nothing held out is in them, and a picture.

    Args:
        graph: taste graph folder.
        catalog: catalogue folder it was built from.
        out: folder for stats.json and neighbourhood.png; without it nothing is written.
        item: id of the item in the middle of the picture; by default the one with most training saves.

    Returns:
        Counts, examples, checks and the names of failed checks; exit_code is 1 when a check failed.

    Raises:
        UserError: a graph of another catalogue or layout, an unknown item, a policy that forbids what is read.
    """
    from graph.audit import audited
    from graph.examples import examples_of
    from graph.leaks import check_all
    from graph.neighbourhood import draw_neighbourhood
    from graph.relation import NODE_TYPES
    from graph.saved_files import open_files
    from graph.signal_table import signal_rows
    from graph.store import TasteGraph

    opened = Catalog.open(catalog)
    if item and item not in opened.item_index:
        raise UserError(f"item {item!r} is not in catalog {catalog}; `navigator show {catalog}` lists some")
    if out is not None and Path(out).is_file():
        raise UserError(f"{out} is a file; --out is the folder for stats.json and neighbourhood.png")
    with audited(graph, "graph stats", PURPOSE, {"picture": out is not None}, made=False) as entry:
        taste_graph = TasteGraph.open(graph, opened, purpose=PURPOSE)
        purpose = taste_graph.purpose
        entry.policy = purpose.policy
        entry.artefacts = {"graph": taste_graph.fingerprint, "catalog": opened.fingerprint}
        purpose.check_types(edge_type[1] for edge_type in taste_graph.edge_types)
        for name in ("time", "weight", "titles"):
            purpose.check_field(name)
        least = purpose.minimum_group_size
        files = open_files(taste_graph, opened)
        checks = [{"check": c.name, "verdict": c.verdict, "checked": c.checked, "found": c.found, "note": c.note}
                  for c in check_all(files)]  # fmt: skip
        answer: dict[str, Any] = {
            "graph": str(graph), "fingerprint": taste_graph.fingerprint, "minimum_group_size": least,
            "nodes": {name: node_figures(files, name, least) for name in NODE_TYPES},
            "edges": {kind[1]: edge_figures(files, kind[1], least) for kind in taste_graph.edge_types},
            "signals": examples_of(files, signal_rows(taste_graph.path)["rows"], least),
            "checks": checks, "failed": [check["check"] for check in checks if check["verdict"] == "fail"],
        }  # fmt: skip
        answer["exit_code"] = 1 if answer["failed"] else 0
        if out is not None:
            picture = draw_neighbourhood(files, item, Path(out) / "neighbourhood.png", least)
            answer |= {"picture": str(picture), "out": str(out)}
            write_text(Path(out) / "stats.json", json.dumps(answer, indent=2, default=str))
    return answer | {"text": as_text(answer)}


def node_figures(files: Any, name: str, least: int) -> dict[str, Any]:
    """Counts of one node type and percentiles of its degrees (training saves), cold nodes left out of those."""
    degree, owner = files.taste_graph.degrees(name), files.people.get(name)
    figures = {"nodes": len(degree), "cold": int((degree == 0).sum())}
    if owner is not None and 0 < len(np.unique(owner)) < least:
        figures = dict.fromkeys(figures)
    return {**figures, "degree": percentiles(degree, owner, least)}


def edge_figures(files: Any, name: str, least: int) -> dict[str, Any]:
    """Counts of one relation, the time span between the first and the last people's saves, and edges a node."""
    relation = files.taste_graph.relation(name)
    source, _, target = relation.edge_type
    edges, owner = relation.edges(), files.people.get(source)
    known = edges.time >= 0
    behind = edges.src if owner is None else owner[edges.src]
    first, last = (moment(sign * edges.time[known], behind[known], least) for sign in (1, -1))
    figures = {
        "edges": relation.n_edges, "without_time": int((~known).sum()), "first": day(first),
        "last": day(None if last is None else -last),
        "suppressed": files.taste_graph.manifest.metrics["relations"][name]["edges"] - relation.n_edges,
    }  # fmt: skip
    if owner is not None and 0 < len(np.unique(behind)) < least:
        figures = dict.fromkeys(figures)
    return {
        "source": source, "target": target, **figures, "time_unit_s": relation.time_unit,
        "weighted": relation.weight is not None,
        "a_source": percentiles(np.diff(relation.indptr), owner, least),
        "a_target": percentiles(np.diff(relation.rev_indptr), files.people.get(target), least),
    }  # fmt: skip


def percentiles(degree: np.ndarray, owner: np.ndarray | None, least: int) -> dict[str, int | None]:
    """Percentiles of the degrees above 0; None where fewer than `least` people stand at or above it.

    Args:
        degree: (n,) edges of each node.
        owner: (n,) whose each node is; None for items and interests, of which a degree tells nothing about anybody.
        least: see graph.policy.
    """
    found: dict[str, int | None] = dict.fromkeys(SHARES)
    alive = degree[degree > 0]
    for name, share in SHARES.items() if len(alive) else ():
        value = int(np.quantile(alive, share, method="lower"))
        if owner is None or len(np.unique(owner[degree >= value])) >= least:
            found[name] = value
    return found


def moment(time: np.ndarray, owner: np.ndarray, least: int) -> int | None:
    """The earliest time up to which `least` people have an edge; None where fewer have any."""
    order = np.argsort(time, kind="stable")
    _, first = np.unique(owner[order], return_index=True)
    return int(time[order][np.sort(first)[least - 1]]) if len(first) >= least else None


def day(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()


def as_text(answer: dict[str, Any]) -> str:
    """The answer for people: a line a node type, a relation, a signal and a check."""
    lines = [f"taste graph {answer['graph']} ({answer['fingerprint']})", ""]
    for name, about in answer["nodes"].items():
        lines.append(
            f"{name:18} {_number(about['nodes']):>12}  {_cold(about['cold'])}  saves {_shown(about['degree'])}"
        )
    for name, about in answer["edges"].items():
        lines.append(f"{name:18} {_number(about['edges']):>12}  {about['source']} to {about['target']}, {_span(about)}")
    for name, about in answer["signals"].items():
        lines.append(f"{name:18} {about['rows']:>12,}")
        lines += [f"    {example}" for example in about["examples"]]
        if about["suppressed"]:
            lines.append(f"    {about['suppressed']:,} of the rows looked at have fewer than {answer['minimum_group_size']} "
                         "people behind them")  # fmt: skip
    width = max(len(check["check"]) for check in answer["checks"])
    lines += ["", *(
        f"{check['verdict']:16} {check['check']:{width}}  {check['found']:,} of {check['checked']:,} {check['note']}"
        for check in answer["checks"]
    )]  # fmt: skip
    if "picture" in answer:
        lines += ["", f"picture: {answer['picture']}"]
    return "\n".join(lines)


def _shown(figures: dict[str, int | None]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in figures.items())


def _span(about: dict[str, Any]) -> str:
    """The days of a relation's edges, "no times" where none has one, and said where the purpose hides them."""
    if about["edges"] is not None and about["edges"] == about["without_time"]:
        return "no times"
    if about["first"] is None and about["last"] is None:
        return "times hidden by purpose"
    return f"{about['first'] or '-'} to {about['last'] or '-'}"


def _cold(count: int | None) -> str:
    return "cold hidden by purpose" if count is None else f"{count:,} cold"


def _number(value: int | None) -> str:
    """A figure that too few people stand behind is a dash."""
    return "-" if value is None else f"{value:,}"
