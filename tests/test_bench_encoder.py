"""`navigator-bench encoder`, piece by piece: every figure on a case computed by hand or against a plain loop."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import navigator.metrics
from bench.encoder.entrants import Entrant, choose_holdout
from bench.encoder.intervals import intervals, ratio, resampled_means
from bench.encoder.measure import Contender, Key, prefixes_of, shrink
from bench.encoder.questions import hold_out, with_boards
from bench.encoder.rank import board_figures, mate_figures, purity, text_figures
from bench.encoder.seeds import mean_over_runs, recipes
from bench.encoder.store import PartStore
from bench.intervals import bootstrap
from encoders.fusion import GatedFusion
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import ITEMS, TABLES, held_out
from navigator.contracts.manifest import Manifest
from navigator.contracts.signals import Query, TasteSequence, write_sequences
from navigator.metrics import nearest


def angles(*degrees: float) -> np.ndarray:
    """Unit vectors of the plane."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_owners_are_resampled_as_in_a_plain_loop():
    rng = np.random.default_rng(3)
    values, owners = rng.normal(size=(11, 2)), np.array(list("aabcccdaebe"))
    got = resampled_means(values, owners, seed=5, resamples=40)
    draws = np.random.default_rng(5).integers(0, 5, (40, 5))
    for row, drawn in zip(got, draws, strict=True):
        rows = [values[i] for owner in drawn for i in range(11) if owners[i] == "abcde"[owner]]
        assert np.allclose(row, np.mean(rows, axis=0))
    low, high = np.percentile(resampled_means(values, owners, 5), [2.5, 97.5], axis=0)
    figures = intervals(values, owners, 5)
    assert [f.mean for f in figures] == pytest.approx(values.mean(0).tolist())
    assert np.allclose([f.ci95 for f in figures if f.ci95], np.stack([low, high], axis=1))


def test_with_every_query_its_own_owner_it_is_the_ordinary_bootstrap():
    values = np.random.default_rng(1).random((30, 3))
    wanted = [(f.mean, *f.ci95) for f in bootstrap(values, 7)]
    for clusters in (None, np.arange(30)):
        found = [(f.mean, *f.ci95) for f in intervals(values, clusters, 7) if f.ci95]
        assert np.allclose(found, wanted)


def test_boards_of_one_owner_that_agree_count_as_one_when_drawn():
    values, owners = np.repeat([0.0, 1.0, 0.0, 1.0], 25)[:, None], np.repeat([0, 1, 2, 3], 25)
    (apart,), (together,) = intervals(values, None, 0), intervals(values, owners, 0)
    assert apart.ci95 and together.ci95
    assert together.ci95 == (0.0, 1.0) and apart.ci95[1] - apart.ci95[0] < 0.25


def test_one_owner_has_no_interval_and_a_ratio_to_nothing_is_null():
    assert intervals(np.ones((4, 1)), np.zeros(4), 0)[0].ci95 is None
    part, whole = np.array([1.0, 0, 1, 1]), np.array([1.0, 1, 1, 1])
    share = ratio(part, whole, None, 0)
    assert share and share.mean == 0.75 and share.ci95 and share.ci95[0] < 0.75 < share.ci95[1]
    assert ratio(part, 0 * whole, None, 0) is None
    rare = ratio(part, np.array([1.0, 0, 0, 0]), None, 0)  # some resamples divide by 0
    assert rare and rare.mean == 3 and rare.ci95 is None


def test_nearest_is_a_sorted_loop(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    queries, gallery = rng.integers(-1, 2, (9, 3)).astype(np.float32), rng.integers(-1, 2, (14, 3)).astype(np.float32)
    excluded = [[i, i + 1] for i in range(9)]
    monkeypatch.setattr(navigator.metrics, "_CELLS", 28)  # two queries a block
    got = nearest(queries, gallery, 5, excluded)
    for i, query in enumerate(queries):
        order = sorted((j for j in range(14) if j not in excluded[i]), key=lambda j: (-float(query @ gallery[j]), j))
        assert got[i].tolist() == order[:5]
    assert nearest(queries[:1], gallery[:2], 5, [[1]]).tolist() == [[0, -1]]


def test_text_to_item_by_hand():
    pictures = angles(0, 10, 20, 90)
    keys = np.array([4, 5, 5, 6])
    texts, wanted = angles(2, 8, 60), np.array([5, 5, 4])
    got = text_figures(texts, wanted, pictures, keys, ks=(1, 2, 3))
    # 2 degrees: 0, 10, 20 -> second is right; 8: 10 is right; 60: 90, 20, 10 -> never
    assert {k: v.tolist() for k, v in got.items()} == {"r@1": [0, 1, 0], "r@2": [1, 1, 0], "r@3": [1, 1, 0]}


def test_board_and_mate_figures_by_hand():
    vectors = angles(0, 10, 20, 35, 90)
    # Mean of 0 and 20 is 10; ranked after the history: 1, 3, 4. Target 3 is second.
    board = board_figures(vectors, [Query("b", (0, 2), (3,))], last=20)
    assert board["ndcg@10"][0] == pytest.approx(1 / np.log2(3)) and board["hr@10"] == board["recall@50"] == [1]
    # Of the last item alone (20 degrees): 1 and then 3; of (90, 0) with last = 1: 1 first, the 90 still excluded.
    assert board_figures(vectors, [Query("b", (4, 0), (1,))], last=1)["ndcg@10"] == [1]
    # From 35: 20, 10, 0, 90; right are 20 and 90: places 1 and 4 of an ideal 1 and 2.
    mates = mate_figures(vectors, [Query("m", (3,), (2, 4))])
    ideal = 1 + 1 / np.log2(3)
    assert mates["recall@10"] == [1] and mates["ndcg@10"][0] == pytest.approx((1 + 1 / np.log2(5)) / ideal)


def test_mate_recall_is_cut_at_ten():
    vectors = angles(*np.linspace(0, 60, 31))
    mates = mate_figures(vectors, [Query("m", (0,), tuple(range(6, 21)))])  # nearest ten: 1..10, right are 6..10
    assert mates["recall@10"] == [5 / 10]
    assert mate_figures(vectors, [Query("m", (0,), (5, 30))])["recall@10"] == [1 / 2]


def test_purity_by_hand():
    vectors, labels = angles(0, 5, 12, 60, 70), np.array([0, 0, 1, 1, 1])
    everyone = np.arange(5)
    assert purity(vectors, everyone, everyone, labels, k=2)["purity@2"].tolist() == [0.5, 0.5, 0, 1, 1]
    # Neighbours among 1, 3, 4 alone: query 0 sees all three, query 1 has two left.
    few = purity(vectors, np.array([0, 1]), np.array([1, 3, 4]), labels, k=10)["purity@10"]
    assert few.tolist() == pytest.approx([1 / 3, 0])


def test_smaller_vectors_by_hand():
    vectors = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.6, 0.0]], np.float32)
    assert np.allclose(shrink(vectors, 2, "float32"), [[1, 0], [0, 1], [-0.8, 0.6]])
    assert shrink(vectors, 0, "float32") is vectors
    got = shrink(vectors, 0, "int8")
    for i in range(3):
        row = [round(float(vectors[i, d]) / (s := max(abs(vectors[:, d])) / 127)) * float(s) for d in range(3)]
        assert np.allclose(got[i], np.array(row) / np.linalg.norm(row), atol=1e-6)
    assert not np.array_equal(got, vectors) and np.allclose(got, vectors, atol=1e-2)
    assert np.allclose(shrink(vectors, 0, "float16"), vectors, atol=1e-3)
    assert prefixes_of([256, 64, 64, 128], 128) == [64]


def write_catalog(folder: Path, rows: list[tuple[str, str | None, bytes | None, str | None]], owners: dict[str, str]):
    """Items (id, text, picture bytes, kind) and empty boards with owners."""
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(schema.empty_table(), work.path / f"{name}.parquet")
        table = pa.table(
            {
                "item_id": [r[0] for r in rows], "title": [r[0] for r in rows], "description": [""] * len(rows),
                "keywords": [[]] * len(rows), "image": [{"bytes": r[2], "path": None} for r in rows],
                "text": [r[1] for r in rows],
            },
            schema=ITEMS,
        )  # fmt: skip
        table = table.append_column("kind", pa.array([r[3] for r in rows], pa.string()))
        pq.write_table(table, work.path / "items.parquet")
        boards = {"board_id": list(owners), "title": list(owners), "owner_id": list(owners.values())}
        pq.write_table(pa.table(boards, schema=TABLES["boards"]), work.path / "boards.parquet")
    return Catalog.open(folder)


def split_ids(held: int, others: int, fraction: float = 0.3) -> tuple[list[str], list[str]]:
    """Ids that are held out, and ids that are not."""
    names = [f"i{n}" for n in range(200)]
    out = held_out(names, fraction)
    return [n for n, o in zip(names, out, strict=True) if o][:held], [
        n for n, o in zip(names, out, strict=True) if not o
    ][:others]


def test_copies_of_what_training_saw_do_not_ask(tmp_path: Path):
    held, others = split_ids(7, 3)
    seen = [(others[0], "A red Flag", b"p0", "x"), (others[1], "cat", b"p1", "x"), (others[2], "", None, None)]
    asked = [
        (held[0], " a red flag ", b"q0", "x"),  # text seen
        (held[1], "dog", b"p1", "x"),  # picture seen
        (held[2], "sun", b"q2", "x"),
        (held[3], "Sun", b"q2", None),  # a copy of another held-out item asks
        (held[4], "", b"q4", "y"),  # the seen blank text is no copy
        (held[5], "moon", None, "y"),
        (held[6], "moon ", b"q6", "y"),
    ]
    catalog = write_catalog(tmp_path / "c", seen + asked, {})
    questions = hold_out(catalog, 0.3, "kind")
    c = questions.counts
    assert (c.items, c.text_seen, c.picture_seen, c.asked, c.text_queries) == (7, 1, 1, 5, 3)
    assert c.without_picture_or_text == 2 and c.unlabelled == 1
    assert questions.held.tolist() == [5, 6, 7, 8, 9] and questions.text_items.tolist() == [5, 6, 9]
    assert questions.text_keys[5] == questions.text_keys[6] and questions.text_keys[8] == questions.text_keys[9]
    assert questions.labels is not None and questions.labels.tolist() == [0, 0, -1, 0, 0, 0, -1, 1, 1, 1]
    with pytest.raises(UserError, match=r"label 'colour' is no column .* allowed are title, description, kind"):
        hold_out(catalog, 0.3, "colour")


def test_boards_ask_apart_by_owner_and_coldness(tmp_path: Path):
    held, others = split_ids(1, 9)
    ids = [*others, *held]
    owners = {"b0": "ann", "b1": "ann", "b2": "bob", "u0": "cy"}
    catalog = write_catalog(tmp_path / "c", [(i, i, None, None) for i in ids], owners)
    task = "board-completion"
    seen = [
        TasteSequence(task, "b0", "zero", (0, 1), (2,), (3,)),
        TasteSequence(task, "b1", "one", (3, 4), (), (5,)),
        TasteSequence(task, "b2", "two", (6,), (), ()),
    ]
    (tmp_path / "g").mkdir()
    unseen = [TasteSequence(task, "u0", "secret", (7, 8), (), (6,))]
    write_sequences(tmp_path / "g" / "unseen.parquet", unseen, ids)
    questions = with_boards(hold_out(catalog, 0.3, None), catalog, tmp_path / "g", seen)
    first, second = questions.boards
    assert [b.scope for b in questions.boards] == ["seen", "unseen"]
    assert first.owners.tolist() == ["ann", "ann"] and second.owners.tolist() == ["cy"] * 3
    assert first.cold.tolist() == [False, True]  # 3 is saved to b1; 5 to nothing
    assert (
        second.cold.tolist() == second.mate_cold.tolist() == [True, True, False]
    )  # each item in turn; 6 is saved to b2
    assert [(q.history, q.targets) for q in second.boards] == [((8, 6), (7,)), ((7, 6), (8,)), ((7, 8), (6,))]
    assert [(q.history, q.targets) for q in second.mates] == [((7,), (8, 6)), ((8,), (7, 6)), ((6,), (7, 8))]
    assert [(q.history, q.targets) for q in first.mates] == [((3,), (0, 1, 2)), ((5,), (3, 4))]
    assert first.boards[0].history == (0, 1, 2) and first.boards[0].targets == (3,)
    assert questions.titles and questions.titles[3] == ["one"] and questions.titles[2] == questions.titles[7] == []
    assert questions.all_titles and questions.all_titles[7] == ["secret"]


def test_runs_of_one_recipe_are_averaged_query_by_query():
    key = Key("board-item", "seen", "both")
    values = {"base": [1.0, 0.0], "base+titles": [0.5, 0.5], "full@0": [0.0, 1.0], "full@1": [1.0, 0.0]}
    answers = {name: {key: {"ndcg@10": np.array(value)}} for name, value in values.items()}
    assert recipes(answers) == {"base": ["base"], "base+titles": ["base+titles"], "full": ["full@0", "full@1"]}
    assert recipes(["a@0", "a@0+titles", "a@1"]) == {"a": ["a@0", "a@1"], "a+titles": ["a@0+titles"]}
    together = mean_over_runs(answers)
    assert together["full"][key]["ndcg@10"].tolist() == [0.5, 0.5]
    assert together["base"][key]["ndcg@10"].tolist() == [1.0, 0.0]


def entrant(holdout: float | None, **inputs: str) -> Entrant:
    tuned = None
    if holdout is not None:
        config = {"holdout": holdout}
        tuned = Manifest(kind="encoder", fingerprint="f", config=config, inputs=inputs, created_at="")
    return Entrant("e", "e", "e", "f", 2, None, None, tuned)


def test_an_encoder_tuned_on_what_is_asked_is_refused(tmp_path: Path):
    catalog = write_catalog(tmp_path / "c", [("a", "a", None, None)], {})
    mine = {"catalog": catalog.fingerprint}
    assert choose_holdout([entrant(None)], catalog, None, None) == 0.1
    both = [entrant(0.3, **mine), entrant(0.2, **mine), entrant(None)]
    assert choose_holdout(both, catalog, "g", None) == 0.2 and choose_holdout(both, catalog, "g", 0.05) == 0.05
    for share, inputs, wanted, reason in (
        (0.1, mine, 0.2, "holdout 0.1, smaller than 0.2"),
        (0.0, mine, None, "holdout 0, smaller than 0.1"),
        (0.1, {"catalog": "other"}, None, "tuned on catalog other"),
        (0.1, mine | {"graph": "other"}, None, "tuned on graph other"),
    ):
        with pytest.raises(UserError, match=reason):
            choose_holdout([entrant(share, **inputs)], catalog, "mine", wanted)
    assert choose_holdout([entrant(0.1, **mine, graph="other")], catalog, None, None) == 0.1  # no board is asked
    with pytest.raises(UserError, match="allowed is a share"):
        choose_holdout(both, catalog, None, 1.0)


def parts(gate: GatedFusion | None, titles: bool) -> Contender:
    """Four items: picture and text; picture alone; text and boards; nothing but boards (with the empty text's vector)."""
    zero = np.zeros(2)
    picture, text = np.stack([[1, 0], [0, 1], zero, zero]), np.stack([[0, 1], zero, [1, 0], [0, -1]])
    boards = np.stack([zero, zero, [0, 1], [1, 0]])
    has = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]], bool)
    store = PartStore({p: a.astype(np.float16) for p, a in enumerate((picture, text, boards))}, has)
    return Contender("c", store, gate, 0.5, titles)


def test_item_vectors_by_modality():
    half = np.sqrt(0.5)
    assert np.allclose(parts(None, False).vectors("both"), [[half, half], [0, 1], [1, 0], [0, -1]], atol=1e-3)
    assert np.allclose(parts(None, True).vectors("both"), [[half, half], [0, 1], [half, half], [1, 0]], atol=1e-3)
    assert np.allclose(parts(None, True).vectors("picture"), [[1, 0], [0, 1], [0, 0], [0, 0]])
    assert np.allclose(parts(None, True).vectors("text"), [[0, 1], [0, 0], [1, 0], [0, -1]])


def test_a_gate_is_used_and_sees_only_the_parts_that_are_there():
    gate = GatedFusion(2).requires_grad_(False)
    gate.bias.copy_(torch.tensor([0.0, np.log(3.0), 0.0, 0.0]))  # text counts three times the picture
    got = parts(gate, True).vectors("both")
    assert np.allclose(got[0], np.array([1, 3]) / np.sqrt(10), atol=1e-3)
    assert np.allclose(got[2], np.array([3, 1]) / np.sqrt(10), atol=1e-3)
    assert np.allclose(parts(gate, False).vectors("both")[2], [1, 0]) and np.allclose(got[3], [1, 0])
