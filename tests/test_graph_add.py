"""Edges added to a graph: equal to a build from everything, refused where they would spoil what was held out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph.commands import add_edges, build_graph
from graph.store import TasteGraph
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import OPTIONAL, TABLES

FAST = {"walks": 0, "signals": False, "valid_fraction": 0}
OPEN = {**FAST, "user_split": "given", "test_actions": ["test"], "min_board": 1000}  # holds out what `test` says only
LAST = {**FAST, "actions": ["save"], "last": 5, "valid_fraction": 0.5, "min_board": 1000}


def write_catalog(
    folder: Path, saves: list[tuple], held: list[tuple], follows: Sequence[tuple] = (), n_items: int = 60
) -> Catalog:
    """saves (user, item, time, action), held (board, item, time), follows (user, board, time); 40 titled boards."""
    tables = {
        "items": [{"item_id": f"i{i}", "title": "", "text": ""} for i in range(n_items)],
        "boards": [{"board_id": f"b{b}", "title": f"Title {b % 7}", "owner_id": ""} for b in range(40)],
        "board_items": [{"board_id": b, "item_id": i, "saved_at": at} for b, i, at in held],
        "interactions": [{"user_id": u, "item_id": i, "at": at, "action": action} for u, i, at, action in saves],
        "follows": [{"user_id": u, "board_id": b, "at": at} for u, b, at in follows],
        "rejects": [],
    }
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in (TABLES | OPTIONAL).items():
            pq.write_table(pa.Table.from_pylist(tables[name], schema=schema), work.path / f"{name}.parquet")
    return Catalog.open(folder)


def edge_file(path: Path, edges: list[tuple]) -> Path:
    names = ("source", "target", "at", "weight")
    pq.write_table(pa.table({n: list(c) for n, c in zip(names, zip(*edges, strict=True), strict=False)}), path)
    return path


def named_edges(taste_graph: TasteGraph, name: str) -> set[tuple]:
    relation = taste_graph.relation(name)
    source, target = (np.array(taste_graph.node_ids(relation.edge_type[end])) for end in (0, 2))
    edges = relation.edges()
    reverse = {
        (int(s), t)
        for t in range(len(relation.rev_indptr) - 1)
        for s in relation.rev_indices[relation.rev_indptr[t] : relation.rev_indptr[t + 1]]
    }
    assert reverse == set(zip(edges.src.tolist(), edges.dst.tolist(), strict=True))
    found = list(zip(source[edges.src].tolist(), target[edges.dst].tolist(), edges.time.tolist(), strict=True))
    assert len(set(found)) == len(found)
    return set(found)


def random_edges(rng: np.random.Generator, owner: str, low: int, n: int) -> list[tuple[str, str, int]]:
    """Distinct pairs; few items, so that most of them are pruned; new owners come with larger `low`."""
    owners = rng.integers(0, 40 if owner == "b" else 150 + low // 50, n)
    items = (60 * rng.random(n) ** 3).astype(int)
    pairs = {(f"{owner}{o}", f"i{i}"): 10**9 + low + k for k, (o, i) in enumerate(zip(owners, items, strict=True))}
    return [(*pair, at) for pair, at in pairs.items()]


@pytest.mark.parametrize("relation", ["saved", "holds", "follows"])
@pytest.mark.parametrize("seed", [0, 1])
def test_later_edges_added_equal_a_build_from_everything(tmp_path: Path, relation: str, seed: int):
    rng = np.random.default_rng(seed)
    owner = {"saved": "u", "holds": "b", "follows": "u"}[relation]
    first, then = random_edges(rng, owner, 0, 2_000), random_edges(rng, owner, 5_000, 600)
    if relation == "follows":
        first, then = ([(u, f"b{int(i[1:]) % 40}", at) for u, i, at in part] for part in (first, then))
        first, then = (list({e[:2]: e for e in part}.values()) for part in (first, then))
    known = {edge[:2] for edge in first} | {("b0", "i57")}  # see tables
    later = [edge for edge in then if edge[:2] not in known]
    assert later and len(later) < len(then)

    def tables(edges: list[tuple]) -> tuple[list[tuple], list[tuple], list[tuple]]:
        saves = [("u1", "i59", 10**9, "test"), ("u2", "i58", 10**9, "save")]
        saves += [(*edge, "save") for edge in edges] if relation == "saved" else []
        held = [("b0", "i57", 10**9), *(edges if relation == "holds" else [])]
        return saves, held, edges if relation == "follows" else [("u1", "b0", 10**9)]

    small = write_catalog(tmp_path / "small", *tables(first))
    large = write_catalog(tmp_path / "large", *tables(first + later))
    build_graph(tmp_path / "small", tmp_path / "g", **OPEN)
    build_graph(tmp_path / "large", tmp_path / "all", **OPEN)
    file = edge_file(tmp_path / "e.parquet", then)
    done = add_edges(tmp_path / "g", file, tmp_path / "small", tmp_path / "g2", relation)
    added = done["added"]
    assert added["read"] == len(then) == added["kept"] + sum(added["rejected"].values())
    assert added["rejected"] == {"duplicate": len(then) - len(later)}
    grown, whole = TasteGraph.open(tmp_path / "g2", small), TasteGraph.open(tmp_path / "all", large)
    assert grown.relation(relation).time_unit == whole.relation(relation).time_unit
    for name in ("holds", "saved", "has", "about", "follows"):
        assert named_edges(grown, name) == named_edges(whole, name), name
        assert done[f"edges_{name}"] == len(named_edges(whole, name))
    for kind in ("item", "board", "user", "interest"):
        degrees = [dict(zip(g.node_ids(kind), g.degrees(kind).tolist(), strict=True)) for g in (grown, whole)]
        assert degrees[0] == degrees[1], kind
        assert grown.node_ids(kind)[: len(old := TasteGraph.open(tmp_path / "g", small).node_ids(kind))] == old
    sequences = [{s.owner: (s.task, s.title, s.items, s.valid, s.test) for s in g.sequences} for g in (grown, whole)]
    assert sequences[0] == sequences[1]
    if relation != "follows":
        assert done["edges_pruned"] == whole.manifest.metrics["edges_pruned"] > 0
    assert add_edges(tmp_path / "g", file, tmp_path / "small", tmp_path / "g2", relation)["unchanged"]


@pytest.mark.parametrize("relation", ["saved", "holds"])
def test_with_the_last_five_held_out_later_edges_added_equal_a_build_from_everything(tmp_path: Path, relation: str):
    """Of users only such are added to as hold out nothing afterwards either: the split of a build is the only one."""
    rng = np.random.default_rng(7)
    first = [e for e in random_edges(rng, "u", 0, 2_000) if int(e[0][1:]) < 100]
    few = [(f"u{100 + n}", f"i{n}", 10**9 + n) for n in range(40)]
    then = [(f"u{100 + n}", f"i{n + 1 + k}", 10**9 + 5_000 + n) for n in range(50) for k in range(4)]
    boards, more = random_edges(rng, "b", 0, 400), random_edges(rng, "b", 5_000, 200)
    known = {edge[:2] for edge in boards}
    more = [edge for edge in more if edge[:2] not in known]

    def saves(edges: list[tuple]) -> list[tuple]:
        return [(*edge, "save") for edge in edges]

    small = write_catalog(tmp_path / "small", saves(first + few), boards)
    rest = (first + few + then, boards) if relation == "saved" else (first + few, boards + more)
    large = write_catalog(tmp_path / "large", saves(rest[0]), rest[1])
    built = build_graph(tmp_path / "small", tmp_path / "g", **LAST)
    build_graph(tmp_path / "large", tmp_path / "all", **LAST)
    assert built["users_test_saves"] > 200 and built["users_valid_saves"] > 30
    file = edge_file(tmp_path / "e.parquet", then if relation == "saved" else more)
    done = add_edges(tmp_path / "g", file, tmp_path / "small", tmp_path / "g2", relation)
    assert done["added"]["kept"] == done["added"]["read"]
    grown, whole = TasteGraph.open(tmp_path / "g2", small), TasteGraph.open(tmp_path / "all", large)
    for name in ("holds", "saved", "has", "about"):
        assert named_edges(grown, name) == named_edges(whole, name), name
    sequences = [{s.owner: (s.items, s.valid, s.test) for s in g.sequences} for g in (grown, whole)]
    assert sequences[0] == sequences[1]
    for name in ("users", "users_train_saves", "users_valid_saves", "users_test_saves", "edges_pruned"):
        assert done[name] == whole.manifest.metrics[name], name
    held = [(s.owner, f"i{i}", 10**9 + 9_000) for s in grown.sequences for i in s.valid + s.test]
    file = edge_file(tmp_path / "h.parquet", [*held[:40], ("u0", "none", 1), ("fresh", "i1", 10**9)])
    refused = add_edges(tmp_path / "g2", file, tmp_path / "small", tmp_path / "g3")["added"]["rejected"]
    assert refused == {"held out": 40, "unknown node": 1}


def test_what_is_held_out_stays_out_and_what_is_unknown_is_named(tmp_path: Path):
    held = [("b0", f"i{i}", None) for i in range(8)]
    saves = [("u", f"i{i}", 10**9 + i, "save") for i in range(5)]
    catalog = write_catalog(tmp_path / "c", saves, held)
    build_graph(tmp_path / "c", tmp_path / "g", seed=1, valid_fraction=1.0, walks=20)
    before = {s.owner: s for s in TasteGraph.open(tmp_path / "g", catalog).sequences}
    u = before["u"]
    asked = [
        ("u", f"i{u.test[0]}"),
        ("u", f"i{u.valid[0]}"),
        ("u", "i0"),
        ("u", "i40"),
        ("u", "nothing"),
        ("new", "i1"),
    ]
    edges = edge_file(tmp_path / "e.parquet", [(*pair, 10**9 + 9) for pair in asked])
    done = add_edges(tmp_path / "g", edges, tmp_path / "c", tmp_path / "g2")
    assert (
        done["added"]["rejected"] == {"unknown node": 1, "duplicate": 1, "held out": 2} and done["added"]["kept"] == 2
    )
    rejects = pq.read_table(tmp_path / "g2" / "rejects.parquet").to_pylist()
    assert [(r["row"], r["reason"]) for r in rejects] == [
        (0, "held out"), (1, "held out"), (2, "duplicate"), (4, "unknown node"),
    ]  # fmt: skip
    grown = TasteGraph.open(tmp_path / "g2", catalog)
    after = {s.owner: s for s in grown.sequences}
    assert (after["u"].items, after["u"].valid, after["u"].test) == ((*u.items, 40), u.valid, u.test)
    assert after["new"].items == (1,) and after["b0"] == before["b0"] and done["nodes_user"] == 2
    assert grown.pairs.size and '"graph add"' in (tmp_path / "g2.audit.jsonl").read_text()


def test_cuts_and_unseen_boards_hold(tmp_path: Path):
    saves = [("u", f"i{i}", 10**9 + i, "save") for i in range(10)]
    write_catalog(tmp_path / "c", saves, [(f"b{b}", f"i{b}", 5) for b in range(12)])
    done = build_graph(tmp_path / "c", tmp_path / "g", user_split="global-time", global_quantile=0.5, **FAST)
    edges = edge_file(tmp_path / "e.parquet", [("u", "i20", done["time_cut"]), ("u", "i21", done["time_cut"] + 1)])
    grown = add_edges(tmp_path / "g", edges, tmp_path / "c", tmp_path / "g2")
    assert grown["added"]["rejected"] == {"after the time cut": 1} and grown["added"]["kept"] == 1
    build_graph(tmp_path / "c", tmp_path / "h", unseen_owners=0.5, **FAST)
    seen = set(pq.read_table(tmp_path / "h" / "nodes_board.parquet")["id"].to_pylist())
    hidden = next(f"b{b}" for b in range(12) if f"b{b}" not in seen)
    edges = edge_file(tmp_path / "h.parquet", [(hidden, "i30", 6), (next(iter(seen)), "i30", 6), ("fresh", "i30", 6)])
    grown = add_edges(tmp_path / "h", edges, tmp_path / "c", tmp_path / "h2", "holds")
    assert grown["added"]["rejected"] == {"held out": 1} and grown["added"]["kept"] == 2
    ids = set(pq.read_table(tmp_path / "h2" / "nodes_board.parquet")["id"].to_pylist())
    assert ids == seen | {"fresh"} and (tmp_path / "h2" / "unseen.parquet").is_file()


def test_requests_that_make_no_sense_are_refused(tmp_path: Path):
    write_catalog(tmp_path / "c", [("u", f"i{i}", 10**9 + i, "save") for i in range(5)], [])
    build_graph(tmp_path / "c", tmp_path / "g", **FAST)
    build_graph(tmp_path / "c", tmp_path / "pairs", co_saves=1, **FAST)
    good = edge_file(tmp_path / "good.parquet", [("u", "i9", 10**9)])

    def refused(edges: Path = good, graph: str = "g", relation: str = "saved", match: str = "") -> None:
        with pytest.raises(UserError, match=match):
            add_edges(tmp_path / graph, edges, tmp_path / "c", tmp_path / "out", relation)
        assert not (tmp_path / "out").exists()

    refused(relation="about", match="cannot be added to; allowed are holds, saved, follows")
    refused(graph="pairs", match="has co-saves")
    refused(tmp_path / "absent.parquet", match="does not exist")
    pq.write_table(pa.table({"source": ["u"], "to": ["i1"]}), tmp_path / "odd.parquet")
    refused(tmp_path / "odd.parquet", match="lack the column target; they have source, to")
    (tmp_path / "text.parquet").write_text("source,target\nu,i9\n")
    refused(tmp_path / "text.parquet", match="not a readable Parquet file")
    (tmp_path / "empty.parquet").write_text("")
    refused(tmp_path / "empty.parquet", match="not a readable Parquet file")
    for name, values, match in (
        ("source", [7], "source .* of type int64; it has to be text"),
        ("at", ["1970-01-01"], "at .* of type string; it has to be whole seconds"),
        ("at", [1.5], "at .* of type double"),
        ("weight", ["1"], "weight .* has to be a number"),
    ):
        pq.write_table(pa.table({"source": ["u"], "target": ["i9"], name: values}), tmp_path / "type.parquet")
        refused(tmp_path / "type.parquet", match=match)
    with pytest.raises(UserError, match="is the graph that edges are added to"):
        add_edges(tmp_path / "g", good, tmp_path / "c", tmp_path / "c" / ".." / "g")
    refused(edge_file(tmp_path / "dup.parquet", [("u", "i0", 1)]), match=r"none of the 1 edges .* \(1 duplicate\)")
    refused(
        edge_file(tmp_path / "old.parquet", [("u", "i9", 5)]), match="build the graph again from a catalogue with these"
    )


def test_weights_that_are_no_number_are_refused_and_unknown_times_are_taken(tmp_path: Path):
    catalog = write_catalog(tmp_path / "c", [("u", f"i{i}", 10**9 + i, "save") for i in range(5)], [])
    build_graph(tmp_path / "c", tmp_path / "g", **FAST)
    rows = [("u", "i8", -1, 1.0), ("u", "i9", None, 1.0), ("u", "i10", 10**9, float("nan")), ("u", "i11", 10**9, -1.0)]
    added = add_edges(tmp_path / "g", edge_file(tmp_path / "e.parquet", rows), tmp_path / "c", tmp_path / "g2")["added"]
    assert (added["kept"], added["rejected"]) == (2, {"negative weight": 2})
    found = {
        edge for edge in named_edges(TasteGraph.open(tmp_path / "g2", catalog), "saved") if edge[1] in ("i8", "i9")
    }
    assert found == {("u", "i8", -1), ("u", "i9", -1)}
