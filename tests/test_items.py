"""Folds that hide an owner's own saves, and residuals that leave newcomers where they are."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from graph.crossfit import fold_of
from navigator.contracts import ItemVectors, UserError, read_manifest
from navigator.contracts.signals import Query, TasteSequence
from navigator.recommend import Recommender
from tasks_worlds import CONFIG, CONTENT, FOLDS, ITEMS, NEW, SHAPE, make_world, told
from train.items import SERVED, Items, fold_vectors, own_vectors
from train.objective import Objective, ObjectiveConfig
from train.stage import ndcg
from train.world import World


def owners(count: int, strange: frozenset[str] = frozenset()) -> list[TasteSequence]:
    """Boards of four items; those in `strange` hold others."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([number, f"o{number}" in strange])
        items = tuple(int(i) for i in rng.permutation(ITEMS)[:4])
        made.append(TasteSequence("board-completion", f"o{number}", f"title {number}", items))
    return made


def test_an_owner_reads_vectors_without_its_own_saves(task_world, task_store, monkeypatch):
    strange = frozenset(f"o{n}" for n in range(30) if fold_of(f"o{n}", FOLDS) == 1)
    before, after = fold_vectors(task_store, owners(30), FOLDS), fold_vectors(task_store, owners(30, strange), FOLDS)
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.allclose(before[0], after[0])  # the others may know them
    monkeypatch.setattr(task_world, "sequences", owners(30))
    module = Objective(task_world, CONFIG, Items(task_world.matrix, before))
    of = {s.items: s.owner for s in task_world.sequences}
    seen = set()
    for step in range(10):
        for task in ("board-completion", "board-title", "ranking"):
            batch = module.draw({task: 1.0}, 4, 0, step)
            assert {fold_of(of[example.positives], FOLDS) for example in batch.examples} == {batch.fold}
            seen.add(batch.fold)
    assert seen == {0, 1}


def test_a_task_without_owners_in_a_fold_is_not_drawn_there(task_world, monkeypatch):
    """Else its owners would read vectors that are made of their own saves."""
    lone = [s for s in owners(30) if fold_of(s.owner, FOLDS) == 1]
    monkeypatch.setattr(task_world, "sequences", lone)
    module = Objective(task_world, CONFIG, Items(task_world.matrix, [task_world.matrix] * FOLDS))
    assert {module.draw({"board-title": 1.0}, 4, 0, step).fold for step in range(10)} == {1}
    assert {module.draw({"text-query": 1.0}, 4, 0, step).fold for step in range(10)} == {0, 1}


def test_no_folds_without_factors_of_our_own_making(task_store):
    assert len(fold_vectors(task_store, owners(9), 3)) == 3
    assert fold_vectors(task_store, owners(9), 1) == []
    assert fold_vectors(replace(task_store, manifest=None), owners(9), 3) == []
    assert task_store.manifest is not None
    ours = task_store.manifest.config
    foreign = task_store.manifest.model_copy(update={"config": {k: v for k, v in ours.items() if k != "graph_weight"}})
    assert fold_vectors(replace(task_store, manifest=foreign), owners(9), 3) == []


def with_residual(world: World, folds: Sequence[np.ndarray] = ()) -> Items:
    items = Items(world.matrix, folds, world.warm)
    assert items.residual is not None
    torch.manual_seed(2)
    torch.nn.init.normal_(items.residual, std=0.5)
    return items


def test_residuals_move_what_was_saved_and_leave_newcomers_exactly(task_world):
    rounded = task_world.matrix.astype(np.float16).astype(np.float32)  # as stores keep them: not quite of length 1
    folds = [rounded[::-1].copy()]
    items = with_residual(task_world, folds)
    items.sets[-1] = torch.from_numpy(rounded)
    for fold, given in ((SERVED, rounded), (0, folds[0])):
        found = items.all(fold)
        new = ~task_world.warm
        np.testing.assert_array_equal(found.detach().numpy()[new], given[new])
        moved = torch.from_numpy(given) + items.residual
        want = torch.nn.functional.normalize(moved, dim=-1).detach().numpy()
        np.testing.assert_allclose(found.detach().numpy()[~new], want[~new], atol=1e-6)
        rows = np.array([39, 0, 5, 36])
        assert torch.equal(items.rows(rows, fold), found[torch.from_numpy(rows)])
    items.all()[:, 0].sum().backward()
    assert items.residual is not None and items.residual.grad is not None
    assert not items.residual.grad[~task_world.warm].any() and items.residual.grad[task_world.warm].any(dim=1).all()


def test_learned_vectors_are_published_and_answer_as_they_did(stock, task_store, tmp_path):
    world = make_world(stock, task_store, trained=True)
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
        opened.processor.attach(task_store)


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
