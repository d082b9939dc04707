"""The preference stage: pairs on a hand-made world, grades good and bad, TRL's loss by hand, and what a few steps do."""

import importlib.util
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator

from navigator.contracts import ItemVectors, UserError
from navigator.contracts.signals import TasteSequence
from navigator.recommend import Recommender
from navigator.swap import swap
from train.loop import LoopConfig
from train.parts import learning_rates, split_parts
from train.prefer.__main__ import RATES, prefer
from train.prefer.config import PreferConfig
from train.prefer.grades import grade_pairs, read_grades
from train.prefer.objective import Preference, pair_log_probs
from train.prefer.pairs import Pairs, Question, graph_pairs
from train.world import World

needs_trl = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="needs TRL: pip install 'navigator[prefer]'"
)
DIM, ITEMS = 6, 30
ITEM_INDEX = {f"i{n}": n for n in range(ITEMS)}
USERS = [
    TasteSequence("next-item", "ann", "", (0, 1, 2), (3,), (4,)),  # shown 10, 11
    TasteSequence("next-item", "bob", "", (5, 6), (), (7,)),  # shown 0, 12
    TasteSequence("next-item", "cat", "", (8, 9), (), ()),  # shown nothing
]
BOARD = TasteSequence("board-completion", "b", "red", (0, 1, 2), (), (3,))


def make_world(stock: Path | None = None, impressions: bool = True) -> World:
    """Three users and a board; item 13 is the hard negative of all, item 1 of items 0 and 2 as well."""
    recommender = None
    if stock is not None:
        vectors = np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        model, processor = swap(str(stock), DIM, "enc")
        recommender = Recommender(model, processor, ItemVectors(list(ITEM_INDEX), vectors, "enc", True))
    hard = np.full((ITEMS, 2), -1)
    hard[:, 0], hard[[0, 2], 1] = 13, 1
    shown = {"ann": [10, 11], "bob": [0, 12]} if impressions else {}
    return World(recommender, ["red flag"] * ITEMS, [BOARD, *USERS], hard, shown)  # type: ignore[arg-type]


def columns_of(pairs: Pairs) -> list[tuple[tuple[int, ...], int, int]]:
    """(history, chosen, rejected) of every pair."""
    columns = zip(pairs.question.tolist(), pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)
    return [(pairs.questions[number].history, chosen, rejected) for number, chosen, rejected in columns]


def rows_of(pairs: Pairs) -> set[tuple[tuple[int, ...], int, int]]:
    return set(columns_of(pairs))


def test_saved_over_shown_pairs_are_these_and_no_others():
    train, valid = graph_pairs(make_world(), "shown", 9, 20, 0, 0)
    assert rows_of(train) == {
        ((0,), 1, 10), ((0,), 1, 11), ((0, 1), 2, 10), ((0, 1), 2, 11), ((5,), 6, 0), ((5,), 6, 12),
    }  # fmt: skip
    assert rows_of(valid) == {((0, 1, 2), 3, 10), ((0, 1, 2), 3, 11)}
    assert all(question.title == "" for question in train.questions)


def test_nothing_saved_is_rejected_and_nothing_held_out_is_learned_from():
    rng = np.random.default_rng(1)
    users, shown = [], {}
    for n in range(20):
        items = rng.permutation(ITEMS).tolist()
        users.append(TasteSequence("next-item", f"u{n}", "", tuple(items[:8]), tuple(items[8:10]), (items[10],)))
        shown[f"u{n}"] = [*items[:3], *items[15:25]]  # a careless log: three of the saves among the impressions
    world = make_world()
    world.sequences, world.impressions = users, shown
    train, _ = graph_pairs(world, "shown", 4, 5, 0, 0)
    assert len(train) == 20 * 7 * 4
    for at, (history, chosen, rejected) in enumerate(columns_of(train)):  # users in order, 28 pairs each
        owner = users[at // 28]
        place = owner.items.index(chosen)
        assert history == owner.items[max(0, place - 5) : place]
        assert rejected in shown[owner.owner] and rejected not in owner.items
        assert not {*owner.valid, *owner.test} & {*history, chosen, rejected}


def test_pairs_are_limited_by_save_and_in_all_and_depend_on_the_seed_alone():
    assert len(graph_pairs(make_world(), "shown", 1, 20, 0, 0)[0]) == 3
    assert rows_of(graph_pairs(make_world(), "shown", 1, 1, 0, 4)[0]) == rows_of(
        graph_pairs(make_world(), "shown", 1, 1, 0, 4)[0]
    )
    users = [TasteSequence("next-item", f"u{n}", "", tuple(range(10))) for n in range(100)]
    world = make_world()
    world.sequences, world.impressions = users, {s.owner: [20, 21, 22] for s in users}
    assert len(graph_pairs(world, "shown", 3, 20, 0, 0)[0]) == 2700
    assert 400 < len(graph_pairs(world, "shown", 3, 20, 600, 0)[0]) < 800


def test_a_graph_without_impressions_is_refused_and_hard_negatives_are_a_choice():
    with pytest.raises(UserError, match=r"no impressions.*--impressions ACTION.*--grades.*--negatives hard"):
        graph_pairs(make_world(impressions=False), "shown", 8, 20, 0, 0)
    train, _ = graph_pairs(make_world(impressions=False), "hard", 9, 20, 0, 0)
    found = rows_of(train)
    assert ((1, 2), 0, 13) in found and ((0,), 1, 13) in found  # the board's other items; the user's earlier one
    assert {rejected for _, _, rejected in found} == {13}  # item 1 is near 0 and 2, but who saved those saved it too
    world = make_world()
    world.hard_negatives = None
    with pytest.raises(UserError, match="no hard negatives"):
        graph_pairs(world, "hard", 9, 20, 0, 0)


def test_a_draw_follows_the_weights_and_the_step_alone():
    question = Question("", (0,))
    pairs = Pairs.of([(question, 1, 2, 1.0), (question, 3, 4, 3.0)])
    drawn = pairs.draw(4000, 0, 7)
    assert drawn.mean() == pytest.approx(0.75, abs=0.03)
    assert np.array_equal(drawn, pairs.draw(4000, 0, 7)) and not np.array_equal(drawn, pairs.draw(4000, 0, 8))
    both = pairs + pairs
    assert len(both) == 4 and rows_of(both) == rows_of(pairs) and both.question.tolist() == [0, 0, 1, 1]


GOOD = [
    ("red", "i0|i1", "i2", "5"), ("red", "i0|i1", "i3", "3"), ("red", "i0|i1", "i4", "3"), ("red", "i0|i1", "i4", "4"),
    ("", "i5", "i6", "1"), ("", "i5", "i7", "1.5"),
]  # fmt: skip
BAD = [
    ("red", "i0|i1", "nobody", "5", "unknown item"), ("red", "i0|ghost", "i2", "5", "unknown item in its history"),
    ("red", "", "i2", "0", "grade outside 1 to 5"), ("red", "", "i2", "6", "grade outside 1 to 5"),
    ("red", "", "i2", "good", "grade is not a number"), ("red", "", "i2", "nan", "grade outside 1 to 5"),
    ("", "", "i2", "3", "neither title nor history"), ("", "i2|i3", "i2", "3", "item is in its own history"),
]  # fmt: skip


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.write_text("\n".join(",".join(row[:4]) for row in [("board_title", "history", "item", "grade"), *rows]) + "\n")
    return path


def test_grades_make_pairs_within_a_request_and_bad_rows_are_named(tmp_path):
    read = read_grades(write_csv(tmp_path / "grades.csv", [*GOOD, *BAD]), ITEM_INDEX)
    assert [(row, item, reason) for row, item, reason in read.bad] == [
        (len(GOOD) + 1 + at, bad[2], bad[4]) for at, bad in enumerate(BAD)
    ]
    counts = read.counts()
    assert (counts["rows"], counts["queries"], counts["bad_rows"]["grade outside 1 to 5"]) == (14, 2, 3)
    assert counts["first_bad_rows"][0] == "row 7, item 'nobody': unknown item"
    train, valid = grade_pairs(read, 1.0, 8, 20, 0.0, 0)
    assert (
        rows_of(train) == {((0, 1), 2, 3), ((0, 1), 2, 4)} and len(valid) == 0
    )  # item 4 has 3.5; 6 and 7 are too close
    assert dict(zip(train.rejected.tolist(), train.weight.tolist(), strict=True)) == {3: 2.0, 4: 1.5}
    assert train.questions[0].title == "red"
    assert ((5,), 7, 6) in rows_of(grade_pairs(read, 0.5, 8, 20, 0.0, 0)[0])
    assert rows_of(grade_pairs(read, 0.5, 1, 1, 0.0, 0)[0]) <= {((1,), 2, 3), ((1,), 2, 4), ((1,), 4, 3), ((5,), 7, 6)}


def test_grades_from_parquet_equal_those_from_a_csv(tmp_path):
    columns = {"board_title": [r[0] for r in GOOD], "history": [r[1].split("|") for r in GOOD]}
    columns |= {"item": [r[2] for r in GOOD], "grade": [float(r[3]) for r in GOOD]}
    pq.write_table(pa.table(columns), tmp_path / "grades.parquet")
    of_parquet = read_grades(tmp_path / "grades.parquet", ITEM_INDEX)
    assert of_parquet.graded == read_grades(write_csv(tmp_path / "grades.csv", GOOD), ITEM_INDEX).graded
    assert not of_parquet.bad


def test_unusable_grades_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"row 7 \(item 'nobody'\): unknown item"):
        read_grades(write_csv(tmp_path / "a.csv", [*GOOD, *BAD]), ITEM_INDEX, strict=True)
    (tmp_path / "b.csv").write_text("item,grade\ni1,3\n")
    with pytest.raises(UserError, match="lacks the column board_title; it has item, grade"):
        read_grades(tmp_path / "b.csv", ITEM_INDEX)
    only_bad = read_grades(write_csv(tmp_path / "c.csv", BAD), ITEM_INDEX)
    with pytest.raises(UserError, match=r"8 rows, 8 bad.*row 1, item 'nobody'"):
        grade_pairs(only_bad, 1.0, 8, 20, 0.0, 0)


def test_whole_requests_are_held_out_of_the_grades(tmp_path):
    rows = [(f"red {n}", "", item, grade) for n in range(60) for item, grade in (("i1", "5"), ("i2", "1"))]
    read = read_grades(write_csv(tmp_path / "grades.csv", rows), ITEM_INDEX)
    train, valid = grade_pairs(read, 1.0, 8, 20, 0.3, 0)
    assert len(train) + len(valid) == 60 and 5 < len(valid) < 35
    assert not {q.title for q in train.questions} & {q.title for q in valid.questions}


def test_options_that_cannot_work_are_refused(tmp_path):
    for config, said in (
        (PreferConfig(loss="apo_zero"), "allowed are sigmoid"), (PreferConfig(score="tokens"), "rank, retrieve"),
        (PreferConfig(beta=0.0), "above 0"), (PreferConfig(loss="exo_pair"), "label_smoothing"),
        (PreferConfig(label_smoothing=0.1), "does not read"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            config.check()
    nowhere = {name: tmp_path / name for name in ("model", "vectors", "catalog", "graph", "out")}
    with pytest.raises(UserError, match="negatives none leaves no pairs"):
        prefer(**nowhere, negatives="none")
    with pytest.raises(UserError, match="learning rate of 'eyes'; allowed parts are tower"):
        prefer(**nowhere, loop=LoopConfig(learning_rates={"eyes": 1.0}))
    with pytest.raises(UserError, match="allowed are auto, shown, hard, none"):
        prefer(**nowhere, negatives="random")


@pytest.fixture(scope="module")
def stock(make_backbone, tmp_path_factory) -> Path:
    return make_backbone(tmp_path_factory.mktemp("prefer") / "stock", "qwen2_5_vl")


def trl_loss(model, **config):
    from train.prefer.trainer import ItemDPO

    return ItemDPO(model, PreferConfig(**config), torch.device("cpu"))


@needs_trl
def test_the_loss_is_the_one_of_the_paper_by_hand():
    """Two pairs; the normaliser cancels, so only differences of scores appear."""
    model = torch.nn.Identity()
    scores, before, temperature, beta = [[0.5, 0.3], [0.1, 0.4]], [[0.4, 0.4], [0.2, 0.1]], 0.05, 0.3
    loss = trl_loss(model, beta=beta)
    logits = torch.tensor(scores) / temperature
    found = loss.loss(logits, pair_log_probs(torch.tensor(before) / temperature))
    margins = [beta * ((s[0] - s[1]) - (b[0] - b[1])) / temperature for s, b in zip(scores, before, strict=True)]
    assert float(found) == pytest.approx(np.mean([math.log(1 + math.exp(-m)) for m in margins]), abs=1e-5)
    rewards = loss.drain("train")
    assert rewards["rewards/margins"] == pytest.approx(np.mean(margins), abs=1e-4)
    assert rewards["rewards/accuracies"] == 0.5 and loss.drain("train") == {}
    # a constant added to both scores of a request changes nothing: it is part of Z(x)
    shifted = loss.loss(logits + torch.tensor([[3.0], [-7.0]]), pair_log_probs(torch.tensor(before) / temperature))
    assert float(shifted) == pytest.approx(float(found), abs=1e-5)


@needs_trl
@pytest.mark.parametrize(
    ("name", "smoothing", "oracle"),
    [
        ("hinge", 0.0, lambda m, b: max(0.0, 1 - b * m)),
        ("ipo", 0.0, lambda m, b: (m - 1 / (2 * b)) ** 2),
        (
            "robust",
            0.1,
            lambda m, b: (0.9 * math.log(1 + math.exp(-b * m)) - 0.1 * math.log(1 + math.exp(b * m))) / 0.8,
        ),
    ],
)
def test_other_losses_by_hand(name, smoothing, oracle):
    logits = torch.tensor([[1.0, -1.0], [0.2, 0.9], [2.0, 0.5]])
    reference = pair_log_probs(torch.tensor([[0.3, 0.1], [0.0, 0.0], [1.0, 0.8]]))
    margins = [(a - b) - (c - d) for (a, b), (c, d) in zip(logits.tolist(), reference.tolist(), strict=True)]
    found = trl_loss(torch.nn.Identity(), loss=name, beta=0.5, label_smoothing=smoothing).loss(logits, reference)
    assert float(found) == pytest.approx(np.mean([oracle(m, 0.5) for m in margins]), abs=1e-5)


@needs_trl
@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ipo", "robust", "exo_pair"])
def test_the_loss_equals_trls_own_trainer_on_the_same_log_probabilities(name, stock, tmp_path):
    """The whole DPOTrainer, made TRL's way, is asked for its loss; only the model's answer is put in its mouth."""
    from datasets import Dataset
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from train.prefer.trainer import _sequences

    torch.manual_seed(0)
    logits, before = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2)
    small: dict[str, Any] = dict(
        vocab_size=64, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = Qwen2ForCausalLM(Qwen2Config(**small, num_key_value_heads=1))
    smoothing = 0.1 if name in ("robust", "exo_pair") else 0.0
    arguments = DPOConfig(
        str(tmp_path), loss_type=[name], beta=0.4, label_smoothing=smoothing, report_to="none", use_cpu=True, bf16=False
    )
    data = Dataset.from_dict({"prompt": ["red"], "chosen": [" cat"], "rejected": [" flag"]})
    whole = DPOTrainer(
        model,
        model.__class__(model.config),
        arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(stock),
    )
    answer, rows = _sequences(logits), torch.ones(10, 2, dtype=torch.long)
    completion = rows * torch.tensor([0, 1])
    reference = _sequences(before)
    whole.ref_model = lambda **_: reference  # type: ignore[assignment]
    batch = {"input_ids": rows, "attention_mask": rows, "completion_mask": completion}
    theirs: Any = whole.compute_loss(lambda **_: answer, batch)  # type: ignore[arg-type]
    ours_model = trl_loss(torch.nn.Identity(), loss=name, beta=0.4, label_smoothing=smoothing)
    ours = ours_model.loss(logits, pair_log_probs(before))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    means = {key: sum(v) / len(v) for key, v in whole._metrics["train"].items() if key.startswith("rewards/")}
    assert ours_model.drain("train") == pytest.approx(means)
    (gradient,) = torch.autograd.grad(ours, logits)
    assert gradient.abs().sum() > 0 and torch.allclose(gradient.sum(1), torch.zeros(5), atol=1e-6)


LOOP = LoopConfig(
    steps=12, batch_size=8, warmup=1, precision="no", save_every=2, eval_every=0, learning_rates=learning_rates(RATES)
)
CPU = Accelerator(cpu=True)


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
    module.remember(np.arange(len(module.pairs)), CPU)
    before = gaps(module, module.pairs)
    rates = dict.fromkeys(learning_rates({}), 1e-2)
    loop = replace(LOOP, learning_rates=rates)
    draw = lambda step: module.draw(loop.batch_size, 0, step)  # noqa: E731
    result = training_loop(CPU, module, parts, draw, loop, tmp_path)
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
    module.remember(np.zeros(0, np.int64), CPU)
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
        module.remember(np.arange(len(module.pairs)), CPU)

        def draw(step: int):
            if step == stop:
                raise KeyboardInterrupt
            return module.draw(LOOP.batch_size, 0, step)

        training_loop(CPU, module, parts, draw, LOOP, work)
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


def inputs(project: Path) -> dict[str, Any]:
    names = {"model": "swapped", "vectors": "vectors", "catalog": "catalog", "graph": "graph"}
    return {option: project / name for option, name in names.items()}


def small(**changes) -> LoopConfig:
    return LoopConfig(**{"steps": 3, "batch_size": 4, "warmup": 1, "precision": "no", "eval_every": 3} | changes)


@pytest.fixture(scope="module")
def with_views(project: Path, tmp_path_factory) -> Path:
    """The project's catalogue and graph, whose users were also shown items."""
    from graph.commands import build_graph
    from navigator.catalog_commands import import_table

    home, tables = tmp_path_factory.mktemp("views"), project / "tables"
    log = pq.read_table(tables / "interactions.parquet")
    seen = [(f"u{u}", f"i{(7 * u + step) % 60:02}", "view", u * 100 - 50) for u in range(6) for step in range(12)]
    views = pa.table({name: [row[at] for row in seen] for at, name in enumerate(log.column_names)}, schema=log.schema)
    pq.write_table(pa.concat_tables([log, views]), home / "interactions.parquet")
    import_table(
        home / "catalog", tables / "items.parquet", interactions=home / "interactions.parquet",
        boards=tables / "boards.parquet", board_items=tables / "board_items.parquet",
    )  # fmt: skip
    build_graph(home / "catalog", home / "graph", valid_fraction=0.5, impressions=["view"])
    return home


def test_a_graph_without_impressions_is_refused_by_the_command(project, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    with pytest.raises(UserError, match="this graph has no impressions"):
        prefer(**inputs(project), out=tmp_path / "out", loop=small())
    assert not list(tmp_path.iterdir())


def test_without_trl_the_command_says_how_to_get_it(project, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'navigator\[prefer\]'"):
        prefer(**inputs(project), out=tmp_path / "out", loop=small())


@needs_trl
def test_the_command_publishes_a_model_that_is_not_below_its_start(project, with_views, tmp_path, capsys):
    from train.frame import main

    words = ["--model", project / "swapped", "--vectors", project / "vectors", "--catalog", with_views / "catalog"]
    words += ["--graph", with_views / "graph", "--out", tmp_path / "out", "--loop.steps", 3, "--loop.batch_size", 4]
    words += [
        "--objective.max_history",
        7,
        "--loop.precision",
        "no",
        "--loop.eval_every",
        3,
        "--pairs_per_query",
        4,
        "--json",
    ]
    assert main("train.prefer", prefer, [str(word) for word in words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (
        answer["pairs"]["shown"]["pairs"] > 50 and answer["valid_best"]["ndcg@10"] >= answer["valid_start"]["ndcg@10"]
    )
    assert set(answer["valid_start"]) < set(answer["valid_last"])  # training's own rewards beside
    assert answer["added"]["ndcg@10"] >= 0 and {"pair_accuracy", "rewards/margins"} <= set(answer["valid_start"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["config"]["negatives"]) == ("model", "shown")
    opened = Recommender.open(tmp_path / "out", project / "vectors", "cpu", "float32")
    assert opened.model.config.max_history == 7 and opened.rank([0, 1], [2, 3]).shape == (2,)
    assert main("train.prefer", prefer, [str(word) for word in words]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is True


@needs_trl
def test_grades_and_hard_negatives_are_named_in_the_answer(project, tmp_path):
    rows = [(f"red {n}", "i01|i02", f"i{item:02}", str(item % 5 + 1)) for n in range(6) for item in range(10, 15)]
    grades = write_csv(tmp_path / "grades.csv", [*rows, ("red", "", "ghost", "3")])
    answer = prefer(
        **inputs(project), out=tmp_path / "out", grades=grades,
        negatives="hard", loop=small(), objective=PreferConfig(score="retrieve"),
    )  # fmt: skip
    assert "a guess" in answer["pairs"]["hard"]["what"] and answer["pairs"]["grades"]["bad_rows"] == {"unknown item": 1}
    assert "a guess and no user's choice" in (tmp_path / "out" / "README.md").read_text()
    assert set(answer["valid_best"]) == set(answer["valid_start"]) == set(answer["added"])
    rejects = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert rejects == [{"table": "grades", "row": 31, "id": "ghost", "reason": "unknown item"}]
