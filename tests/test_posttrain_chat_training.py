"""Learning when to search: the head, the threshold, what is kept, and what a trained folder says of itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import train.chat
import train.chat_valid
from navigator.emission import EmittingHead, add_emission, emits, retrieve_log_odds
from navigator.swap import open_swapped
from tasks_worlds import CONFIG, SHAPE, make_world
from train.chat import draw_chat, draw_searches, talk_pool
from train.chat_step import answer_states, self_answered
from train.chat_valid import FARTHEST, HeldOut, Measured, settle
from train.config import LoopConfig
from train.loop import make_accelerator, training_loop
from train.objective import Objective
from train.parts import learning_rates, split_parts, without_rate

# The tiny tokenizer knows few words: wishes are blue, talk is of cats.
BLUE, CAT = "blue " * 6, "cat " * 6
LINES = {
    "search": [BLUE + "{words}"], "like": [BLUE], "like_words": [BLUE + "{words} of"], "again": [BLUE + "blue {words}"],
    "refine": [BLUE + "of {words}"],
    "talk": [CAT], "about_words": [CAT + "of {words}"], "about_item": [CAT + "of"], "after": [CAT + "cat"],
}  # fmt: skip
LOOP = LoopConfig(
    steps=120, batch_size=12, warmup=1, precision="no", eval_every=40, save_every=100,
    learning_rates=learning_rates({"emission": 5e-2, "tower": 0.0, "heads": 5e-2, "maps": 1e-2}),
)  # fmt: skip


@pytest.fixture
def lines(monkeypatch):
    monkeypatch.setattr(train.chat, "turns", lambda part: LINES)
    monkeypatch.setattr(train.chat, "EARLIER", 0.0)
    monkeypatch.setattr(train.chat_valid, "SEARCHES", 8)
    monkeypatch.setattr(train.chat_valid, "TALKS", 10)


def prompts(world, count: int = 6):
    rng = np.random.default_rng(2)
    return [*draw_searches(world, "train", count, rng, SHAPE), *talk_pool(world, "train", count, 0)]


def ends(world, examples, place: int) -> torch.Tensor:
    """(B, H) hidden states before the answer (place 0) or at its last token (-1)."""
    found, _ = answer_states(world, examples, lambda rows: torch.from_numpy(world.recommender.pixels(rows)), {})
    return torch.stack([end[place] for end in found])


def decisions(world, examples) -> torch.Tensor:
    return ends(world, examples, 0)


def test_a_new_head_changes_nothing_and_a_learned_one_a_single_logit(stock, task_store):
    world = make_world(stock, task_store)
    model = world.recommender.model
    token, tied = model.config.retrieve_token_id, model.lm_head.weight.data_ptr()
    hidden = torch.randn(5, 3, model.lm_head.in_features)
    with torch.no_grad():
        before = model.lm_head(hidden)
        add_emission(model)
        assert torch.equal(model.lm_head(hidden), before) and model.lm_head.weight.data_ptr() == tied
        model.lm_head.emission.bias.fill_(2.0)
        changed = model.lm_head(hidden) - before
        torch.testing.assert_close(changed[..., token], torch.full((5, 3), 2.0))
        changed[..., token] = 0
        assert not changed.any()
        head = model.lm_head
        add_emission(model)
        assert model.lm_head is head  # what it learned is not forgotten
        odds = retrieve_log_odds(model, hidden[0])
        chance = model.lm_head(hidden[0]).softmax(-1)[:, token]
        torch.testing.assert_close(odds.sigmoid(), chance)


def test_a_saved_head_is_opened_again_and_stays_tied(stock, task_store, tmp_path):
    world = make_world(stock, task_store)
    model = world.recommender.model
    add_emission(model)
    torch.nn.init.normal_(model.lm_head.emission.weight)
    model.config.emits_retrieve, model.config.retrieve_threshold = True, 0.25
    model.save_pretrained(tmp_path)
    world.recommender.processor.save_pretrained(tmp_path)
    opened, _ = open_swapped(tmp_path)
    assert isinstance(opened.lm_head, EmittingHead)
    assert (opened.config.emits_retrieve, opened.config.retrieve_threshold) == (True, 0.25)
    assert opened.lm_head.weight.data_ptr() == opened.get_input_embeddings().weight.data_ptr()
    hidden = torch.randn(4, model.lm_head.in_features)
    with torch.no_grad():
        assert torch.equal(opened.lm_head(hidden), model.lm_head(hidden))
        assert emits(opened, hidden).tolist() == (retrieve_log_odds(model, hidden) >= np.log(0.25 / 0.75)).tolist()
        chosen = opened.generate(torch.tensor([[7, 9]]), max_new_tokens=1, do_sample=False)
        opened.lm_head.emission.bias.fill_(1e4)
        assert (
            opened.generate(torch.tensor([[7, 9]]), max_new_tokens=1, do_sample=False)[0, -1]
            == opened.config.retrieve_token_id
        )
    assert chosen.shape == (1, 3)
    opened.config.emits_retrieve = False
    with pytest.raises(ValueError, match="has not learned when to search"):
        emits(opened, hidden)


@pytest.mark.parametrize("wanted, unwanted", [([3, 1, 0.5], [-2, 0.8]), ([50], [30]), ([-1], [4, 5]), ([2, 2], [2])])
def test_the_border_has_the_best_f1_within_reach(wanted, unwanted):
    measured = Measured(np.array(wanted, float), np.array(unwanted, float), None)
    border = measured.border()

    def f1(at: float) -> float:
        hits, false = sum(w >= at for w in wanted), sum(u >= at for u in unwanted)
        return 2 * hits / (hits + false + len(wanted))

    assert -FARTHEST <= border <= FARTHEST
    assert measured.figures() == {"chat": f1(border), "emission_f1": f1(border)}
    assert f1(border) == max(f1(at) for at in np.linspace(-FARTHEST, FARTHEST, 4001))


def test_rates_of_nothing_are_none():
    rates = Measured(np.array([-1.0]), np.array([-2.0]), 0.5).rates(3.0)
    assert (rates["precision"], rates["recall"], rates["f1"]) == (None, 0.0, 0.0)
    assert Measured(np.zeros(0), np.zeros(0), None).rates(0.0)["f1"] is None


def run(world, work: Path, language: str = "frozen", held=None, validate=None, loop: LoopConfig = LOOP):
    model = world.recommender.model
    add_emission(model)
    parts, _ = split_parts(model, language, 2)
    parts = without_rate(parts, loop.learning_rates)
    module = Objective(world, replace(CONFIG, chat_steps=10))
    module.talks = self_answered(world, talk_pool(world, "train", 16, 0), "")
    valid = HeldOut.of(world, "valid")
    model.train()
    result = training_loop(
        make_accelerator(loop), module, parts, lambda step: module.draw({"chat": 1.0}, loop.batch_size, 0, step), loop, work,
        validate or (lambda: valid.measured(world).figures()), held=held,
    )  # fmt: skip
    return parts, result, valid


def cosines(world, examples) -> float:
    """Mean of the queries, read at the emitted token, with what the wishes are for."""
    examples = [example for example in examples if example.asks]
    starts = world.recommender.starts([e.history for e in examples], [e.words for e in examples]).clone()
    asked = world.recommender.model.query(starts, ends(world, examples, -1)).numpy()
    return float((asked * world.matrix[[e.targets[0] for e in examples]]).sum(1).mean())


def learned(world):
    """The wishes that `run` draws."""
    pool = talk_pool(world, "train", 16, 0)
    return [e for step in range(10) for e in draw_chat(world, LOOP.batch_size, 0, step, CONFIG.shape, -1, pool)]


def test_it_learns_when_to_search_and_no_other_word_moves(stock, task_store, tmp_path, lines):
    world = make_world(stock, task_store)
    model = world.recommender.model
    examples = prompts(world)
    with torch.no_grad():
        hidden = decisions(world, examples)
        before, near = model.lm_head(hidden), cosines(world, learned(world))
    parts, result, valid = run(world, tmp_path)
    assert {*parts} == {"heads", "start", "maps", "language", "emission"} and not parts["language"]
    assert not any(p.requires_grad for p in model.model.parameters())
    assert result["valid_start"]["emission_f1"] < 0.95 < result["valid_best"]["emission_f1"]
    with torch.no_grad():
        assert cosines(world, learned(world)) > near + 0.05  # what it emits is also a better query
        assert torch.equal(decisions(world, examples), hidden)
        changed = model.lm_head(hidden) - before
    changed[:, model.config.retrieve_token_id] = 0
    assert not changed.any()
    told = settle(world, valid, 0)
    assert told["emits_retrieve"] and model.config.emits_retrieve
    assert 0 < model.config.retrieve_threshold < 1 and told["test"]["wanted"] > 0
    with torch.no_grad():
        right = emits(model, hidden) == torch.tensor([True] * 6 + [False] * 6)
    assert right.sum() >= 11  # of other conversations than the threshold was set by
    split_parts(model, "frozen")
    assert not model.config.emits_retrieve and model.config.retrieve_threshold is None  # until it is shown anew


def test_an_untrained_model_is_not_said_to_emit(stock, task_store):
    world = make_world(stock, task_store)
    add_emission(world.recommender.model)
    torch.nn.init.constant_(world.recommender.model.lm_head.emission.bias, -60.0)
    told = settle(world, HeldOut.of(world, "valid"), 0)
    assert not told["emits_retrieve"] and not world.recommender.model.config.emits_retrieve
    assert told["valid"]["recall"] == 0.0 and told["valid"]["precision"] is None


@pytest.mark.parametrize("missed, false, shown", [(0, 0, True), (3, 0, False), (0, 3, False)])
def test_precision_and_recall_must_both_be_enough(stock, task_store, monkeypatch, missed, false, shown):
    """Ten wishes at 2, ten remarks at -2, and some wishes or remarks far on the wrong side."""
    world = make_world(stock, task_store)
    found = Measured(np.array([2.0] * 10 + [-9.0] * missed), np.array([-2.0] * 10 + [9.0] * false), None)
    monkeypatch.setattr(HeldOut, "measured", lambda *_: found)
    told = settle(world, HeldOut([], [], [], []), 0)
    assert told["emits_retrieve"] == world.recommender.model.config.emits_retrieve == shown
    assert told["valid"]["hits"] == 10 and told["valid"]["false"] == false and told["test"] == told["valid"]


@pytest.mark.parametrize("fall, kept", [(0.05, 0), (0.2, 2)])
def test_weights_that_cost_a_held_figure_too_much_are_not_kept(stock, task_store, tmp_path, fall, kept):
    world = make_world(stock, task_store)
    figures = iter([{"chat": 0.0, "ndcg@10": 0.5}, {"chat": 1.0, "ndcg@10": 0.4}])
    loop = LoopConfig(**{**LOOP.__dict__, "steps": 2, "eval_every": 2, "batch_size": 2})
    _, result, _ = run(
        world, tmp_path, held={"ndcg@10": fall, "absent": 0.0}, validate=lambda: next(figures), loop=loop
    )
    assert result["best_step"] == kept and result["valid_start"]["ndcg@10"] == 0.5
