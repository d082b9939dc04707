"""The signals: one table that tells all, read back as it was written; impressions without any of the user's saves."""

from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph.impressions import impressions_of
from graph.saves import Saves
from graph.signal_table import (
    SIGNALS,
    read_hard_negatives,
    read_impressions,
    read_pairs,
    read_signal,
    signal_rows,
    write_signal_table,
)
from graph.signals import Walked, co_save_pairs, hard_negatives, walked_signals
from graph.walk import TopVisits
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES
from navigator.contracts.signals import Histories, TasteSequence, make_queries, unseen_queries, write_sequences
from train.tasks import Shape, draw
from train.world import World

IDS = [f"i{n}" for n in range(40)]
BOARDS = [
    TasteSequence("board-completion", "b0", "Cats", (0, 1, 2), (), (3,)),
    TasteSequence("board-completion", "b1", "  ", (4, 5)),
    TasteSequence("board-completion", "b2", "Dogs", (6,)),
]
USERS = [TasteSequence("next-item", "u0", "", (7, 8, 9), (10,), (11,)), TasteSequence("next-item", "u1", "", (12,))]
NONE = np.empty((0, 0), np.int32)


def visits_of(rows: list[list[int]]) -> TopVisits:
    """Walk results as written down: most visits first, every rank one visit less."""
    width = max(map(len, rows))
    nodes = np.array([row + [-1] * (width - len(row)) for row in rows])
    return TopVisits(nodes, np.where(nodes >= 0, 1_000 - np.arange(width), 0))


def pairs(rows: list[tuple[int, int, int]]) -> pa.Table:
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return pa.table(dict(zip(("item_a", "item_b", "visits"), columns, strict=True)))


def blocks() -> list[Walked]:
    late = np.array([[5, 6, -1], [-1, -1, -1], [7, -1, -1]], np.int32)
    return [
        Walked(0, pairs([(0, 1, 900), (0, 2, 20_000)]), late, np.where(late >= 0, late + 50, -1)),
        Walked(3, pairs([(4, 3, 7)]), np.array([[-1, -1, -1], [39, 38, 37]], np.int32), np.full((2, 3), 60, np.int32)),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sequences(tmp_path / "sequences.parquet", [*BOARDS, *USERS], IDS)
    return tmp_path


def shown(lists: dict[str, list[str]]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"owner": list(lists), "negatives": list(lists.values())})]


def test_the_table_tells_all_and_reads_back_as_arrays(folder: Path):
    counts = write_signal_table(folder, IDS, blocks(), shown({"u0": ["i30", "i31"], "u1": ["i32"]}))
    assert counts == dict(zip(SIGNALS, (1, 2, 2, 3, 3, 2), strict=True)) == signal_rows(folder)["rows"]
    np.testing.assert_array_equal(read_pairs(folder, IDS), [[0, 1, 900], [0, 2, 20_000], [4, 3, 7]])
    negatives = read_hard_negatives(folder, IDS)
    assert negatives.shape == (40, 3) and negatives.dtype == np.int32
    assert negatives[[0, 2, 4]].tolist() == [[5, 6, -1], [7, -1, -1], [39, 38, 37]] and (negatives >= 0).sum() == 6
    found = read_impressions(folder, IDS)
    assert (found.owner_ids, found.indptr.tolist(), found.items.tolist()) == (["u0", "u1"], [0, 2, 3], [30, 31, 32])

    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SIGNALS}
    for row in pq.read_table(folder / "signals.parquet").to_pylist():
        rows[row.pop("signal")].append({name: value for name, value in row.items() if value is not None})
    assert rows["next-item"] == [{"owner": "u0", "items": ["i7", "i8", "i9"]}]
    assert rows["board-completion"][0] == {"owner": "b0", "title": "Cats", "items": ["i0", "i1", "i2"]}
    assert [(row["title"], row["items"]) for row in rows["board-title"]] == [("Cats", IDS[:3]), ("Dogs", ["i6"])]
    assert rows["co-save"][1] == {"items": ["i0"], "target": "i2", "weight": 20_000.0}
    assert rows["hard-negative"][0] == {"items": ["i0"], "negatives": ["i5", "i6"], "ranks": [55, 56]}
    assert rows["impression"][1] == {"owner": "u1", "negatives": ["i32"]}


def test_a_reader_touches_the_row_groups_of_its_signal_only(folder: Path):
    write_signal_table(folder, IDS, blocks(), shown({"u0": ["i30"]}))
    groups = signal_rows(folder)["row_groups"]
    assert sorted(chain(*groups.values())) == list(range(pq.read_metadata(folder / "signals.parquet").num_row_groups))
    for name in SIGNALS:
        for table in read_signal(folder, name, ["signal"]):
            assert table["signal"].unique().to_pylist() == [name]
    assert len(groups["co-save"]) == len(groups["hard-negative"]) == 2  # a block each, never all in memory


def test_a_graph_without_boards_users_or_walks_has_an_empty_table(tmp_path: Path):
    write_sequences(tmp_path / "sequences.parquet", [], IDS)
    assert set(write_signal_table(tmp_path, IDS, []).values()) == {0}
    assert read_pairs(tmp_path, IDS).shape == (0, 3) and read_hard_negatives(tmp_path, IDS).shape == (40, 0)
    assert read_impressions(tmp_path, IDS).indptr.tolist() == [0]


def test_a_table_of_another_version_or_catalogue_is_refused(folder: Path):
    with pytest.raises(UserError, match=r"no signals\.parquet.*build the graph again"):
        read_pairs(folder, IDS)
    write_signal_table(folder, IDS, blocks())
    with pytest.raises(UserError, match="item 'i0' is not among"):
        read_pairs(folder, IDS[1:])
    table = pq.read_table(folder / "signals.parquet")
    about = table.schema.metadata or {}
    for version, said in ((b'{"schema_version": 9}', "version 9, this program reads version 1"), (b"{}", "unknown")):
        changed = table.replace_schema_metadata({**about, b"navigator.signals": version})
        pq.write_table(changed, folder / "signals.parquet")
        for read in (read_pairs, read_hard_negatives, read_impressions):
            with pytest.raises(UserError, match=f"{said}.*build the graph again"):
                read(folder, IDS)


def plain_hard_negatives(reached: list[list[int]], boards: list[set[int]], count: int) -> list[list[int]]:
    """The rule of graph.signals.late_strangers as a loop."""
    found = []
    for item, row in enumerate(reached):
        window = [
            rank
            for rank in range(min(50, len(row) // 2), min(len(row), 200))
            if not any(item in board and row[rank] in board for board in boards)
        ]
        if len(window) > count:
            window = [window[place] for place in np.linspace(0, len(window) - 1, count).astype(int)]
        found.append([row[rank] for rank in window])
    return found


@pytest.mark.parametrize("count", [1, 3, 20])
def test_hard_negatives_equal_the_plain_loop_in_blocks_of_any_size(count: int):
    rng = np.random.default_rng(count)
    n = 260
    reached = [rng.permutation(np.delete(np.arange(n), i))[: rng.integers(0, 230)].tolist() for i in range(n)]
    boards = [set(rng.choice(n, int(rng.integers(2, 60)), replace=False).tolist()) for _ in range(25)]
    saves = [(b, i) for b, board in enumerate(boards) for i in board]
    owner, item = (np.array(column) for column in zip(*saves, strict=True))
    train = Saves([str(b) for b in range(25)], owner, item, np.full(len(owner), -1))
    visits = visits_of(reached)
    negatives, ranks = hard_negatives(visits, train, count)
    assert [row[row >= 0].tolist() for row in negatives] == plain_hard_negatives(reached, boards, count)
    filled = negatives >= 0
    np.testing.assert_array_equal(np.take_along_axis(visits.nodes, ranks, 1)[filled], negatives[filled])
    if count == 20:
        held = Histories([str(b) for b in range(25)], np.cumsum([0, *map(len, boards)]), item.astype(np.int32))
        walked = list(walked_signals(lambda i: TopVisits(visits.nodes[i], visits.visits[i]), n, held, 7, block=37))
        np.testing.assert_array_equal(np.concatenate([block.negatives for block in walked]), negatives)
        assert pa.concat_tables(block.pairs for block in walked).equals(co_save_pairs(visits, 7))


Log = list[tuple[str, int, str, int | None]]


def interactions(folder: Path, log: Log) -> Catalog:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    rows["items"] = [{"item_id": name} for name in IDS]
    rows["interactions"] = [{"user_id": u, "item_id": f"i{i}", "action": action, "at": at} for u, i, action, at in log]
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(pa.Table.from_pylist(rows[name], schema=schema), work.path / f"{name}.parquet")
    return Catalog.open(folder)


TIMED: Log = [
    ("u", 1, "save", 10), ("u", 2, "save", 20), ("u", 3, "save", 30), ("u", 4, "save", 40),  # 3 valid, 4 test
    ("u", 20, "show", 5), ("u", 20, "show", 6), ("u", 21, "show", 29), ("u", 22, "show", 30), ("u", 23, "show", 50),
    ("u", 2, "show", 1), ("u", 4, "show", 1), ("u", 24, "show", None), ("u", 25, "click", 1), ("x", 26, "show", 1),
    ("u", 99, "show", 1),
]  # fmt: skip
SPLIT = [TasteSequence("next-item", "u", "", (1, 2), (3,), (4,))]


def lists_of(catalog: Catalog, folder: Path, sequences: list[TasteSequence], **options: Any) -> tuple[dict, dict]:
    write_sequences(folder / "sequences.parquet", sequences, IDS)
    given: dict[str, Any] = {"impressions": ["show"], "actions": ["save"]} | options
    counts, batches = impressions_of(catalog, folder / "sequences.parquet", **given)
    return counts, {row["owner"]: row["negatives"] for batch in batches for row in batch.to_pylist()}


def test_impressions_are_what_was_shown_before_the_held_out_and_never_saved(tmp_path: Path):
    counts, lists = lists_of(interactions(tmp_path / "c", TIMED), tmp_path, SPLIT)
    assert lists == {"u": ["i20", "i21"]}  # 22 and 23 come at or after what is held out, at 30
    assert counts == {
        "impressions": 3, "impressions_not_before_held_out": 2, "impressions_of_unknown_items": 1,
        "impressions_of_users_without_saves": 1, "impressions_saved": 2, "impressions_without_time": 1,
    }  # fmt: skip
    assert sum(counts.values()) == sum(action == "show" for *_, action, _ in TIMED)


def test_impressions_stop_at_the_cut_and_other_actions_save_by_default(tmp_path: Path):
    catalog = interactions(tmp_path / "c", TIMED)
    _, lists = lists_of(catalog, tmp_path, SPLIT, cut=29)
    assert lists == {"u": ["i20"]}  # 21 was shown at the cut
    everything = [TasteSequence("next-item", "u", "", (25, 1, 2, 3, 4))]  # nothing held out, all but "show" saves
    _, lists = lists_of(catalog, tmp_path, everything, actions=None)
    assert lists == {"u": ["i20", "i21", "i22", "i23"]}
    counts, lists = lists_of(catalog, tmp_path, SPLIT, impressions=["show", "click"])
    assert lists == {"u": ["i20", "i21", "i25"]} and counts["impressions"] == 4


def test_without_times_the_rows_are_the_order(tmp_path: Path):
    log: Log = [
        ("u", 1, "save", None), ("u", 20, "show", 900), ("u", 2, "save", 5), ("u", 21, "show", 1), ("v", 5, "save", 1),
        ("u", 3, "save", None), ("v", 22, "show", 0),
    ]  # fmt: skip
    users = [TasteSequence("next-item", "v", "", (5,)), TasteSequence("next-item", "u", "", (1,), (2,), (3,))]
    _, lists = lists_of(interactions(tmp_path / "c", log), tmp_path, users)
    assert list(lists.items()) == [("v", ["i22"]), ("u", ["i20"])]  # 21 comes in a row after the held-out save of 2


def test_actions_that_do_not_occur_or_both_show_and_save_are_refused(tmp_path: Path):
    catalog = interactions(tmp_path / "c", TIMED)
    with pytest.raises(UserError, match=r"'seen' does not occur in .*it has click, save, show"):
        lists_of(catalog, tmp_path, SPLIT, impressions=["seen"])
    with pytest.raises(UserError, match="'save' is both in actions and in impressions"):
        lists_of(catalog, tmp_path, SPLIT, impressions=["save"])


def make_world(impressions: dict[str, list[int]]) -> World:
    rng = np.random.default_rng(0)
    users = [TasteSequence("next-item", f"u{n}", "", tuple(range(6 * n, 6 * n + 5))) for n in range(4)]
    boards = [TasteSequence("board-completion", "u0", "", (30, 31, 32))]  # named like a user, and not that user
    recommender: Any = SimpleNamespace(vectors=None)
    return World(recommender, ["x"] * 40, users + boards, rng.integers(0, 40, size=(40, 3)), impressions)


def test_ranking_candidates_take_the_users_impressions_and_never_a_positive():
    """u0 has no impression left but its own saves; u1 has two."""
    world, none = make_world({"u0": [0, 1], "u1": [38, 39, 6]}), make_world({})
    seen = {"with": 0, "without": 0}
    for step in range(30):
        examples, before = (draw(w, "ranking", 8, 0, step, Shape(4, candidates=6)) for w in (world, none))
        for example in examples:
            assert not set(example.candidates[1:]) & {*example.targets, *example.positives}
            assert len(set(example.candidates)) == 6 and example.candidates[:1] == example.targets
            if 6 in example.positives:
                shown = {38, 39} & set(example.candidates)
                assert shown == {38, 39}  # a quarter of five, rounded up
                seen["with"] += 1
            else:
                seen["without"] += 1
        if not any(6 in example.positives for example in examples):
            assert examples == before  # bit for bit what it was without impressions
    assert min(seen.values()) > 20


def test_pairwise_bounds_cover_every_impression(folder: Path):
    write_signal_table(folder, IDS, [], shown({"u0": ["i1"], "u1": [], "u2": ["i2", "i3"]}))
    found = read_impressions(folder, IDS)
    assert [found.items[a:b].tolist() for a, b in pairwise(found.indptr)] == [[1], [], [2, 3]]


# ---- requests of unseen boards

UNSEEN = [
    TasteSequence("board-completion", "t", "Trees", (1, 2, 5, 7), (), (3,)),
    TasteSequence("board-completion", "v", "Vans", (11, 12), (13,), ()),
    TasteSequence("board-completion", "plain", " ", (21, 22), (), (20,)),
    TasteSequence("board-completion", "small", "Small", (30, 31)),
]


def test_unseen_boards_ask_for_all_that_is_not_shown():
    t, plain = unseen_queries(UNSEEN, "test", 2)
    assert (t.query_id, t.title, plain.query_id) == ("t", "Trees", "plain")
    for query, items in ((t, {1, 2, 3, 5, 7}), (plain, {20, 21, 22})):
        assert len(query.history) == 2 and {*query.history, *query.targets} == items
        assert len(query.targets) == len(items) - 2
        assert list(query.history) == sorted(query.history) and list(query.targets) == sorted(query.targets)
    (v,) = unseen_queries(UNSEEN, "valid", 1)
    assert v.query_id == "v" and len(v.history) == 1 and len(v.targets) == 2


def test_a_title_alone_asks_and_boards_that_cannot_ask_are_left_out():
    (t,) = unseen_queries(UNSEEN, "test", 0)
    assert (t.query_id, t.history, t.targets) == ("t", (), (1, 2, 3, 5, 7))
    assert [q.query_id for q in unseen_queries(UNSEEN, "test", 3)] == ["t"]
    with pytest.raises(UserError, match="no unseen board of part test has more than 5 items"):
        unseen_queries(UNSEEN, "test", 5)
    with pytest.raises(UserError, match="show is -1; allowed are whole numbers from 0"):
        unseen_queries(UNSEEN, "test", -1)


def test_what_is_shown_depends_on_the_seed_and_the_board_and_grows():
    boards = [TasteSequence("board-completion", f"b{n}", "B", tuple(range(9)), (), (9,)) for n in range(30)]
    shown = [[set(q.history) for q in unseen_queries(boards, "test", show)] for show in (1, 2, 3)]
    assert all(one < two < three for one, two, three in zip(*shown, strict=True))
    assert [set(q.history) for q in unseen_queries(boards[::-1], "test", 2)] == shown[1][::-1]
    moved = [TasteSequence(s.task, s.owner, "B", s.items[1:], (), (*s.test, 0)) for s in boards]
    assert [set(q.history) for q in unseen_queries(moved, "test", 2)] == shown[1]  # whatever the graph held out
    assert [set(q.history) for q in unseen_queries(boards, "test", 2, seed=1)] != shown[1]
    assert len({tuple(sorted(items)) for items in shown[1]}) > 15


def test_an_empty_split_names_the_task_that_has_queries():
    only_user = TasteSequence(owner="u", task="next-item", title="", items=(0, 1), test=(2,))
    with pytest.raises(UserError, match="--task next-item"):
        make_queries([only_user], "board-completion", "test")
    with pytest.raises(UserError, match="allowed tasks are"):
        make_queries([], "next-item", "test")
