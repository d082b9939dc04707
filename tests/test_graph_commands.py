"""The artefact, the two commands, and the promise that no training signal contains a held-out save."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph.commands import build_graph, refine
from graph.factors import co_save_factors, train_counts
from graph.relation import HAS, HOLDS, SAVED
from graph.split import TEST, TRAIN, VALID, Saves, sequences_of
from graph.store import TasteGraph
from graph.unseen import owner_parts
from graph.user_split import split_users
from navigator.contracts import Catalog, ItemVectors, UserError, publish
from navigator.contracts.catalog import TABLES
from navigator.contracts.vectors import normalise, write_vectors

POSTERS = Path(__file__).parents[1].parent / "shared" / "data" / "movielens-posters"


def write_catalog(
    folder: Path, n_items: int, boards: dict[str, list[int]], users: list[dict[str, Any]],
    owners: dict[str, str] | None = None,
) -> Catalog:  # fmt: skip
    """A catalogue of `n_items` items without pictures; boards by item numbers; users as rows of interactions."""
    rows: dict[str, list[dict[str, Any]]] = {
        "items": [
            {"item_id": f"i{i}", "title": f"t{i}", "keywords": [f"k{i % 3}"], "text": ""} for i in range(n_items)
        ],
        "boards": [{"board_id": b, "title": f"about {b}", "owner_id": (owners or {}).get(b, "o")} for b in boards],
        "board_items": [{"board_id": b, "item_id": f"i{i}"} for b, items in boards.items() for i in items],
        "interactions": users,
        "rejects": [],
    }
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(pa.Table.from_pylist(rows[name], schema=schema), work.path / f"{name}.parquet")
    return Catalog.open(folder)


def world(seed: int = 0) -> tuple[dict[str, list[int]], list[dict[str, Any]]]:
    """Boards that share no item, so that a held-out (board, item) is the only trace of that item on boards; 9 users."""
    boards = {f"b{b}": list(range(8 * b, 8 * b + 8)) for b in range(6)}
    rng = np.random.default_rng(seed)
    users = [
        {"user_id": f"u{u}", "item_id": f"i{int(i)}", "action": "save" if t % 2 else "click", "at": 1_000 * t + u}
        for u in range(9)
        for t, i in enumerate(rng.choice(60, 7, replace=False))
    ]
    return boards, users


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Catalog, TasteGraph]:
    root = tmp_path_factory.mktemp("graph")
    catalog = write_catalog(root / "catalog", 64, *world())
    build_graph(root / "catalog", root / "graph", valid_fraction=0.5)
    return root, catalog, TasteGraph.open(root / "graph", catalog)


def held_out(taste_graph: TasteGraph, task: str) -> set[tuple[str, int]]:
    return {(s.owner, i) for s in taste_graph.sequences if s.task == task for i in s.valid + s.test}


def test_no_edge_of_the_graph_is_held_out(built: tuple[Path, Catalog, TasteGraph]):
    _, _, taste_graph = built
    data = taste_graph.hetero()
    assert data.validate()
    for key, task in ((HOLDS, "board-completion"), (SAVED, "next-item")):
        ids = taste_graph.node_ids(key[0])
        saves = {(ids[o], i) for o, i in data[key].edge_index.t().tolist()}
        forbidden = held_out(taste_graph, task)
        assert forbidden and not saves & forbidden
        trained = {(s.owner, i) for s in taste_graph.sequences if s.task == task for i in s.items}
        assert saves == trained and not trained & forbidden
    names, boards = taste_graph.node_ids("interest"), held_out(taste_graph, "board-completion")
    interests = {(names[n].removeprefix("about "), i) for i, n in data[HAS].edge_index.t().tolist()}
    assert interests and not interests & boards


def test_board_signals_know_nothing_of_held_out_saves(tmp_path: Path):
    """Boards share no item, so no pair and no factor may join a board with the item held out of it."""
    boards, _ = world()
    catalog = write_catalog(tmp_path / "catalog", 64, boards, [])
    build_graph(tmp_path / "catalog", tmp_path / "graph", valid_fraction=1.0)
    taste_graph = TasteGraph.open(tmp_path / "graph", catalog)
    hidden = {i for _, i in held_out(taste_graph, "board-completion")}
    assert len(hidden) == 12
    pairs = taste_graph.pairs
    assert len(pairs) and not hidden & set(pairs[:, :2].ravel().tolist())
    assert not co_save_factors(train_counts(taste_graph.sequences, 64), 4)[sorted(hidden)].any()
    assert not hidden & set(taste_graph.hard_negatives.ravel().tolist())


def test_signals_stay_identical_when_the_held_out_saves_change(built: tuple[Path, Catalog, TasteGraph]):
    """Every user's last item is replaced by another one: nothing that training reads may differ."""
    root, _, taste_graph = built
    boards, users = world()
    seen = {(u["user_id"], u["item_id"]) for u in users}
    for row in users:
        if row["at"] >= 6_000:
            row["item_id"] = next(f"i{i}" for i in range(63, -1, -1) if (row["user_id"], f"i{i}") not in seen)
    other = write_catalog(root / "other", 64, boards, users)
    build_graph(root / "other", root / "other-graph", valid_fraction=0.5)
    changed = TasteGraph.open(root / "other-graph", other)
    assert held_out(changed, "next-item") != held_out(taste_graph, "next-item")
    assert held_out(changed, "board-completion") == held_out(taste_graph, "board-completion")
    for path in [*(taste_graph.path / "csr").iterdir(), taste_graph.path / "signals.parquet"]:
        assert (changed.path / path.relative_to(taste_graph.path)).read_bytes() == path.read_bytes(), path.name
    factors = [co_save_factors(train_counts(g.sequences, 64), 8) for g in (taste_graph, changed)]
    np.testing.assert_array_equal(factors[0], factors[1])


def test_hard_negatives_share_no_board_and_read_back_as_written(tmp_path: Path):
    """Two large boards that overlap in two items: the middle ranks are full of the item's own board."""
    catalog = write_catalog(tmp_path / "catalog", 64, {"big": list(range(30)), "next": list(range(28, 64))}, [])
    build_graph(tmp_path / "catalog", tmp_path / "graph", seed=1)
    taste_graph = TasteGraph.open(tmp_path / "graph", catalog)
    boards = [set(s.items) for s in taste_graph.sequences if s.task == "board-completion"]
    negatives = taste_graph.hard_negatives
    assert negatives.shape[0] == 64 and (negatives >= 0).any()
    for item in range(64):
        own = negatives[item][negatives[item] >= 0].tolist()
        assert not any(item in board and board & set(own) for board in boards)


def owned_world() -> tuple[dict[str, list[int]], dict[str, str]]:
    """Overlapping boards whose owners' fates take turns; "twin" of a seen owner is the same as an unseen one's."""
    names = {part: [f"o{n}" for n in range(60) if owner_parts([f"o{n}"], 0.3, 0.3) == part] for part in (0, 1, 2)}
    owners = {f"b{b}": names[(TEST, TRAIN, VALID)[b % 3]][b // 6] for b in range(12)}
    boards = {board: list(range(4 * b, 4 * b + 7)) for b, board in enumerate(owners)}
    return {**boards, "twin": boards["b3"][::-1]}, {**owners, "twin": names[TRAIN][0]}


def test_training_is_as_if_the_boards_of_unseen_owners_had_never_been(tmp_path: Path):
    """Every file but unseen.parquet is, byte for byte, that of a catalogue without those boards."""
    boards, owners = owned_world()
    _, users = world()
    fate = {board: int(owner_parts([owners[board]], 0.3, 0.3)[0]) for board in boards}
    assert set(fate.values()) == {TRAIN, VALID, TEST}
    seen = {board: items for board, items in boards.items() if fate[board] == TRAIN and board != "twin"}
    catalog = write_catalog(tmp_path / "all", 64, boards, users, owners)
    write_catalog(tmp_path / "seen", 64, seen, users, owners)
    done = build_graph(tmp_path / "all", tmp_path / "graph", valid_fraction=0.5, unseen_owners=0.3, unseen_valid=0.3)
    build_graph(tmp_path / "seen", tmp_path / "expected", valid_fraction=0.5)
    expected, made = (
        {str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("expected", "graph")
    )
    assert made == {*expected, "unseen.parquet"}
    expected.remove("manifest.json")
    for name in expected:
        assert (tmp_path / "graph" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes(), name

    taste_graph = TasteGraph.open(tmp_path / "graph", catalog)
    unseen = {s.owner: s for s in taste_graph.unseen}
    assert unseen.keys() == boards.keys() - seen.keys() - {"twin"}
    for board, s in unseen.items():
        assert sorted(s.items + s.valid + s.test) == boards[board] and s.title == f"about {board}"
        assert (len(s.valid), len(s.test)) == ((1, 0) if fate[board] == VALID else (0, 1))
    elsewhere = {item for items in seen.values() for item in items}
    assert done["items_on_unseen_boards_only"] == len({i for b in unseen for i in boards[b]} - elsewhere) > 0
    assert done["unseen_owners"] == len({owners[board] for board in unseen}) and done["unseen_boards"] == len(unseen)
    assert (done["unseen_boards_with_seen_twin"], done["seen_twins_dropped"]) == (1, 1)
    assert done["unseen_valid"] == list(fate.values()).count(VALID)
    assert done["unseen_test"] == list(fate.values()).count(TEST)
    by_users = {i for s in taste_graph.sequences if s.task == "next-item" for i in s.items}
    assert by_users - elsewhere  # what users did themselves stays


def test_unseen_owners_are_written_only_when_asked_for(built: tuple[Path, Catalog, TasteGraph], tmp_path: Path):
    root, _, taste_graph = built
    assert taste_graph.unseen == [] and not (root / "graph" / "unseen.parquet").exists()
    assert taste_graph.manifest.metrics["unseen_boards"] == 0
    boards = {f"b{b}": list(range(4 * b, 4 * b + 4)) for b in range(12)}  # nobody's: each board is its own owner
    catalog = write_catalog(tmp_path / "c", 64, boards, [], dict.fromkeys(boards, ""))
    done = build_graph(tmp_path / "c", tmp_path / "g", unseen_owners=0.4)
    expected = [board for board in boards if owner_parts([board], 0.4, 0) == TEST]
    assert [s.owner for s in TasteGraph.open(tmp_path / "g", catalog).unseen] == expected
    assert 0 < len(expected) == done["unseen_owners"] < 12


def test_nothing_to_train_on_after_the_cut_is_a_user_error(tmp_path: Path):
    name = next(f"o{n}" for n in range(100) if owner_parts([f"o{n}"], 0.5, 0) == TEST)
    write_catalog(tmp_path / "c", 8, {"b": list(range(8))}, [], {"b": name})
    with pytest.raises(UserError, match="all on unseen boards"):
        build_graph(tmp_path / "c", tmp_path / "g", unseen_owners=0.5)
    with pytest.raises(UserError, match=r"unseen_valid 1\.5"):
        build_graph(tmp_path / "c", tmp_path / "g", unseen_valid=1.5)


def test_a_current_graph_is_not_built_again_and_two_builds_agree(built: tuple[Path, Catalog, TasteGraph]):
    root, catalog, taste_graph = built
    again = build_graph(root / "catalog", root / "graph", valid_fraction=0.5)
    assert again["unchanged"] and again["users_test_saves"] == 9
    twin = build_graph(root / "catalog", root / "twin", valid_fraction=0.5)
    assert not twin["unchanged"]
    assert TasteGraph.open(root / "twin", catalog).fingerprint == taste_graph.fingerprint
    assert not build_graph(root / "catalog", root / "twin", seed=1)["unchanged"]


def test_actions_and_global_time(built: tuple[Path, Catalog, TasteGraph]):
    root, catalog, _ = built
    counts = build_graph(root / "catalog", root / "saves", actions=["save"], interests="keywords")
    assert counts["interactions_of_other_actions"] == 36 and counts["nodes_interest"] == 9
    counts = build_graph(root / "catalog", root / "global", user_split="global-time", global_quantile=0.7)
    taste_graph = TasteGraph.open(root / "global", catalog)
    assert taste_graph.edges(SAVED).time.max() <= counts["time_cut"]
    with pytest.raises(UserError, match="'bought' does not occur"):
        build_graph(root / "catalog", root / "none", actions=["bought"])


def test_bad_input_is_a_user_error(built: tuple[Path, Catalog, TasteGraph], tmp_path: Path):
    root, _, _ = built
    other = write_catalog(tmp_path / "other", 3, {"b": [0, 1]}, [])
    with pytest.raises(UserError, match="built from catalogue"):
        TasteGraph.open(root / "graph", other)
    with pytest.raises(UserError, match="does not exist"):
        TasteGraph.open(tmp_path / "nowhere", other)
    write_catalog(tmp_path / "empty", 3, {}, [])
    with pytest.raises(UserError, match="no save"):
        build_graph(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UserError, match="restart"):
        build_graph(tmp_path / "other", tmp_path / "out", restart=1.0)
    with pytest.raises(UserError, match="time on every interaction"):
        build_graph(tmp_path / "other", tmp_path / "out", user_split="global-time")


def test_refine_writes_vectors_of_a_new_encoder(built: tuple[Path, Catalog, TasteGraph]):
    root, catalog, _ = built
    ids = catalog.item_ids[::-1]  # any row order is allowed
    content = normalise(np.random.default_rng(0).standard_normal((64, 6))).astype(np.float16)
    with publish(root / "vectors", "vectors", {"encoder": "eyes", "normalised": True}, {}) as work:
        write_vectors(work.path, ids, content)
    done = refine(root / "graph", root / "vectors", root / "refined", root / "catalog", dim=8, graph_weight=0.5)
    refined = ItemVectors.open(root / "refined")
    assert refined.ids == ids and refined.dim == done["dim"] == 14 and refined.encoder != "eyes" and refined.normalised
    assert refined.manifest is not None and refined.manifest.config["content_dim"] == 6
    np.testing.assert_allclose(np.linalg.norm(refined.float32(), axis=1), 1, atol=2e-3)
    cold = [row for row, values in enumerate(refined.float32()) if not values[6:].any()]
    assert len(cold) == done["items_without_graph"] > 0
    np.testing.assert_allclose(refined.float32()[cold, :6], content[cold].astype(np.float32), atol=2e-3)
    assert refine(root / "graph", root / "vectors", root / "refined", root / "catalog", dim=8, graph_weight=0.5)[
        "unchanged"
    ]
    again = refine(root / "graph", root / "vectors", root / "other-width", root / "catalog", dim=4)
    assert ItemVectors.open(again["out"]).encoder != refined.encoder
    with pytest.raises(UserError, match="dim 0"):
        refine(root / "graph", root / "vectors", root / "bad", root / "catalog", dim=0)


@pytest.mark.skipif(not POSTERS.is_dir(), reason="the MovieLens data pack is not beside the repository")
def test_leave_last_out_on_movielens_follows_the_published_protocol():
    """Popularity and item cosine under our split equal the figures of the data pack (HR@10 .0443 and .0607)."""
    from pyarrow import csv

    movies = pq.read_table(POSTERS / "posters.parquet", columns=["movie_id"])["movie_id"].to_numpy()
    ratings = {
        name: column.to_numpy() for name, column in zip(*_columns(csv.read_csv(POSTERS / "ratings.csv")), strict=True)
    }
    known = np.isin(ratings["movieId"], movies)
    rated = np.unique(ratings["movieId"][known])
    users, owner = np.unique(ratings["userId"][known], return_inverse=True)
    saves = Saves(
        users.astype(str).tolist(),
        owner,
        np.searchsorted(rated, ratings["movieId"][known]),
        ratings["timestamp"][known],
    )
    sequences = sequences_of("next-item", split_users(saves, valid_fraction=0.2))
    assert len(sequences) == 610 and len(rated) == 9_499
    train = np.zeros((610, 9_499), np.float32)
    for row, s in enumerate(sequences):
        train[row, list(s.items + s.valid)] = 1
    assert train.sum() == 99_719
    norms = np.maximum(np.linalg.norm(train, axis=0), 1e-12)
    cosine = (train.T @ train) / norms / norms[:, None]
    np.fill_diagonal(cosine, 0)
    targets = np.array([s.test[0] for s in sequences])
    for scores, expected in ((np.tile(train.sum(0), (610, 1)), 0.0443), (train @ cosine, 0.0607)):
        scores[train > 0] = -np.inf
        own = scores[np.arange(610), targets][:, None]
        smaller = np.arange(9_499) < targets[:, None]
        rank = (scores > own).sum(1) + ((scores == own) & smaller).sum(1)
        assert (rank < 10).mean() == pytest.approx(expected, abs=5e-5)


def _columns(table: pa.Table) -> tuple[list[str], list[pa.ChunkedArray]]:
    return table.column_names, table.columns
