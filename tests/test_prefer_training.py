"""Training on pairs: margins widen, the reference stays, passes are shared, interruptions leave no trace."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from prefer_worlds import make_world, needs_trl, trl_loss
from train.loop import LoopConfig
from train.parts import learning_rates, split_parts
from train.prefer.__main__ import RATES
from train.prefer.config import PreferConfig
from train.prefer.objective import Preference, pair_log_probs
from train.prefer.pairs import Pairs, Question, graph_pairs

LOOP = LoopConfig(
    steps=12, batch_size=8, warmup=1, precision="no", save_every=2, eval_every=0, learning_rates=learning_rates(RATES)
)


def cpu() -> Accelerator:
    """Made when it is needed: another file of tests may have reset the state that all accelerators of a process share."""
    return Accelerator(cpu=True)


def make_module(stock: Path, score: str, language: str = "lora"):
    world = make_world(stock)
    train, valid = graph_pairs(world, "shown", 9, 20, 0, 0)
    torch.manual_seed(11)
    parts, _ = split_parts(world.recommender.model, language, 2)
    config = PreferConfig(score=score, beta=0.5)
    loss = trl_loss(world.recommender.model, score=score, beta=0.5)
    return Preference(world, train, valid, config, loss), parts


def gaps(module: Preference, pairs: Pairs) -> torch.Tensor:
    with torch.no_grad():
        logits = module.logits(pairs, np.arange(len(pairs)))
    return (logits[:, 0] - logits[:, 1]) * module.config.temperature


@needs_trl
@pytest.mark.parametrize("score", ["rank", "retrieve"])
def test_training_widens_the_margin_and_the_reference_stays_the_start(stock, tmp_path, score):
    from dataclasses import replace

    from train.loop import training_loop

    module, parts = make_module(stock, score)
    module.model.train()
    module.remember(np.arange(len(module.pairs)), cpu())
    before = gaps(module, module.pairs)
    rates = dict.fromkeys(learning_rates({}), 1e-2)
    loop = replace(LOOP, learning_rates=rates)
    draw = lambda step: module.draw(loop.batch_size, 0, step)  # noqa: E731
    result = training_loop(cpu(), module, parts, draw, loop, tmp_path)
    after = gaps(module, module.pairs)
    assert float((after - before).mean()) > 0.05 and float(after.mean()) > float(before.mean())
    assert result["last_loss"] < result["first_loss"] == pytest.approx(math.log(2), abs=1e-5)
    fresh, _ = make_module(stock, score)
    rows = np.arange(len(module.pairs))
    with torch.no_grad():
        start = pair_log_probs(fresh.logits(fresh.pairs, rows))
    torch.testing.assert_close(module.reference, start, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(pair_log_probs(module.logits(module.pairs, rows).detach()), start, atol=1e-2)


@needs_trl
@pytest.mark.parametrize("score", ["rank", "retrieve"])
def test_pairs_of_one_request_share_a_pass_and_score_as_if_alone(stock, score):
    module, _ = make_module(stock, score)
    torch.nn.init.normal_(module.model.ranking_head.weight)  # untrained heads are zero
    torch.nn.init.normal_(module.model.retrieval_head.weight)
    ann, bob = Question("", (0, 1, 2)), Question("red", (5,))
    rows = [(ann, 3, 10, 1.0), (ann, 11, 3, 1.0), (bob, 3, 4, 1.0), (ann, 11, 10, 1.0)]
    pairs = Pairs.of(rows)
    together = module._measured(pairs, np.array([3, 0, 2, 1]))
    alone = torch.cat([module._measured(Pairs.of([rows[i]]), np.array([0])) for i in (3, 0, 2, 1)])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-4)
    assert alone.std() > 0.1


@needs_trl
def test_figures_of_held_out_pairs_are_what_a_plain_loop_finds(stock):
    module, _ = make_module(stock, "rank", "frozen")
    module.remember(np.zeros(0, np.int64), cpu())
    gap = [float(gaps(module, module.valid.rows(np.array([i])))[0]) for i in range(len(module.valid))]
    found = module.figures()
    assert found["pair_accuracy"] == np.mean([g > 0 for g in gap])
    assert found["pair_margin"] == pytest.approx(np.mean(gap), abs=1e-5)
    assert found["pair_loss"] == pytest.approx(math.log(2), abs=1e-5) and found["rewards/margins"] == pytest.approx(
        0, abs=1e-5
    )


@needs_trl
def test_interrupted_and_resumed_equals_uninterrupted(stock, tmp_path):
    from train.loop import training_loop

    def run(work: Path, stop: int | None = None):
        work.mkdir(exist_ok=True)
        module, parts = make_module(stock, "rank")
        module.model.train()
        module.remember(np.arange(len(module.pairs)), cpu())

        def draw(step: int):
            if step == stop:
                raise KeyboardInterrupt
            return module.draw(LOOP.batch_size, 0, step)

        training_loop(cpu(), module, parts, draw, LOOP, work)
        return {name: p.detach().clone() for part in parts.values() for name, p in part.items()}

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop=7)
    resumed = run(tmp_path / "broken")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@needs_trl
def test_untrained_scores_are_differences_from_where_a_request_starts(stock):
    """Before training the start is all there is: the unit mean of history and title, or nothing."""
    module, _ = make_module(stock, "retrieve", "frozen")
    pairs = Pairs.of([(Question("red flag", ()), 1, 2, 1.0), (Question("red flag", (3, 4)), 1, 2, 1.0)])
    vectors, title = module.world.matrix, module.world.matrix[9]
    assert gaps(module, pairs)[0] == pytest.approx(0, abs=1e-6)
    module.world.recommender.text_vectors = lambda texts: np.stack([title] * len(texts))
    for found, known in zip(gaps(module, pairs), (title, vectors[3] + vectors[4] + title), strict=True):
        start = known / np.linalg.norm(known)
        assert float(found) == pytest.approx(start @ (vectors[1] - vectors[2]), abs=1e-5)
