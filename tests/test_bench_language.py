"""`navigator-bench language`: figures against plain loops, models whose figures are known, controls, errors."""

import json
import math
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from bench.cli import main
from bench.encoder.figures import Figure
from bench.language.command import language
from bench.language.descriptions import choose_descriptions
from bench.language.figures import LanguageReport
from bench.language.summary import Measured, difference, model_rows, text_set
from navigator.contracts import Catalog, ItemVectors, UserError, publish
from navigator.contracts.vectors import normalise, write_vectors
from navigator.model_commands import swap as swap_command
from navigator.perplexity import Scores, continue_item, score_descriptions, score_plain
from navigator.plain_text import plain_digest, plain_paragraphs
from navigator.prompts import DESCRIBE_TOKENS, NOT_ASKED, describe_inputs, held_out_for_language
from navigator.recommend import Recommender
from navigator.swap import open_swapped, swap

PROSE = ["the red flag of a cat", "blue", "a cat Describe: user of the blue cat of the red flag", "red red blue"]


def opened(project: Path, model: str = "swapped") -> Recommender:
    return Recommender.open(project / model, project / "vectors", dtype="float32")


def held_out_items(project: Path) -> tuple[list[str], list[str]]:
    asked = choose_descriptions(Catalog.open(project / "catalog"), 0, 0)
    return asked.ids, asked.texts


# ---- the rule and the prompt


def test_a_tenth_of_the_items_is_held_out_by_id_alone():
    ids = [f"item-{n}" for n in range(5000)]
    held = held_out_for_language(ids)
    assert 0.08 < held.mean() < 0.12
    assert held_out_for_language(ids[::-1]).tolist() == held[::-1].tolist()
    assert held_out_for_language(ids[7:8]).tolist() == held[7:8].tolist()


def test_describe_shows_the_item_and_asks_for_its_words_and_the_end(make_backbone, tmp_path):
    _, processor = swap(str(make_backbone(tmp_path / "b", "qwen2_5_vl")), 8, "enc", tokens_per_item=2)
    item, (red, cat, unknown, end, pad) = processor.item_token_id, processor.tokenizer.convert_tokens_to_ids(
        ["red", "cat", "<unk>", "<|im_end|>", "<|pad|>"]
    )  # fmt: skip
    inputs, labels = describe_inputs(processor, ["red cat", "cat"])
    no = NOT_ASKED
    assert inputs["input_ids"].tolist() == [[unknown, item, item, red, cat, end], [pad, unknown, item, item, cat, end]]
    assert labels.tolist() == [[no, no, no, red, cat, end], [no, no, no, no, cat, end]]
    assert inputs["image_grid_thw"].tolist() == [[1, 2, 4]] * 2
    _, long = describe_inputs(processor, ["red " * 99])
    assert (long != NOT_ASKED).sum() == DESCRIBE_TOKENS + 1


def test_asked_are_texts_that_nothing_else_has():
    ids = [f"i{n}" for n in range(200)]
    held = held_out_for_language(ids)
    out, trained = (
        [i for i, h in zip(ids, held, strict=True) if h],
        [i for i, h in zip(ids, held, strict=True) if not h],
    )
    texts = {i: f"text {i}" for i in ids}
    texts |= {out[0]: " ", out[1]: f"TEXT {trained[0]} ", out[3]: texts[out[2]]}
    table = pa.table({"item_id": ids, "text": [texts[i] if i != trained[1] else None for i in ids]})
    catalog = types.SimpleNamespace(path="c", table=lambda name, columns: table)
    found = choose_descriptions(catalog, 0, 0)  # type: ignore[arg-type]
    assert sorted(found.ids) == sorted({*out} - {out[0], out[1], out[3]})
    assert [texts[i] for i in found.ids] == found.texts
    counts = found.counts
    assert (counts.items, counts.without_text, counts.text_seen, counts.repeated) == (len(out), 1, 1, 1)
    assert sorted(found.others) == sorted(found.ids)
    assert all(a != b for a, b in zip(found.ids, found.others, strict=True))
    assert choose_descriptions(catalog, 5, 0).ids == found.ids[:5]  # type: ignore[arg-type]
    assert choose_descriptions(catalog, 5, 1).ids != found.ids[:5]  # type: ignore[arg-type]


def test_plain_paragraphs_are_prose_and_the_same_each_time():
    sample = plain_paragraphs(60, 0)
    assert len(set(sample)) == 60 and sample == plain_paragraphs(60, 0)
    assert sample[:10] == plain_paragraphs(10, 0)
    assert plain_digest(sample) != plain_digest(plain_paragraphs(60, 1))
    for text in plain_paragraphs(10_000, 0):
        assert 200 <= len(text) <= 800 and text.endswith(".") and "  " not in text and "\n" not in text
        assert not any(mark in text for mark in ("::=", ">>>", "===", "***"))


# ---- nats, by loops


def nats_by_hand(model, inputs: dict, first: int) -> float:
    """One text, no batch, no padding, all logits: the cost of every token from position `first` on."""
    ids = inputs["input_ids"][0]
    logits = model(**inputs).logits[0].detach().double()
    total = 0.0
    for place in range(first, len(ids)):
        before = logits[place - 1]
        total += math.log(sum(math.exp(float(z)) for z in before)) - float(before[ids[place]])
    return total


@pytest.mark.parametrize("k", [1, 3])
def test_batched_nats_are_those_of_single_texts(backbone, k):
    model, processor = swap(str(backbone), 8, "enc", tokens_per_item=k)
    texts, ids = ["red flag", "blue cat of red cat", "cat"], ["a", "b", "c"]
    store = ItemVectors(ids, normalise(np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)), "enc", True)
    recommender = Recommender(model, processor, store)
    got = score_descriptions(recommender, texts, ["b", "c", "a"], 2, "x")
    for i, text in enumerate(texts):
        inputs = processor(f"Item: {processor.item_token} {text}", store.matrix[[(i + 1) % 3]])
        assert got.nats[i] == pytest.approx(nats_by_hand(model, dict(inputs), 1 + k), rel=1e-5)
    assert got.tokens.tolist() == [2, 5, 1]
    assert got.bytes.tolist() == [len(text) for text in texts]
    plain = score_plain(model, processor.tokenizer, PROSE, 3, "x")
    for i, text in enumerate(PROSE):
        ids_ = [processor.tokenizer.eos_token_id, *processor.tokenizer.encode(text)]
        alone = {"input_ids": torch.tensor([ids_]), "attention_mask": torch.ones(1, len(ids_), dtype=torch.long)}
        assert plain.nats[i] == pytest.approx(nats_by_hand(model, alone, 1), rel=1e-5)
    assert plain.tokens.tolist() == [len(text.split()) for text in PROSE]


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(project):
    recommender = opened(project)
    size = recommender.model.lm_head.weight.shape[0]
    recommender.model.lm_head = torch.nn.Linear(recommender.model.lm_head.weight.shape[1], size, bias=False)
    torch.nn.init.zeros_(recommender.model.lm_head.weight)
    ids, texts = held_out_items(project)
    for scores in (
        score_descriptions(recommender, texts, ids, 4, "x"),
        score_plain(recommender.model, recommender.processor.tokenizer, PROSE, 4, "x"),
    ):
        found = text_set(scores, None, 0)
        assert found.perplexity.mean == pytest.approx(size, rel=1e-5)
        assert found.bits_per_byte.mean == pytest.approx(math.log2(size) * found.tokens / found.bytes, rel=1e-5)


def test_a_fresh_swap_reads_plain_text_as_its_backbone_does(backbone):
    model, processor = swap(str(backbone), 8, "enc")
    stock = AutoModelForImageTextToText.from_pretrained(backbone).eval()
    ours = score_plain(model, processor.tokenizer, PROSE, 3, "x")
    theirs = score_plain(stock, AutoTokenizer.from_pretrained(backbone), PROSE, 3, "x")
    np.testing.assert_allclose(ours.nats, theirs.nats, atol=1e-5)
    assert ours.tokens.tolist() == theirs.tokens.tolist()


def test_figures_are_totals_over_totals_and_their_exponential():
    scores = Scores(np.array([3.0, 9.0]), np.array([1, 5]), np.array([4, 20]))
    found = text_set(scores, Scores(np.array([2.0, 8.0]), np.array([1, 5]), np.array([4, 20])), 0)
    assert found.nats_per_token.mean == pytest.approx(2) and found.perplexity.mean == pytest.approx(math.exp(2))
    assert found.bits_per_byte.mean == pytest.approx(12 / math.log(2) / 24)
    assert found.versus_first is not None and found.versus_first.mean == pytest.approx(2 / 6)
    assert found.perplexity.ci95 == pytest.approx((math.exp(9 / 5), math.exp(3)))
    assert difference(scores, Scores(scores.nats, np.array([2, 5]), scores.bytes), 0) is None


# ---- what the item tells


def train_describe(recommender: Recommender, ids: list[str], texts: list[str], steps: int = 60) -> None:
    """A few steps of the describe task on these very items, so that their vectors tell their words."""
    model, rows = recommender.model.train(), recommender.vectors.rows_of(ids)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    inputs, labels = describe_inputs(recommender.processor, texts)
    inputs |= {"pixel_values": torch.from_numpy(recommender.vectors.float32(rows))}
    for _ in range(steps):
        logits = model(**inputs).logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=NOT_ASKED)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def test_the_right_item_saves_nats_when_the_tower_says_something_and_none_when_it_is_silent(project):
    recommender = opened(project)
    texts = ["red flag red", "blue cat blue", "cat of cat", "Board: user flag"]
    ids = recommender.vectors.ids[:4]
    others = [*ids[1:], ids[0]]
    train_describe(recommender, ids, texts)
    right, wrong = (score_descriptions(recommender, texts, shown, 4, "x") for shown in (ids, others))
    tells = difference(wrong, right, 0)
    assert tells is not None and tells.ci95 is not None and tells.ci95[0] > 1
    assert [continue_item(recommender, item, 4) for item in ids] == texts
    torch.nn.init.zeros_(recommender.model.model.visual.output.weight)
    right, wrong = (score_descriptions(recommender, texts, shown, 4, "x") for shown in (ids, others))
    assert difference(wrong, right, 0) == Figure(mean=0, ci95=(0, 0))


# ---- the command


@pytest.fixture(scope="module")
def trained(project: Path, tmp_path_factory) -> Path:
    """The swapped model after describing every item of the catalogue for a while."""
    folder = tmp_path_factory.mktemp("language") / "after"
    recommender = opened(project)
    catalog = Catalog.open(project / "catalog").table("items", ["item_id", "text"])
    train_describe(recommender, catalog["item_id"].to_pylist(), catalog["text"].to_pylist(), 20)
    with publish(folder, "model", {"stage": "test"}, {}) as work:
        recommender.model.save_pretrained(work.path)
        recommender.processor.save_pretrained(work.path)
    return folder


def run_command(project: Path, out: Path, models: dict[str, str], **changes) -> dict:
    given = {"items": 0, "paragraphs": 6, "samples": 2, "batch_size": 4, "dtype": "float32"} | changes
    return language(project / "catalog", models, project / "vectors", out, **given)


def test_the_report_pairs_models_and_the_backbone_text_by_text(project, trained, tmp_path):
    models = {"before": str(project / "swapped"), "same": str(project / "swapped"), "after": str(trained)}
    answer = run_command(project, tmp_path / "r", models, backbone=str(project / "stock"))
    assert not answer["unchanged"]
    report = LanguageReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    assert list(report.models) == ["before", "same", "after", "stock"]
    for own in report.models["same"].sets.values():
        assert own.versus_first == Figure(mean=0, ci95=(0, 0))
    before, after, stock = (report.models[name].sets for name in ("before", "after", "stock"))
    assert before["plain"].versus_first is None and set(stock) == {"plain"}
    assert after["described"].perplexity.mean < before["described"].perplexity.mean
    paired = after["described"].versus_first
    assert paired is not None and paired.mean == pytest.approx(
        after["described"].nats_per_token.mean - before["described"].nats_per_token.mean
    )
    assert after["shuffled"].perplexity.mean != after["described"].perplexity.mean
    tells = report.models["after"].item_tells
    assert tells is not None and tells.mean == pytest.approx(
        after["shuffled"].nats_per_token.mean - after["described"].nats_per_token.mean
    )
    assert stock["plain"].versus_first is not None and abs(stock["plain"].versus_first.mean) < 1e-5
    rows = pq.read_table(tmp_path / "r" / "per_text.parquet").to_pylist()
    own = [r for r in rows if r["model"] == "after" and r["set"] == "plain"]
    assert len(own) == 6 and after["plain"].perplexity.mean == pytest.approx(
        math.exp(sum(r["nats"] for r in own) / sum(r["tokens"] for r in own))
    )
    assert [set(c.written) for c in report.continuations] == [{"before", "same", "after"}] * 2
    words = (tmp_path / "r" / "report.md").read_text()
    assert "| after |" in words and report.continuations[0].item_id in words and "NaN" not in words


def test_runs_of_one_recipe_count_as_their_mean_text_by_text(project, trained, tmp_path):
    models = {"before": str(project / "swapped"), "after@0": str(trained), "after@1": str(project / "swapped")}
    run_command(project, tmp_path / "r", models, samples=0)
    report = LanguageReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    assert list(report.models) == ["before", "after"]
    row, before = report.models["after"], report.models["before"].sets["plain"]
    assert row.runs == 2 and row.by_run is not None and row.by_run["plain"][1] == pytest.approx(before.perplexity.mean)
    each = [math.log(value) for value in row.by_run["plain"]]
    assert row.sets["plain"].nats_per_token.mean == pytest.approx(sum(each) / 2)
    versus = row.sets["plain"].versus_first
    assert versus is not None and versus.mean == pytest.approx((each[0] - each[1]) / 2)
    other = Scores(np.ones(2), np.array([1, 2]), np.array([4, 9]))
    runs = {f"a@{n}": Measured("s", "f", "swapped", {"plain": own}, 0.0) for n, own in enumerate((other, other))}
    assert model_rows(runs, 0)["a"].sets["plain"].tokens == 3
    runs["a@1"] = Measured("s", "f", "swapped", {"plain": Scores(np.ones(2), np.array([1, 3]), np.array([4, 9]))}, 0.0)
    with pytest.raises(UserError, match="different tokens"):
        model_rows(runs, 0)


def test_a_second_run_is_unchanged_and_another_question_is_not(project, tmp_path, capsys):
    argv = ["language", str(project / "catalog"), "--models", f"before={project / 'swapped'}"]
    argv += ["--vectors", str(project / "vectors"), "--out", str(tmp_path / "r"), "--items", "3", "--paragraphs", "2"]
    argv += ["--samples", "1", "--json"]
    answers = []
    for extra in ([], [], ["--seed", "1"]):
        assert main([*argv, *extra]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert [a["unchanged"] for a in answers] == [False, True, False]
    assert answers[0]["models"] == answers[1]["models"] != answers[2]["models"]
    assert set(answers[0]["models"]["before"]) >= {"described perplexity", "plain bits_per_byte"}


@pytest.fixture(scope="module")
def strangers(project: Path, tmp_path_factory) -> Path:
    """A store of another encoder, and a model swapped for it."""
    home = tmp_path_factory.mktemp("strangers")
    catalog = Catalog.open(project / "catalog")
    with publish(home / "vectors", "vectors", {"encoder": "other", "normalised": True}, {}) as work:
        values = np.random.default_rng(1).normal(size=(len(catalog.item_ids), 8)).astype(np.float32)
        write_vectors(work.path, catalog.item_ids, normalise(values))
    swap_command(home / "swapped", str(project / "stock"), vectors=home / "vectors")
    return home


def test_bad_input_says_what_is_allowed(project, strangers, tmp_path):
    good = {"before": str(project / "swapped")}
    for models, changes, message in (
        ({"before": str(tmp_path / "none")}, {}, "does not exist; make one with `navigator swap`"),
        ({"before": str(project / "stock")}, {}, "not complete"),
        (good | {"after": str(strangers / "swapped")}, {}, r"encoder enc .*swapped for other"),
        ({}, {}, "at least one name=folder"),
        ({"stock": "x"}, {}, "'stock'"),
        ({"a b": "x"}, {}, "'a b'|a b"),
        (good, {"items": 1}, "items 0 or >= 2"),
        (good, {"batch_size": 0}, "batch_size >= 1"),
        (good, {"dtype": "int4"}, "dtype 'int4'"),
        (good, {"backbone": str(tmp_path / "none")}, "cannot load backbone"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            run_command(project, tmp_path / "r", models, **changes)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "r").exists()


def test_a_native_model_and_a_catalogue_without_held_out_texts_are_refused(project, tmp_path):
    model, processor = open_swapped(project / "swapped")
    with publish(tmp_path / "native", "model", {"native": True}, {}) as work:
        model.save_pretrained(work.path)
        processor.save_pretrained(work.path)
    with pytest.raises(UserError, match="native model"):
        run_command(project, tmp_path / "r", {"n": str(tmp_path / "native")})
    table = pa.table({"item_id": ["a", "b"], "text": ["x", "y"]})
    catalog = types.SimpleNamespace(path="c", table=lambda name, columns: table)
    with pytest.raises(UserError, match="at least 2 are needed"):
        choose_descriptions(catalog, 0, 0)  # type: ignore[arg-type]
