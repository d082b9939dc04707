"""The build at its edges: refused rows, the split of random owners against a plain oracle, pruning, larger options."""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from graph.commands import build_graph
from graph.csr import Flat, Prune, degree_limit, kept_edges, write_relation
from graph.grouped import Grouped
from graph.ingest import Ingest, Table
from graph.policy import DEFAULT
from graph.relation import CO_SAVED, FOLLOWS, HOLDS, SAVED, Edges, Relation
from graph.saves import Saves
from graph.store import TasteGraph
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import OPTIONAL, TABLES

FAST = {"walks": 0, "signals": False}


def catalog_of(folder: Path, n_items: int, **tables: list[dict] | pa.Table) -> Catalog:
    """A catalogue of items i0, i1, ... and the given tables, which may have further columns."""
    rows = {"items": [{"item_id": f"i{i}", "title": "", "text": ""} for i in range(n_items)], **tables}
    if "boards" not in rows and isinstance(rows.get("board_items"), list):
        names = dict.fromkeys(row["board_id"] for row in rows["board_items"])
        rows["boards"] = [{"board_id": name, "title": f"T {name}", "owner_id": ""} for name in names]
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in (TABLES | OPTIONAL).items():
            if name in OPTIONAL and name not in rows:
                continue
            given = rows.get(name, [])
            table = given if isinstance(given, pa.Table) else pa.Table.from_pylist(given, schema=schema)
            pq.write_table(table, work.path / f"{name}.parquet")
    return Catalog.open(folder)


def interactions(*rows: tuple, weighted: bool = False) -> pa.Table:
    names = ["user_id", "item_id", "action", "at", *(["weight"] if weighted else [])]
    return pa.table({name: pa.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def test_every_bad_row_is_refused_with_its_reason_and_nothing_is_lost(tmp_path: Path):
    future = int(time.time()) + 86_400
    rows = [
        ("u", "i0", "save", 10, 1.0), ("u", "i1", "save", 20, 2.0), ("u", "i1", "save", 15, 3.0),
        ("u", "nowhere", "save", 30, 1.0), ("u", "i2", "save", 40, -1.0), ("u", "i2", "save", 40, float("nan")),
        ("u", "i3", "save", future, 1.0), ("v", "i3", "save", -7, 1.0), ("v", "i3", "save", None, 1e9),
        (None, "i3", "save", 1, 1.0), ("v", "i4", "save", None, None),
    ]  # fmt: skip
    held = [{"board_id": "b", "item_id": "i0"}, {"board_id": "ghost", "item_id": "i0"}]
    boards = [{"board_id": "b", "title": "B", "owner_id": "o"}]
    table = interactions(*rows, weighted=True)
    catalog = catalog_of(tmp_path / "c", 5, boards=boards, board_items=held, interactions=table)
    done = build_graph(tmp_path / "c", tmp_path / "g", valid_fraction=0, **FAST)
    assert done["rows"]["holds"] == {"read": 2, "kept": 1, "rejected": {"unknown node": 1}}
    saved = done["rows"]["saved"]
    assert saved["read"] == len(rows) == saved["kept"] + sum(saved["rejected"].values())
    assert saved["rejected"] == {
        "unknown node": 2, "negative weight": 2, "weight above 65504": 1, "time in the future": 1,
        "time before 1970": 1, "duplicate": 1,
    }  # fmt: skip
    found = pq.read_table(tmp_path / "g" / "rejects.parquet").to_pylist()
    assert [(r["relation"], r["row"]) for r in found] == [
        ("holds", 1),
        *(("saved", n) for n in (1, 3, 4, 5, 6, 7, 8, 9)),
    ]
    assert found[2] == {"relation": "saved", "row": 3, "source": "u", "target": "nowhere", "reason": "unknown node"}
    taste_graph = TasteGraph.open(tmp_path / "g", catalog)
    u, v = (s for s in taste_graph.sequences if s.task == "next-item")
    assert (u.items, u.test, v.items) == ((0,), (1,), (4,))
    assert taste_graph.edges(SAVED).time.tolist() == [10, -1]


def test_a_catalogue_without_one_good_row_is_refused(tmp_path: Path):
    catalog_of(tmp_path / "c", 1, interactions=[{"user_id": "u", "item_id": "x", "action": "save"}] * 3)
    with pytest.raises(UserError, match=r"all 3 saves .* refused \(3 unknown node\)"):
        build_graph(tmp_path / "c", tmp_path / "g", **FAST)
    assert not (tmp_path / "g").exists()
    assert '"refused"' in (tmp_path / "g.audit.jsonl").read_text()


def oracle_rng(seed: int, owner: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}|{owner}".encode()).digest()[:8]))


def oracle_boards(saves: dict[str, list[int]], seed: int, fraction: float) -> dict[str, tuple]:
    """The split of boards as a plain loop."""
    seen, out = set(), {}
    for board in sorted(saves):
        items = tuple(sorted(set(saves[board])))
        if not items or items in seen:
            continue
        seen.add(items)
        train, valid, test = list(items), [], []
        if len(items) >= 4:
            chance = oracle_rng(seed, board)
            first, second = chance.permutation(len(items))[:2]
            test = [items[first]]
            if len(items) >= 6 and chance.random() < fraction:
                valid = [items[second]]
        out[board] = ([i for i in train if i not in valid + test], valid, test)
    return out


def oracle_users(
    saves: dict[str, list[tuple[int, int | None]]], seed: int, fraction: float, last: int
) -> dict[str, tuple]:
    """Leave-last-out as a plain loop; saves are (item, time) in the order of the rows."""
    out = {}
    for user, pairs in saves.items():
        if all(at is not None for _, at in pairs):
            pairs = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
        items = list(dict.fromkeys(item for item, _ in pairs))
        valid, test = [], []
        if len(items) >= last + 1:
            items, test = items[:-last], items[-last:]
            if len(items) >= last + 2 and oracle_rng(seed, user).random() < fraction:
                items, valid = items[:-last], items[-last:]
        out[user] = (items, valid, test)
    return out


@pytest.mark.parametrize("last", [1, 5])
def test_a_thousand_random_owners_are_split_as_the_plain_loop_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
):
    """Twins, repeats, missing and equal times; in blocks of few saves, so that blocks end everywhere."""
    rng = np.random.default_rng(3)
    boards: dict[str, list[int]] = {}
    users: dict[str, list[tuple[int, int | None]]] = {}
    for n in range(500):
        size = int(rng.integers(1, 30)) if n % 5 else int(rng.integers(1, 3))
        boards[f"b{rng.integers(10**6)}x{n}"] = rng.integers(0, 40 if n % 5 else 4, size).tolist()
        times = [None if n % 7 == 0 and rng.random() < 0.2 else int(t) for t in rng.integers(0, 20, size)]
        users[f"u{n}"] = list(zip(rng.integers(0, 40, size).tolist(), times, strict=True))
    names = list(boards)
    held = [{"board_id": b, "item_id": f"i{i}"} for b in boards for i in boards[b]]
    rows = [{"user_id": u, "item_id": f"i{i}", "action": "save", "at": t} for u in users for i, t in users[u]]
    order = rng.permutation(len(held))
    catalog = catalog_of(
        tmp_path / "c", 40, boards=[{"board_id": b, "title": "", "owner_id": ""} for b in names],
        board_items=[held[i] for i in order], interactions=rows,
    )  # fmt: skip
    blocks = Grouped.blocks
    monkeypatch.setattr(Grouped, "blocks", lambda self, size=50: blocks(self, size))
    build_graph(tmp_path / "c", tmp_path / "g", seed=5, valid_fraction=0.5, last=last, **FAST)
    found = TasteGraph.open(tmp_path / "g", catalog).sequences
    expected = oracle_boards(boards, 5, 0.5)
    assert [s.owner for s in found if s.task == "board-completion"] == [b for b in names if b in expected]
    assert [s.owner for s in found if s.task == "next-item"] == sorted(users)
    expected |= oracle_users(users, 5, 0.5, last)
    for s in found:
        assert (list(s.items), list(s.valid), list(s.test)) == expected[s.owner], s.owner
    assert 300 > len(boards) - sum(s.task == "board-completion" for s in found) > 20  # twins
    monkeypatch.undo()
    build_graph(tmp_path / "c", tmp_path / "whole", seed=5, valid_fraction=0.5, last=last, **FAST)
    for path in (tmp_path / "whole" / "csr").iterdir():
        assert path.read_bytes() == (tmp_path / "g" / "csr" / path.name).read_bytes(), path.name


def test_test_actions_are_the_test_saves(tmp_path: Path):
    rows = [("u", "i0", "train", 1), ("u", "i1", "train", 2), ("u", "i1", "test", 3), ("u", "i2", "test", 4)]
    rows += [("u", "i2", "test", 5), ("w", "i3", "test", 1), ("u", "i4", "seen", 2)]
    catalog = catalog_of(tmp_path / "c", 5, interactions=interactions(*rows))
    given = {"user_split": "given", "valid_fraction": 0, **FAST}
    done = build_graph(tmp_path / "c", tmp_path / "g", actions=["train"], test_actions=["test"], **given)
    u, w = TasteGraph.open(tmp_path / "g", catalog).sequences
    assert (u.items, u.test, w.items, w.test) == ((0, 1), (2,), (), (3,))
    assert done["test_saves_seen_in_training"] == 1 and done["interactions_of_other_actions"] == 1
    assert done["rows"]["saved_test"] == {"read": 4, "kept": 3, "rejected": {"duplicate": 1}}
    assert done["cold_user"] == 1 and done["cold_item"] == 3
    build_graph(tmp_path / "c", tmp_path / "all", test_actions=["test"], **given)
    assert TasteGraph.open(tmp_path / "all", catalog).sequences[0].items == (0, 1, 4)
    with pytest.raises(UserError, match="give --test_actions ACTION together"):
        build_graph(tmp_path / "c", tmp_path / "x", user_split="given")
    with pytest.raises(UserError, match="'test' is named twice"):
        build_graph(tmp_path / "c", tmp_path / "x", user_split="given", actions=["test"], test_actions=["test"])


def test_follows_and_co_saves_are_relations_of_their_own(tmp_path: Path):
    rows = [("u", f"i{i}", "save", 10 * i) for i in (0, 3, 1)] + [("v", "i1", "save", 5), ("v", "i3", "save", 7)]
    follows = pa.table({"user_id": ["u", "u", "x", "u"], "board_id": ["b", "b", "b", "none"], "at": [3, 2, None, 1]})
    catalog = catalog_of(
        tmp_path / "c", 5, interactions=interactions(*rows), board_items=[{"board_id": "b", "item_id": "i4"}],
        follows=follows,
    )  # fmt: skip
    build_graph(tmp_path / "c", tmp_path / "none", **FAST)
    with pytest.raises(UserError, match="no relation 'co_saved'; it has holds, saved, has, about, follows;"):
        TasteGraph.open(tmp_path / "none", catalog).relation("co_saved")
    done = build_graph(tmp_path / "c", tmp_path / "g", co_saves=2, valid_fraction=0, **FAST)
    taste_graph = TasteGraph.open(tmp_path / "g", catalog)
    assert done["rows"]["follows"] == {"read": 4, "kept": 2, "rejected": {"unknown node": 1, "duplicate": 1}}
    users, edges = taste_graph.node_ids("user"), taste_graph.edges(FOLLOWS)
    assert [(users[u], t) for u, t in zip(edges.src, edges.time, strict=True)] == [("u", 2), ("x", -1)]
    pairs = taste_graph.edges(CO_SAVED)  # of u are left 0, 1; of v is left 1
    assert list(zip(pairs.src, pairs.dst, pairs.weight, pairs.time, strict=True)) == [(0, 1, 1.0, 10)]


def test_a_co_save_leaves_when_enough_people_made_it(tmp_path: Path):
    """Of 0-1 five people, one of them on a board too; of 1-2 four people, which are five owners."""
    saves = [(f"u{u}", f"i{i}", "save", 10 * i) for u in range(4) for i in ((0, 1, 2) if u < 3 else (0, 1))]
    boards = {"a": ("u0", (0, 1, 2)), "b": ("x", (0, 1, 3)), "c": ("x", (1, 2)), "d": ("", (5, 6))}
    catalog = catalog_of(
        tmp_path / "d", 7, interactions=interactions(*saves, ("u9", "i6", "test", 5)),
        boards=[{"board_id": b, "title": "", "owner_id": owner} for b, (owner, _) in boards.items()],
        board_items=[{"board_id": b, "item_id": f"i{i}"} for b, (_, items) in boards.items() for i in items],
    )  # fmt: skip
    options = {**FAST, "user_split": "given", "test_actions": ["test"], "min_board": 9, "valid_fraction": 0}
    build_graph(tmp_path / "d", tmp_path / "g", co_saves=2, **options)

    def seen(purpose: str) -> dict[tuple[int, int], float]:
        pairs = TasteGraph.open(tmp_path / "g", catalog, purpose).edges(CO_SAVED)
        return {(int(a), int(b)): float(w) for a, b, w in zip(pairs.src, pairs.dst, pairs.weight, strict=True)}

    assert seen("train") == {(0, 1): 5, (0, 2): 3, (0, 3): 1, (1, 2): 4, (1, 3): 1, (5, 6): 1}
    assert seen("export") == {(0, 1): 5}


def test_an_edge_from_a_node_to_itself_is_refused_where_both_ends_are_of_one_type(tmp_path: Path):
    """No table of a catalogue has such a relation; what reads tables knows it all the same."""
    rows = {"source": ["i0", "i1", "i2"], "target": ["i1", "i1", "i0"], "at": [1, 2, 3]}
    pq.write_table(pa.table(rows), tmp_path / "it's.parquet")
    ingest = Ingest(tmp_path / "scratch")
    ingest.nodes("item", pa.array(["i0", "i1", "i2"]))
    found, rejected = ingest.edges(Table(CO_SAVED, tmp_path / "it's.parquet", "source", "target", "at"), 3)
    ingest.write_rejects(tmp_path / "rejects.parquet", [rejected])
    ingest.close()
    assert rejected.counts() == {"self-loop": 1} and found.target.tolist() == [1, 0]
    (row,) = pq.read_table(tmp_path / "rejects.parquet").to_pylist()
    assert (row["row"], row["source"], row["target"], row["reason"]) == (1, "i1", "i1", "self-loop")


def flat_of(n_source: int, target: list[list[int]], code: list[list[int]]) -> Flat:
    sizes = [len(row) for row in target]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    assert len(sizes) == n_source
    return Flat(indptr, np.concatenate(target).astype(np.int32), np.concatenate(code).astype(np.uint16), None)


def test_pruning_law_keeps_recent_edges_first():
    assert degree_limit(np.array([1, 10, 15, 100, 10**6])).tolist() == [10, 10, 10, 52, 10_000]
    degrees = [3, 10, 11, 100]
    sources = [[t for t, d in enumerate(degrees) if s < d] for s in range(100)]
    flat = flat_of(100, sources, [[s + 1] * len(row) for s, row in enumerate(sources)])
    prune = Prune(0, np.arange(100, dtype=np.uint64), np.arange(4, dtype=np.uint64))
    there = np.array(degrees)
    keep = kept_edges(flat, there, degree_limit(there), prune)
    kept = Counter(flat.target[keep].tolist())
    assert kept == {0: 3, 1: 10, 2: 10, 3: math.floor(100**0.86)}
    assert flat.code is not None and flat.code[keep & (flat.target == 3)].min() == 100 - kept[3] + 1
    unknown = Flat(flat.indptr, flat.target, None, None)
    by_hash = [
        kept_edges(unknown, there, degree_limit(there), Prune(s, prune.source_hash, prune.target_hash)) for s in (0, 1)
    ]
    assert by_hash[0].sum() == by_hash[1].sum() == keep.sum() and (by_hash[0] != by_hash[1]).any()


def test_streamed_csr_equals_the_one_made_in_memory(tmp_path: Path):
    rng = np.random.default_rng(1)
    pairs = np.array(sorted({(int(a), int(b)) for a, b in rng.integers(0, (50, 30), (400, 2))}))
    at = np.where(rng.random(len(pairs)) < 0.2, -1, rng.integers(10**9, 10**9 + 10**8, len(pairs)))
    weight = rng.integers(1, 4, len(pairs)).astype(np.float32)
    edges = Edges(pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), at, weight)

    def blocks() -> Iterator[Saves]:
        for low in range(0, 50, 7):
            rows = np.flatnonzero((edges.src >= low) & (edges.src < low + 7))
            rows = rows[rng.permutation(len(rows))]
            yield Saves([], edges.src[rows], edges.dst[rows], edges.time[rows], None, edges.weight[rows])

    sizes = {"user": 50, "item": 30}
    made = write_relation(tmp_path / "csr", SAVED, sizes, blocks, None, tmp_path / "scratch")
    expected = Relation.from_edges(SAVED, 50, 30, edges)
    for name in ("indptr", "indices", "time", "weight", "rev_indptr", "rev_indices"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name))
        assert getattr(made, name).dtype == getattr(expected, name).dtype
    assert (made.time_first, made.time_unit) == (expected.time_first, expected.time_unit)
    told = made.edges().time
    known = edges.time >= 0
    assert (told[~known] == -1).all() and (0 <= edges.time[known] - told[known]).all()
    assert (edges.time[known] - told[known]).max() < made.time_unit


def test_purposes_see_what_the_policy_lists_and_prune_can_be_left_out(tmp_path: Path):
    rows = [{"user_id": f"u{u}", "item_id": "i0", "action": "save", "at": u} for u in range(40)]
    held = [{"board_id": "b", "item_id": f"i{i}"} for i in range(3)]
    catalog = catalog_of(tmp_path / "c", 3, interactions=rows, board_items=held)
    done = build_graph(tmp_path / "c", tmp_path / "g", **FAST)
    assert done["edges_saved"] == 23 and done["edges_pruned"] == 17
    assert build_graph(tmp_path / "c", tmp_path / "whole", prune=False, **FAST)["edges_saved"] == 40
    export = TasteGraph.open(tmp_path / "g", catalog, "export")
    assert export.relation("saved").n_edges == 23 and export.sequences[0].title == ""
    with pytest.raises(UserError, match="may not read edge type 'about'"):
        export.relation("about")
    with pytest.raises(UserError, match="may not read edge type"):
        export.hetero()
    with pytest.raises(UserError, match="no purpose 'sell'"):
        TasteGraph.open(tmp_path / "g", catalog, "sell")
    assert TasteGraph.open(tmp_path / "g", catalog, "train").sequences[0].title == "T b"
    degree = pq.read_table(tmp_path / "g" / "nodes_item.parquet").to_pylist()
    assert [(row["degree"], row["cold"]) for row in degree] == [(41, False), (1, False), (1, False)]
    assert HOLDS in TasteGraph.open(tmp_path / "g", catalog).edge_types


def test_a_build_says_which_actions_it_took_for_saves(tmp_path: Path):
    rows = [("u", f"i{i}", action, i + 1) for i, action in enumerate(["save", "view", "view", None, "show"])]
    catalog_of(tmp_path / "c", 5, interactions=interactions(*rows))
    done = build_graph(tmp_path / "c", tmp_path / "g", impressions=["show"], **FAST)
    assert done["actions_counted"] == {"": 1, "save": 1, "view": 2}
    assert "actions_counted" not in build_graph(tmp_path / "c", tmp_path / "h", actions=["save"], **FAST)


def test_a_build_obeys_its_own_purpose(tmp_path: Path):
    """Follows are left out and counted; times, weights and titles that it may not read are refused in one line."""
    rules = yaml.safe_load(DEFAULT.read_text())
    build = rules["purposes"]["build"]
    tables = {
        "interactions": interactions(*(("u", f"i{i}", "save", i + 1, 2.0) for i in range(4)), weighted=True),
        "boards": [{"board_id": "b", "title": "B", "owner_id": "o"}],
        "follows": [{"user_id": "u", "board_id": "b", "at": 1}],
    }
    catalog = catalog_of(tmp_path / "c", 4, **tables)

    def built(**changes: list[str]) -> dict:
        (tmp_path / "p.yaml").write_text(
            yaml.safe_dump({"purposes": {**rules["purposes"], "build": {**build, **changes}}})
        )
        return build_graph(tmp_path / "c", tmp_path / "g", policy=tmp_path / "p.yaml", **FAST)

    for missing in ("time", "weight", "titles"):
        with pytest.raises(UserError, match=f"purpose 'build' .* may not read field '{missing}'"):
            built(fields=[name for name in build["fields"] if name != missing])
    assert built()["left_out_by_policy"] == {}
    done = built(edge_types=[name for name in build["edge_types"] if name != "follows"])
    assert done["left_out_by_policy"] == {"follows": 1} and "edges_follows" not in done
    assert "follows" not in [edge_type[1] for edge_type in TasteGraph.open(tmp_path / "g", catalog).edge_types]
