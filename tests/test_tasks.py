"""What training shows and asks, by plain loops: examples, packed queries against served ones, losses, folds, residuals."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graph.crossfit import fold_of
from navigator.contracts import ItemVectors, UserError, publish, read_manifest
from navigator.contracts.signals import Query, TasteSequence
from navigator.contracts.vectors import normalise, write_vectors
from navigator.prompts import held_out_for_language
from navigator.recommend import Recommender
from navigator.swap import swap
from train.items import SERVED, Items, fold_vectors, own_vectors
from train.objective import Objective, ObjectiveConfig, StepBatch
from train.stage import ndcg
from train.tasks import Shape, draw
from train.world import World

CONTENT, DIM, ITEMS, FOLDS = 6, 8, 40, 2
SHAPE = Shape(max_history=4, asks=3, candidates=8)
CONFIG = ObjectiveConfig(max_history=4, asks=3, candidates=8, row_tokens=64, folds=FOLDS)
RETRIEVAL = ("next-item", "board-completion", "board-title", "text-query")
USERS = [TasteSequence("next-item", f"u{n}", "", tuple(range(7 * n, 7 * n + 7)), (), (39,)) for n in range(4)]
BOARDS = [
    TasteSequence("board-completion", f"b{n}", title, (*range(28 + 4 * n, 32 + 4 * n), n, 9 + n), (38,))
    for n, title in enumerate(["red flag", "blue cat"])
]
PLAIN = TasteSequence("board-completion", "b2", " ", (3, 12, 21))
NEW = (36, 37, 38, 39)  # nobody saved them in training


def told(texts: Sequence[str]) -> np.ndarray:
    """A text encoder: of the content alone, another vector for every text."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=CONTENT) for text in texts]
    return np.pad(normalise(np.array(rows)), ((0, 0), (0, DIM - CONTENT))).astype(np.float32)


def text_of(item: int) -> str:
    """Every fifth has none; 1 and 2 read the same, of the others each has its own."""
    return "" if item % 5 == 0 else f"red flag of {'x' * 3 if item in (1, 2) else 'x' * (item + 4)} cat user Board:"


@pytest.fixture(scope="module")
def stock(make_backbone, tmp_path_factory) -> Path:
    return make_backbone(tmp_path_factory.mktemp("tasks") / "stock", "qwen2_5_vl")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ItemVectors:
    """Refined vectors: content and graph factors."""
    values = np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32)
    content, factors = normalise(values[:, :CONTENT]), normalise(values[:, CONTENT:])
    recipe = {"content_encoder": "eyes", "content_dim": CONTENT, "graph_weight": 1.0}
    out = tmp_path_factory.mktemp("store") / "vectors"
    with publish(out, "vectors", {"encoder": "enc", "normalised": True, **recipe}, {}) as work:
        write_vectors(work.path, [f"i{n}" for n in range(ITEMS)], normalise(np.concatenate([content, factors], axis=1)))
    return ItemVectors.open(out)


def make_world(stock: Path, store: ItemVectors, trained: bool = False) -> World:
    """Four users, three boards (one without a title); `trained` gives everything that starts at zero another value."""
    model, processor = swap(str(stock), DIM, "enc", content_dim=CONTENT)
    if trained:
        torch.manual_seed(5)
        with torch.no_grad():
            for parameter in (
                *model.retrieval_head.parameters(), *model.ranking_head.parameters(), *model.query_start.parameters()
            ):  # fmt: skip
                parameter.normal_(std=0.5)
    hard = np.random.default_rng(1).integers(0, ITEMS, size=(ITEMS, 6))
    shown = {user.owner: [*user.items, 35, 36] for user in USERS}  # a log of impressions may hold what was saved later
    recommender = Recommender(model, processor, store, SHAPE.max_history, told)
    return World(recommender, [text_of(n) for n in range(ITEMS)], [*USERS, *BOARDS, PLAIN], hard, shown)


@pytest.fixture(scope="module")
def world(stock: Path, store: ItemVectors) -> World:
    return make_world(stock, store)


@pytest.fixture(scope="module")
def trained(stock: Path, store: ItemVectors) -> World:
    return make_world(stock, store, trained=True)


def drawn(world: World, task: str, steps: int = 25) -> list[Any]:
    return [example for step in range(steps) for example in draw(world, task, 8, 3, step, SHAPE)]


def owner_of(example: Any) -> TasteSequence:
    """The one whose saves these are: the first items of users are their own, boards give all of theirs as positives."""
    for sequence in (*USERS, *BOARDS, PLAIN):
        if example.positives == sequence.items or (
            not example.positives and {*example.history, *example.targets} <= {*sequence.items}
        ):
            return sequence
    raise AssertionError(example)


# --- examples ---------------------------------------------------------------------------------------------------------


def test_next_item_windows_are_runs_of_saves_and_show_nothing_at_or_after_what_is_asked(world):
    found = drawn(world, "next-item")
    for example in found:
        items = owner_of(example).items
        first = items.index(example.history[0])
        assert items[first : first + len(example.history)] == example.history and len(example.history) == 4
        assert sorted({*example.asks}) == list(example.asks) and len(example.asks) == 3
        for ask, target in zip(example.asks, example.targets, strict=True):
            assert target == items[first + ask] and ask >= 1
            assert not {*example.history[:ask]} & {*items[first + ask :]}
    assert {ask for example in found for ask in example.asks} == {1, 2, 3, 4}
    assert {target for example in found for target in example.targets} >= {
        6,
        13,
        20,
        27,
    }  # the newest are asked for too


def test_board_titles_ask_before_any_item_and_after_few(world):
    found = drawn(world, "board-title")
    for example in found:
        board = owner_of(example)
        assert example.words == board.title and example.positives == board.items and board in BOARDS
        assert len(example.history) == 4 and len({*example.history, *example.targets}) <= len(board.items)
        for ask, target in zip(example.asks, example.targets, strict=True):
            assert target in board.items and target not in example.history[:ask]
    assert {ask for example in found for ask in example.asks} == {0, 1, 2, 3, 4}
    assert {owner_of(example).owner for example in found} == {"b0", "b1"}  # b2 has no title
    long = draw(world, "board-title", 8, 0, 0, replace(SHAPE, max_history=20))
    assert {len(example.history) for example in long} == {4}  # SEEDS, however much a history may hold


def test_text_queries_are_runs_of_the_items_own_words_and_twins_are_positives(world):
    found, lengths = drawn(world, "text-query"), set()
    for example in found:
        (target,), words = example.targets, example.words.split()
        own = text_of(target).split()
        assert (example.history, example.asks) == ((), (0,))
        assert any(own[n : n + len(words)] == words for n in range(len(own)))
        assert example.positives == ((1, 2) if target in (1, 2) else ())
        lengths.add(len(words))
    assert lengths == {1, 2, 3, 4, 5} and {1, 2} & {example.targets[0] for example in found}


def test_ranking_candidates_are_never_saved_and_hard_ones_come_first(world):
    assert world.hard_negatives is not None
    for example in drawn(world, "ranking"):
        saved = {*owner_of(example).items}
        target, *negatives = example.candidates
        assert (target,) == example.targets and target in saved and target not in example.history
        assert len(example.candidates) == 8 == len({*example.candidates}) and not saved & {*negatives}
        hard = {*world.hard_negatives[target].tolist()} - saved
        assert len(hard & {*negatives}) >= min(len(hard), 3)
        if owner_of(example) in USERS:
            assert {35, 36} & {*negatives}  # shown and not saved


def test_describe_and_text_queries_spare_what_the_language_check_keeps(world):
    kept = held_out_for_language(world.recommender.vectors.ids)
    described = {n for n in range(ITEMS) if n % 5 and not kept[n]}
    assert any(kept[n] for n in range(ITEMS) if n % 5)  # there is something to spare
    for task in ("describe", "text-query"):
        assert {example.targets[0] for example in drawn(world, task, 60)} == described


def test_a_batch_depends_on_seed_and_step_alone(stock, store, world):
    weights = {task: 1 / 6 for task in (*RETRIEVAL, "ranking", "describe")}
    items = Items(world.matrix, [world.matrix] * FOLDS)
    module = Objective(world, CONFIG, items)
    steps = [module.draw(weights, 4, 1, step) for step in range(12)]
    np.random.seed(3)  # a state that must not matter
    torch.manual_seed(3)
    other = Objective(make_world(stock, store), CONFIG, items)
    for step in (7, 2, 11):
        again = other.draw(weights, 4, 1, step)
        assert (again.task, again.examples, again.fold) == (steps[step].task, steps[step].examples, steps[step].fold)
        np.testing.assert_array_equal(again.sample, steps[step].sample)
    assert len({batch.task for batch in steps}) > 2
    for task in (*RETRIEVAL, "ranking"):
        assert draw(world, task, 4, 1, 7, SHAPE) != draw(world, task, 4, 1, 8, SHAPE)
        assert draw(world, task, 4, 1, 7, SHAPE) != draw(world, task, 4, 2, 7, SHAPE)


# --- queries and losses -----------------------------------------------------------------------------------------------


def served_queries(world: World, examples: Sequence[Any], matrix: np.ndarray) -> np.ndarray:
    """One request after another, as they are served: no layout, no packing, one ask each."""
    given = world.recommender
    store = replace(given.vectors, matrix=matrix)
    recommender = Recommender(given.model, given.processor, store, given.max_history, given.text_vectors)
    return np.concatenate([recommender.query_vectors([e.history[:ask]], [e.words]) for e in examples for ask in e.asks])


@pytest.mark.parametrize("fold", [SERVED, 0])
@pytest.mark.parametrize("task", RETRIEVAL)
def test_packed_asks_read_the_same_as_separate_requests(trained, task, fold, monkeypatch):
    other = normalise(np.random.default_rng(8).normal(size=(ITEMS, DIM))).astype(np.float32)
    items = Items(trained.matrix, [other])
    module, rows = Objective(trained, CONFIG, items), []
    pack = trained.recommender.processor.packed
    monkeypatch.setattr(trained.recommender.processor, "packed", lambda *a: rows.append(pack(*a)) or rows[-1])
    examples = draw(trained, task, 8, 0, 1, SHAPE)
    with torch.no_grad():
        found, order = module._queries(examples, fold)
    assert len(rows[0][0]["input_ids"]) < len(examples) and order != []
    assert sorted(map(repr, order)) == sorted(map(repr, examples))
    want = served_queries(trained, order, items.all(fold).numpy())
    assert len(want) == sum(len(example.asks) for example in examples)
    np.testing.assert_allclose(found.numpy(), want, atol=1e-5)


def test_before_any_item_a_titled_board_starts_at_its_title(world):
    """And an untrained model's later asks at the plain mean of title and items."""
    module, vectors = Objective(world, CONFIG), world.matrix
    with torch.no_grad():
        found, order = module._queries(draw(world, "board-title", 8, 0, 0, SHAPE), SERVED)
    asked = [(example.words, example.history[:ask]) for example in order for ask in example.asks]
    assert any(not shown for _, shown in asked) and any(shown for _, shown in asked)
    for query, (title, shown) in zip(found.numpy(), asked, strict=True):
        want = told([title])[0] + sum(vectors[item] for item in shown)
        np.testing.assert_allclose(query, want / np.linalg.norm(want), atol=1e-6)


@pytest.mark.parametrize("task", RETRIEVAL)
def test_the_loss_by_hand(trained, task):
    """Softmax over all items but the example's other positives and what it has shown; an example counts once."""
    other = normalise(np.random.default_rng(8).normal(size=(ITEMS, DIM))).astype(np.float32)
    module = Objective(trained, CONFIG, Items(trained.matrix, [other]))
    examples, want = draw(trained, task, 6, 2, 4, SHAPE), 0.0
    for example in examples:
        queries = served_queries(trained, [example], other)
        for query, ask, target in zip(queries, example.asks, example.targets, strict=True):
            barred = ({*example.positives} | {*example.history[:ask]}) - {target}
            logits = {n: float(query @ other[n]) / CONFIG.temperature for n in range(ITEMS) if n not in barred}
            want += (np.log(np.exp([*logits.values()]).sum()) - logits[target]) / len(example.asks)
    batch = StepBatch(task, examples, np.zeros(0, np.int64), fold=0)
    with torch.no_grad():
        assert float(module(batch, 0, 6)) == pytest.approx(want, rel=1e-4)
        parts = [float(module(batch, *bounds)) for bounds in ((0, 2), (2, 6))]
    assert sum(parts) == pytest.approx(want, rel=1e-4)


# --- an untrained model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["", "red flag"])
def test_an_untrained_models_ranking_is_content_knn(world, title):
    """All of the catalogue in the order of cosine to the mean of what is known, by retrieval and by ranking."""
    recommender, vectors = world.recommender, world.matrix
    for history in ([3], [8, 30, 14], [1, 2, 3, 4]):
        known = [vectors[item] for item in history] + ([told([title])[0]] if title else [])
        mean = np.mean(known, axis=0, dtype=np.float64)
        scores = vectors @ (mean / np.linalg.norm(mean))
        knn = np.argsort(-scores, kind="stable").tolist()
        (query,) = recommender.query_vectors([history], [title])
        assert np.argsort(-(vectors @ query), kind="stable").tolist() == knn
        ranked = recommender.rank(history, range(ITEMS), title)
        assert np.argsort(-ranked, kind="stable").tolist() == knn
        np.testing.assert_allclose(ranked, scores, atol=1e-6)


# --- validation -------------------------------------------------------------------------------------------------------


def test_new_arrivals_are_asked_among_what_nobody_has_saved(world, monkeypatch):
    """The title says item 0; among all items 0 wins, among the new ones the nearest of them."""
    vectors = world.matrix
    monkeypatch.setattr(world.recommender, "text_vectors", lambda texts: vectors[[0] * len(texts)])
    cosine = vectors @ vectors[0]
    best = NEW[int(np.argmax(cosine[list(NEW)]))]
    among_all = int((cosine > cosine[best]).sum())  # places before it
    assert among_all > 0 and not world.warm[list(NEW)].any() and world.warm.sum() == ITEMS - len(NEW)
    assert ndcg(world, [Query("new", (), (best,), "red flag")]) == {"ndcg@10": 1.0, "hr@10": 1.0}
    mixed = ndcg(world, [Query("mixed", (), (best, 1), "red flag")])[
        "ndcg@10"
    ]  # one of its items is known: all compete
    places = [int((cosine > cosine[item]).sum()) for item in (best, 1)]
    gain = sum(1 / np.log2(place + 2) for place in places if place < 10)
    assert mixed == pytest.approx(gain / (1 + 1 / np.log2(3)))
    others = [item for item in NEW if item != best]  # what a new board shows is not found again
    shown = ndcg(world, [Query("shown", tuple(others), (best,))])
    assert shown["ndcg@10"] == 1.0


# --- folds and residuals ----------------------------------------------------------------------------------------------


def owners(count: int, strange: frozenset[str] = frozenset()) -> list[TasteSequence]:
    """Boards of four items; those in `strange` hold others."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([number, f"o{number}" in strange])
        items = tuple(int(i) for i in rng.permutation(ITEMS)[:4])
        made.append(TasteSequence("board-completion", f"o{number}", f"title {number}", items))
    return made


def test_an_owner_reads_vectors_without_its_own_saves(world, store, monkeypatch):
    strange = frozenset(f"o{n}" for n in range(30) if fold_of(f"o{n}", FOLDS) == 1)
    before, after = fold_vectors(store, owners(30), FOLDS), fold_vectors(store, owners(30, strange), FOLDS)
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.allclose(before[0], after[0])  # the others may know them
    monkeypatch.setattr(world, "sequences", owners(30))
    module = Objective(world, CONFIG, Items(world.matrix, before))
    of = {s.items: s.owner for s in world.sequences}
    seen = set()
    for step in range(10):
        for task in ("board-completion", "board-title", "ranking"):
            batch = module.draw({task: 1.0}, 4, 0, step)
            assert {fold_of(of[example.positives], FOLDS) for example in batch.examples} == {batch.fold}
            seen.add(batch.fold)
    assert seen == {0, 1}


def test_a_task_without_owners_in_a_fold_is_not_drawn_there(world, monkeypatch):
    """Else its owners would read vectors that are made of their own saves."""
    lone = [s for s in owners(30) if fold_of(s.owner, FOLDS) == 1]
    monkeypatch.setattr(world, "sequences", lone)
    module = Objective(world, CONFIG, Items(world.matrix, [world.matrix] * FOLDS))
    assert {module.draw({"board-title": 1.0}, 4, 0, step).fold for step in range(10)} == {1}
    assert {module.draw({"text-query": 1.0}, 4, 0, step).fold for step in range(10)} == {0, 1}


def test_no_folds_without_factors_of_our_own_making(store):
    assert len(fold_vectors(store, owners(9), 3)) == 3
    assert fold_vectors(store, owners(9), 1) == []
    assert fold_vectors(replace(store, manifest=None), owners(9), 3) == []
    assert store.manifest is not None
    foreign = {key: value for key, value in store.manifest.config.items() if key != "graph_weight"}
    assert (
        fold_vectors(replace(store, manifest=store.manifest.model_copy(update={"config": foreign})), owners(9), 3) == []
    )


def with_residual(world: World, folds: Sequence[np.ndarray] = ()) -> Items:
    items = Items(world.matrix, folds, world.warm)
    assert items.residual is not None
    torch.manual_seed(2)
    torch.nn.init.normal_(items.residual, std=0.5)
    return items


def test_residuals_move_what_was_saved_and_leave_newcomers_exactly(world):
    rounded = world.matrix.astype(np.float16).astype(np.float32)  # as stores keep them: not quite of length 1
    folds = [rounded[::-1].copy()]
    items = with_residual(world, folds)
    items.sets[-1] = torch.from_numpy(rounded)
    for fold, given in ((SERVED, rounded), (0, folds[0])):
        found = items.all(fold)
        new = ~world.warm
        np.testing.assert_array_equal(found.detach().numpy()[new], given[new])
        moved = torch.from_numpy(given) + items.residual
        want = torch.nn.functional.normalize(moved, dim=-1).detach().numpy()
        np.testing.assert_allclose(found.detach().numpy()[~new], want[~new], atol=1e-6)
        rows = np.array([39, 0, 5, 36])
        assert torch.equal(items.rows(rows, fold), found[torch.from_numpy(rows)])
    items.all()[:, 0].sum().backward()
    assert items.residual is not None and items.residual.grad is not None
    assert not items.residual.grad[~world.warm].any() and items.residual.grad[world.warm].any(dim=1).all()


def test_learned_vectors_are_published_and_answer_as_they_did(stock, store, tmp_path):
    world = make_world(stock, store, trained=True)
    model, processor = world.recommender.model, world.recommender.processor
    queries = [Query(s.owner, s.items[:3], s.items[3:], s.title) for s in world.sequences if len(s.items) > 3]
    plain, items = ndcg(world, queries), with_residual(world)
    learned = ndcg(world, queries, items)
    assert learned != plain
    own_vectors(tmp_path / "model", world, items, {"graph": "g"})
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    opened = Recommender.open(tmp_path / "model", tmp_path / "model" / "vectors", "cpu", "float32", SHAPE.max_history)
    opened.text_vectors = told
    np.testing.assert_array_equal(opened.vectors.float32()[list(NEW)], world.matrix[list(NEW)].astype(np.float16))
    assert (opened.vectors.content_dim, opened.vectors.encoder) == (CONTENT, opened.model.config.tower["encoder"])
    assert opened.vectors.manifest is not None and opened.vectors.manifest.config["content_encoder"] == "eyes"
    assert ndcg(World(opened, world.texts, world.sequences), queries) == pytest.approx(learned, abs=1e-6)
    with pytest.raises(UserError, match="the model was swapped for"):  # the vectors it was not trained on
        opened.processor.attach(store)


def test_post_training_publishes_the_vectors_of_its_best_weights(project, tmp_path):
    """Through the command: what is opened afterwards gives the validation that the manifest tells."""
    from train.loop import LoopConfig
    from train.posttrain import posttrain
    from train.world import open_world

    out, given = tmp_path / "model", (project / "catalog", project / "graph")
    rates = {"items": 0.3, "tower": 0.0, "heads": 0.0, "start": 0.0}
    posttrain(
        project / "swapped", project / "vectors", *given, out, language="frozen",
        objective=ObjectiveConfig({"board-completion": 1.0}, residual=True),
        loop=LoopConfig(steps=6, batch_size=8, warmup=1, precision="no", eval_every=2, learning_rates=rates),
    )  # fmt: skip
    metrics, old = read_manifest(out, "model", "").metrics, ItemVectors.open(project / "vectors").float32()
    assert metrics["valid_best"]["ndcg@10"] >= metrics["valid_start"]["ndcg@10"]
    world = open_world(out, out / "vectors", *given, False, torch.device("cpu"))
    assert ndcg(world, world.valid_queries()) == pytest.approx(metrics["valid_best"], abs=1e-6)
    assert metrics["best_step"] > 0 and np.abs(world.matrix - old).max() > 0.05
