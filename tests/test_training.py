"""Training on a tiny model: exact resume, processes, what learns and what does not."""

import json

import numpy as np
import pytest
import torch

from navigator.contracts import UserError
from train.loop import LoopConfig, make_accelerator, training_loop
from train.objective import Objective, ObjectiveConfig
from train.parts import learning_rates, split_parts
from train.stage import ndcg
from train.tasks import check_tasks, draw
from training_worlds import SHAPE, make_world, train, weights_of


def test_interrupted_and_resumed_equals_uninterrupted(stock, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    _, parts, whole = train(stock, tmp_path / "whole")
    for stop in (3, 5):  # killed twice: once off a checkpoint, once after a resume
        with pytest.raises(KeyboardInterrupt):
            train(stock, tmp_path / "broken", stop_at=stop)
    _, resumed_parts, resumed = train(stock, tmp_path / "broken")
    assert (whole["steps"], whole["last_loss"], whole["first_loss"]) == (6, resumed["last_loss"], resumed["first_loss"])
    for name, value in weights_of(parts).items():
        assert torch.equal(value, weights_of(resumed_parts)[name]), name
    logs = [
        [json.loads(x) for x in (tmp_path / d / "metrics.jsonl").read_text().splitlines()] for d in ("whole", "broken")
    ]
    assert [(r["step"], r["task"], r["loss"]) for r in logs[0]] == [(r["step"], r["task"], r["loss"]) for r in logs[1]]


def test_accumulation_changes_nothing_but_memory(stock, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    config = {"steps": 3, "batch_size": 4, "warmup": 1, "precision": "no", "eval_every": 0}
    _, one, _ = train(stock, tmp_path / "a", LoopConfig(**config))
    _, two, _ = train(stock, tmp_path / "b", LoopConfig(**config, accumulate=2))
    for name, value in weights_of(one).items():
        torch.testing.assert_close(value, weights_of(two)[name], atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize(("language", "learns"), [("frozen", False), ("lora", True), ("full", True)])
def test_exactly_the_declared_parts_learn(stock, tmp_path, language, learns):
    before = make_world(stock).recommender.model.state_dict()
    world, parts, _ = train(
        stock, tmp_path, LoopConfig(steps=5, batch_size=4, precision="no", eval_every=0, seed=1), language=language
    )
    moved = {
        name
        for name, value in world.recommender.model.state_dict().items()
        if name in before and not torch.equal(value, before[name])
    }
    lora = {name for name in parts["language"] if ".lora_B." in name and parts["language"][name].abs().sum() > 0}
    assert {"model.visual.input.weight", "retrieval_head.weight", "ranking_head.weight"} <= moved
    in_language = {name for name in moved if "language_model" in name or "lm_head" in name}
    assert bool(lora) == (language == "lora")
    assert bool(in_language) == (language == "full")
    assert learns == bool(lora or in_language)


def test_sampled_softmax_trains_too(stock, tmp_path):
    _, _, result = train(stock, tmp_path, full_softmax_below=0, negatives=8)
    assert np.isfinite(result["last_loss"])


def test_training_lowers_the_loss_and_keeps_the_best_weights(stock, tmp_path):
    world = make_world(stock)
    rates = {"tower": 1e-2, "heads": 3e-2, "start": 1e-2, "language": 5e-3}
    loop = LoopConfig(
        steps=40, batch_size=8, warmup=2, precision="no", eval_every=10, seed=2, learning_rates=learning_rates(rates)
    )  # fmt: skip
    parts, _ = split_parts(world.recommender.model, "full")
    module = Objective(world, ObjectiveConfig({"board-completion": 1.0}))
    queries = world.valid_queries()
    result = training_loop(
        make_accelerator(loop), module, parts, lambda step: module.draw({"board-completion": 1.0}, 8, 2, step), loop, tmp_path,
        lambda: ndcg(world, queries),
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert result["valid_best"]["ndcg@10"] == max(row["valid"]["ndcg@10"] for row in rows if "valid" in row)
    assert ndcg(world, queries)["ndcg@10"] == pytest.approx(result["valid_best"]["ndcg@10"])


def test_training_never_ends_below_its_start(stock, tmp_path):
    """The weights of step 0 are among those that are kept, and come back when every step made things worse."""
    rates = dict.fromkeys(learning_rates({}), 1.0)
    loop = LoopConfig(
        steps=4, batch_size=4, warmup=1, precision="no", eval_every=2, max_grad_norm=0, seed=3, learning_rates=rates
    )  # fmt: skip
    before = make_world(stock).recommender.model.state_dict()
    validations, told = [], iter([0.5, 0.4, 0.3])  # told, so that the start is the best for certain

    def validate() -> dict[str, float]:
        validations.append(next(told))
        return {"ndcg@10": validations[-1]}

    world = make_world(stock)
    parts, _ = split_parts(world.recommender.model, "full")
    module = Objective(world, ObjectiveConfig({"board-completion": 1.0}))

    def batch(step: int):
        moved = world.recommender.model.query_start.fade.detach() != before["query_start.fade"]
        assert bool(moved) == (step > 0)
        return module.draw({"board-completion": 1.0}, 4, 3, step)

    result = training_loop(make_accelerator(loop), module, parts, batch, loop, tmp_path, validate)
    assert (result["best_step"], result["valid_best"], validations) == (0, {"ndcg@10": 0.5}, [0.5, 0.4, 0.3])
    for name, value in world.recommender.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_examples_never_show_what_is_held_out_or_asked(stock):
    world = make_world(stock)
    for task in ("board-completion", "next-item", "ranking"):
        for step in range(20):
            for example in draw(world, task, 8, 0, step, SHAPE):
                shown = {*example.history, *example.candidates}
                for ask, target in zip(example.asks, example.targets, strict=True):
                    assert target not in example.history[:ask]
                assert not {28, 29} & ({*example.targets} | set(example.history))
                assert len(example.history) <= 4
                assert not set(example.positives) & set(example.candidates[1:])
                assert len(set(example.candidates)) == len(example.candidates) and shown
    assert draw(world, "ranking", 8, 0, 5, SHAPE) == draw(world, "ranking", 8, 0, 5, SHAPE)


def test_bad_mixtures_are_refused(stock):
    world = make_world(stock)
    with pytest.raises(UserError, match=r"unknown task 'dance'.*allowed are next-item"):
        check_tasks({"dance": 1.0}, world)
    world.sequences = []
    with pytest.raises(UserError, match="the split is empty"):
        check_tasks({"board-completion": 1.0}, world)
