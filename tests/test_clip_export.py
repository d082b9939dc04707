"""An encoder tuned by train.clip as a folder: it starts as the untuned one, loads anywhere, and its gate does its work."""

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from encoders.fusion import fuse
from encoders.load import load_encoder
from encoders.parts import ItemParts, encode_parts, join
from navigator.contracts import Catalog, read_manifest
from navigator.contracts.signals import board_titles
from train.clip import run
from train.clip.__main__ import clip
from train.clip.config import RATES, ClipConfig, TowerConfig
from train.clip.objective import ClipObjective
from train.clip.valid import Validation, item_vectors
from train.loop import LoopConfig, make_accelerator


def weights_of(objective: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in objective.state_dict().items()}


def parts_of(encoder, project, titles: bool = True) -> ItemParts:
    """The parts of all items as the commands would encode them."""
    from graph.store import TasteGraph

    catalog = Catalog.open(project / "catalog")
    table = catalog.table("items").to_pylist()
    pictures = [
        encoder.prepare(row["image"]["bytes"]) if row["image"] and n != 33 else None for n, row in enumerate(table)
    ]
    sequences = TasteGraph.open(project / "graph", catalog).sequences
    own = board_titles(sequences, len(table)) if titles else None
    captions = [row["caption"] for row in table] if titles else None
    return encode_parts(encoder, pictures, [row["text"] for row in table], own, captions)


def gram(vectors: np.ndarray) -> np.ndarray:
    return vectors @ vectors.T


def log_of(work) -> list[dict]:
    return [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]


# --- where it starts -------------------------------------------------------------------------------------------------


def test_the_start_is_the_untuned_encoder_and_prefixes_keep_more(make_tuning, clip_project):
    untuned = parts_of(load_encoder(str(clip_project / "bert")), clip_project, titles=False)
    tuning = make_tuning(steps=0, objective={"fusion": False, "prefixes": (2, 4, 0)})  # pictures and texts alone
    tuning.objective.eval()
    rows = np.flatnonzero(tuning.world.has[:, :2].any(1))
    before = item_vectors(tuning.objective, tuning.drawer, tuning.world.train)
    tuning.train()
    after = item_vectors(tuning.objective, tuning.drawer, tuning.world.train)
    assert np.allclose(gram(after), gram(before), atol=1e-5) and not np.allclose(after, before, atol=1e-2)
    for k in (1, 2, 4, 8):
        lost = [np.linalg.norm(gram(v) - gram(v[:, :k])) for v in (before, after)]
        assert lost[1] < lost[0], k
    wanted = fuse(untuned.values, untuned.has, 0.5)[rows]
    assert np.allclose(gram(item_vectors(tuning.objective, tuning.drawer, rows)), gram(wanted), atol=2e-3)


def test_no_steps_export_the_untuned_cosines_across_pictures_and_words(make_tuning, clip_project, tmp_path):
    tuning = make_tuning(steps=0)
    assert tuning.train()["rotated"]
    tuning.export("bert", {"objective": 0, "towers": 0, "loop": 0, "holdout": 0.1, "valid": 0}, {})
    old, new = (load_encoder(str(folder)) for folder in (clip_project / "bert", tmp_path))
    ours, theirs = (parts_of(encoder, clip_project) for encoder in (new, old))
    assert np.array_equal(ours.has, theirs.has)
    assert np.allclose(gram(ours.values[ours.has]), gram(theirs.values[theirs.has]), atol=1e-4)
    plain = ours.only("picture", "text"), theirs.only("picture", "text")
    assert new.gate is not None and old.gate is None
    assert np.allclose(gram(join(new, plain[0], 0.5)), gram(join(old, plain[1], 0.5)), atol=1e-4)


def test_an_encoder_without_two_linear_heads_is_not_turned(make_tuning):
    tuning = make_tuning(encoder="native", steps=0)
    tuning.objective.eval()
    before = weights_of(tuning.objective)
    assert not tuning.train()["rotated"]
    assert all(torch.equal(value, before[name]) for name, value in weights_of(tuning.objective).items())


# --- what comes out --------------------------------------------------------------------------------------------------


LOOP = LoopConfig(
    steps=6, batch_size=12, warmup=1, precision="no", save_every=2, eval_every=3, ema=0.5, learning_rates=RATES
)
SMALL = ClipConfig(prefixes=(4, 8, 0), hard_negatives=2)


def tuned(project, out, encoder="bert", loop=LOOP, **changes):
    return clip(
        project / "catalog", out, encoder if encoder not in ("bert", "native") else str(project / encoder), project / "graph",
        cache=project / "cache", towers=TowerConfig(workers=0), objective=replace(SMALL, **changes), loop=loop,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(clip_project, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "encoder"
    with pytest.MonkeyPatch.context() as patch:
        figures = iter([0.0, 0.1, 0.2])  # so that what is exported has learned
        patch.setattr(Validation, "__call__", lambda self: {"ndcg@10": next(figures)})
        answer = tuned(clip_project, out)
    assert not answer["unchanged"] and answer["best_step"] == 6
    return out


def test_the_folder_says_what_it_is(folder, clip_project):
    manifest = read_manifest(folder, "encoder", "")
    assert manifest.config["holdout"] == 0.1 and manifest.config["stage"] == "clip"
    assert manifest.inputs["catalog"] == Catalog.open(clip_project / "catalog").fingerprint
    assert manifest.inputs["graph"] == read_manifest(clip_project / "graph", "graph", "").fingerprint
    assert manifest.metrics["valid_best"] == {"ndcg@10": 0.2} and manifest.metrics["train_items"] > 30
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "fusion.json", "fusion.safetensors", "manifest.json", "metrics.jsonl",
        "open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    card = (folder / "README.md").read_text()
    for word in ("bert", "train_items", "holdout", "neighbours", "valid_best", "## Limits", "steps"):
        assert word in card, word


def card_code(folder) -> list[str]:
    """The lines of code of the card, with FOLDER replaced."""
    lines = [line[4:] for line in (folder / "README.md").read_text().splitlines() if line.startswith("    ")]
    return [line.replace("FOLDER", str(folder)) for line in lines]


def test_stock_open_clip_loads_it_offline_as_the_card_says(folder, clip_project):
    create, tokenizer, text_cfg, offline = card_code(folder)
    assert "create_model_and_transforms" in create
    names: dict[str, Any] = {"open_clip": open_clip, "json": json}
    exec(f"{tokenizer}\n{text_cfg}", names)
    model, _, preprocess = eval(offline, names)
    ours = load_encoder(str(folder))
    texts = ["red thing 13", "a thing of blue", "dark"]
    rows = Catalog.open(clip_project / "catalog").table("items")["image"].to_pylist()
    pictures = [ours.prepare(rows[n]["bytes"]) for n in (0, 1, 2)]
    model.eval()
    with torch.inference_mode():
        words = model.encode_text(names["tokenizer"](texts), normalize=True).numpy()
        seen = model.encode_image(torch.stack(pictures), normalize=True).numpy()
    assert np.allclose(words, ours.encode_texts(texts), atol=1e-5)
    assert np.allclose(seen, ours.encode_pictures(torch.stack(pictures)), atol=1e-5)
    assert preprocess is not None and not np.allclose(words[0], words[1], atol=1e-2)


def test_an_open_clip_text_tower_needs_no_word_at_all(clip_project, tmp_path):
    tuned(clip_project, tmp_path / "e", "native", replace(LOOP, steps=2, ema=0.0))
    create, tokenizer, *_ = card_code(tmp_path / "e")
    names: dict[str, Any] = {"open_clip": open_clip}
    exec(f"{create}\n{tokenizer}", names)
    with torch.inference_mode():
        words = names["model"].eval().encode_text(names["tokenizer"](["red"]), normalize=True).numpy()
    assert np.allclose(words, load_encoder(str(tmp_path / "e")).encode_texts(["red"]), atol=1e-5)


def test_what_is_exported_makes_the_vectors_that_were_validated(make_tuning, clip_project, tmp_path):
    tuning = make_tuning(steps=8)
    tuning.train()
    assert tuning.objective.gate.content.abs().sum() > 0
    rows = np.flatnonzero(tuning.world.has[:, :2].any(1))
    wanted = item_vectors(tuning.objective, tuning.drawer, rows)
    gate = copy.deepcopy(tuning.objective.gate.state_dict())
    tuning.export("bert", {"objective": 0, "towers": 0, "loop": 0, "holdout": 0.1, "valid": 0}, {})
    encoder = load_encoder(str(tmp_path))
    assert encoder.gate is not None
    assert all(torch.equal(value, gate[name]) for name, value in encoder.gate.state_dict().items())
    parts = parts_of(encoder, clip_project)
    assert np.allclose(join(encoder, parts, 0.5)[rows], wanted, atol=2e-3)


def test_tuning_a_tuned_encoder_starts_where_it_ended(folder, clip_project, tmp_path):
    """Its gate among the rest, which reads part vectors and so has to be turned with them."""
    tuned(clip_project, tmp_path / "again", str(folder), replace(LOOP, steps=0))
    first, second = load_encoder(str(folder)), load_encoder(str(tmp_path / "again"))
    assert first.gate is not None and first.gate.content.abs().max() > 1e-2
    vectors = [join(encoder, parts_of(encoder, clip_project), 0.5) for encoder in (first, second)]
    assert np.allclose(gram(vectors[0]), gram(vectors[1]), atol=1e-4)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-2)
    assert [row["step"] for row in log_of(tmp_path / "again")] == [0]  # its own log, not the one it came with


def test_without_fusion_the_fixed_rule_holds_even_after_a_gate(folder, clip_project, tmp_path):
    tuned(clip_project, tmp_path / "plain", str(folder), replace(LOOP, steps=0), fusion=False)
    assert load_encoder(str(tmp_path / "plain")).gate is None
    opened = ClipObjective(load_encoder(str(folder)), None, replace(SMALL, fusion=False))  # type: ignore[arg-type]
    assert not opened.gate.content.any() and opened.gate.bias[:2].tolist() == [0, 0]


def test_a_model_that_open_clip_knows_by_name_becomes_a_folder(clip_project, tmp_path):
    config = json.loads((clip_project / "native" / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "topic-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "topic-clip.json")
    try:
        answer = tuned(clip_project, tmp_path / "e", "topic-clip", replace(LOOP, steps=2))
    finally:
        open_clip.factory._MODEL_CONFIGS.pop("topic-clip")
    encoder = load_encoder(str(tmp_path / "e"))
    assert answer["dim"] == encoder.dim == 16 and encoder.gate is not None
    assert encoder.encode_texts(["red", "blue"]).shape == (2, 16)


# --- fusion ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(clip_project, tmp_path_factory):
    """The untuned encoder and one tuned long enough to know the four topics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "fast_dtype", lambda device: torch.float32)
        work = tmp_path_factory.mktemp("learned")
        loop = replace(LOOP, steps=60, batch_size=24, eval_every=0, ema=0.0, learning_rates=RATES | {"heads": 2e-2})
        objective = ClipConfig(prefixes=(8, 0), hard_negatives=2, drop_part=0.5, stay=0.0)
        tuning = run.Tuning(
            make_accelerator(loop), Catalog.open(clip_project / "catalog"), clip_project / "graph", str(clip_project / "bert"),
            0.1, 0.0, clip_project / "cache", TowerConfig(workers=0), objective, loop, work,
        )  # fmt: skip
        tuning.train()
        tuning.export("bert", {"objective": 0, "towers": 0, "loop": 0, "holdout": 0.1, "valid": 0}, {})
    return load_encoder(str(clip_project / "bert")), load_encoder(str(work))


TOPIC = np.arange(60) % 4


def margin(one: np.ndarray, whole: np.ndarray, rows: np.ndarray) -> float:
    """Mean cosine to items of the same topic, itself left out, less that to items of other topics."""
    scores = one @ whole.T
    same = (TOPIC[rows, None] == TOPIC) & (rows[:, None] != np.arange(60))
    other = TOPIC[rows, None] != TOPIC
    return float(scores[rows][same].mean() - scores[rows][other].mean())


@pytest.mark.parametrize(("kept", "wanting"), [(("picture",), (9, 22)), (("text",), (5, 18, 33))])
def test_an_item_with_one_part_alone_is_near_its_board_mates(learned, clip_project, kept, wanting):
    """Items that never had the other part, and every item shown without it; held-out ones are among them."""
    untuned, encoder = learned
    for rows in (np.array(wanting), np.flatnonzero(parts_of(untuned, clip_project).only(*kept).has.any(1))):
        found = []
        for given in (untuned, encoder):
            parts = parts_of(given, clip_project)
            found.append(margin(join(given, parts.only(*kept), 0.5), join(given, parts, 0.5), rows))
        assert found[1] > max(0.5, 2 * found[0]), found


def test_free_text_and_bare_pictures_land_among_the_items(learned, clip_project):
    untuned, encoder = learned
    rows = [
        row["bytes"] if row else b""
        for row in Catalog.open(clip_project / "catalog").table("items")["image"].to_pylist()
    ]
    shown = [n for n in range(60) if n not in (5, 18, 33, 40)]
    hits = []
    for given in (untuned, encoder):
        pictures = given.encode_pictures([rows[n] for n in shown])
        texts = given.encode_texts(["red thing", "green thing", "blue thing", "dark thing"])
        items = join(given, parts_of(given, clip_project), 0.5)
        nearest = np.array(shown)[np.argsort(-(texts @ pictures.T), axis=1)[:, :8]]
        back = np.argmax(pictures @ texts.T, axis=1)
        among = np.argsort(-(pictures @ items.T), axis=1)[:, :8]
        hits.append([
            float((TOPIC[nearest] == np.arange(4)[:, None]).mean()), float((back == TOPIC[shown]).mean()),
            float((TOPIC[among] == TOPIC[shown][:, None]).mean()),
        ])  # fmt: skip
    assert min(hits[1]) > 0.9 and hits[0][0] < 0.6 and hits[0][1] < 0.6, hits


def test_dropped_parts_do_not_reach_the_vectors(make_tuning):
    """An item shown without its picture has the vector of one that has none, whatever its pixels are."""
    tuning = make_tuning(objective={"drop_part": 1.0, "drop_titles": 0.0})
    with torch.no_grad():
        for parameter in tuning.objective.gate.parameters():
            parameter.normal_()
    batch = tuning.drawer[0].anchors
    assert (~batch.shown[:, 0]).any() and (~batch.shown[:, 1]).any()
    other = replace(
        batch, picture=torch.where(batch.shown[:, :1], batch.picture, batch.picture + 5),
        text=torch.where(batch.shown[:, 1:2], batch.text, batch.text - 3),
    )  # fmt: skip
    with torch.inference_mode():
        one, two = (tuning.objective.gate(*tuning.objective.part_vectors(given)) for given in (batch, other))
    assert torch.allclose(one, two, atol=1e-6)
    assert torch.allclose(one.norm(dim=1), torch.ones(12), atol=1e-5)
