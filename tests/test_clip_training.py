"""Tuning a tiny encoder: what learns, the whole loss, exact resume, the average, early stop."""

import json

import numpy as np
import pytest
import torch

from encoders.fusion import fuse
from encoders.load import load_encoder
from navigator.contracts import UserError
from navigator.contracts.signals import Query
from train.average import Average
from train.clip import run
from train.clip.valid import Validation, ndcg
from train.loop import training_loop

HEADS = {"towers.model.visual.head.proj.weight", "towers.model.text.proj.weight"}
GATE = {"gate.bias", "gate.presence", "gate.content"}
SCALES = {f"scales.{name}_{kind}" for name in ("picture_text", "neighbours") for kind in ("scale", "bias")}


def weights_of(objective: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in objective.state_dict().items()}


# --- what learns -----------------------------------------------------------------------------------------------------


LAYERS = [("bert", 0, 0), ("bert", 1, 0), ("bert", 0, 1), ("bert", -1, -1), ("native", 0, 1), ("native", 2, -1)]


@pytest.mark.parametrize(("encoder", "picture", "text"), LAYERS)
def test_a_step_changes_exactly_what_is_declared(make_tuning, tmp_path, encoder, picture, text):
    tuning = make_tuning(encoder=encoder, steps=1, towers={"picture_layers": picture, "text_layers": text})
    tuning.objective.eval()
    before, names = weights_of(tuning.objective), {name for part in tuning.objective.parts().values() for name in part}
    training_loop(
        tuning.accelerator, tuning.objective, tuning.objective.parts(), tuning.drawer.__getitem__, tuning.loop, tmp_path
    )
    after = weights_of(tuning.objective)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == names
    trunk = {
        name
        for name in before
        if name.startswith("towers.model.visual.trunk.") and "running" not in name and "num_" not in name
    }
    words = {name for name in before if name.startswith("towers.model.text.")} - HEADS
    assert GATE | SCALES | {"towers.model.visual.head.proj.weight"} <= moved
    assert moved - HEADS - GATE - SCALES <= trunk | words
    wanted = {0: 0, -1: len(trunk)}.get(picture)
    assert len(moved & trunk) == wanted if wanted is not None else 0 < len(moved & trunk) < len(trunk)
    assert not moved & words if text == 0 else moved & words
    if picture > 0:
        assert not any("stem" in name or ".layer1." in name for name in moved & trunk)
    if encoder == "bert" and text == 1:
        assert {name for name in words if ".layer.1." in name} == moved & words
    if text == -1:
        assert words - moved <= {"towers.model.text.attn_mask", "towers.model.text.transformer.embeddings.position_ids"}


@pytest.mark.parametrize("encoder", ["bert", "native"])
def test_a_locked_tower_gives_the_same_loss_from_features_as_from_pixels(make_tuning, tmp_path, encoder):
    """The features are float16; nothing else differs."""
    whole = {"min_area": 1.0, "flip": 0.0}
    losses = []
    for layers in (0, -1):
        tuning = make_tuning(encoder=encoder, towers=whole | {"picture_layers": layers, "text_layers": layers})
        tuning.objective.eval()
        batch = tuning.drawer[0]
        assert (batch.anchors.picture.dtype, batch.anchors.text.dtype) == (
            (torch.float16, torch.float16) if layers == 0 else (torch.uint8, torch.int32)
        )
        with torch.inference_mode():
            losses.append(float(tuning.objective(batch, 0, 12)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0] > 1


def surprise(a: np.ndarray, b: np.ndarray, belongs: bool, scale: float, bias: float) -> float:
    """-log sigmoid(z * logit) of the cosine of two vectors."""
    cosine = sum(x * y for x, y in zip(a, b, strict=True)) / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.log1p(np.exp(-(scale * cosine + bias) * (1 if belongs else -1))))


def test_the_whole_loss_against_loops(make_tuning):
    """What the parts are weighted by, which masks they get, and that every prefix and hard negative is in."""
    chosen = {"prefixes": (4, 0), "picture_text": 0.7, "neighbours": 1.3, "graded": 0.5, "stay": 0.6}
    tuning = make_tuning(objective=chosen | {"scale": 4.0, "bias": -2.0})
    objective, drawer = tuning.objective.eval(), tuning.drawer
    drawer.parts_before = run.parts_before(objective, drawer)
    with torch.no_grad():
        objective.gate.content.normal_(generator=torch.Generator().manual_seed(0))
    batch, world = drawer[2], tuning.world
    with torch.inference_mode():
        found = float(objective(batch, 0, 12))
        parts, shown = objective.part_vectors(batch.anchors)
        items, near, far = (
            objective.gate(*objective.part_vectors(side)).double().numpy()
            for side in (batch.anchors, batch.neighbours, batch.negatives)
        )  # fmt: skip
    pictures, texts = parts[:, 0].double().numpy(), parts[:, 1].double().numpy()
    rows, weights, text = batch.examples, batch.weights.tolist(), world.text_ids
    before = fuse(drawer.parts_before[rows], shown[:, :2].numpy(), 0.5)
    wanted = {"picture_text": 0.0, "neighbours": 0.0, "hard": 0.0, "stay": 0.0}
    for i in range(12):
        for j in range(12):
            wanted["stay"] += 0.6 * float(items[i] @ items[j] - before[i] @ before[j]) ** 2
            for k in (4, 16):
                if batch.has_pair[i] and batch.has_pair[j] and (i == j or text[rows[i]] != text[rows[j]]):
                    one = surprise(pictures[i, :k], texts[j, :k], i == j, 4.0, -2.0)
                    wanted["picture_text"] += 0.7 * weights[i] / 2 * one
                if batch.has_neighbour[i] and batch.has_neighbour[j] and (i == j or not batch.together[i, j]):
                    wanted["neighbours"] += (
                        1.3 * weights[i] / 2 * surprise(items[i, :k], near[j, :k], i == j, 4.0, -2.0)
                    )
        for h in range(2):
            for k in (4, 16) if batch.negative_there[i, h] else ():
                wanted["hard"] += 1.3 * weights[i] / 2 * surprise(items[i, :k], far[2 * i + h, :k], False, 4.0, -2.0)
    assert min(wanted.values()) > 0.01 and found == pytest.approx(sum(wanted.values()), rel=1e-4)


def test_what_cannot_be_locked_or_learn_is_told(make_tuning):
    with pytest.raises(UserError, match=r"picture_layers -2, text_layers 0: allowed are -1"):
        make_tuning(towers={"picture_layers": -2})
    with pytest.raises(UserError, match=r"prefixes \[4, 17\]: allowed are 1 to 16"):
        make_tuning(objective={"prefixes": (4, 17)})


def test_ndcg_of_what_is_asked_against_a_loop():
    vectors = np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = [Query("a", (0, 1, 2), (5,)), Query("b", tuple(range(3, 28)), (29, 28)), Query("c", (9,), (10, 11))]
    total = 0.0
    for query in queries:
        asked = sum(vectors[i] for i in query.history[-20:])
        order = sorted((i for i in range(30) if i not in query.history), key=lambda i: -float(vectors[i] @ asked))
        gain = sum(1 / np.log2(place + 2) for place, i in enumerate(order[:10]) if i in query.targets)
        total += gain / sum(1 / np.log2(place + 2) for place in range(len(query.targets)))
    assert ndcg(vectors, queries) == pytest.approx(total / 3, rel=1e-5) and total > 0


def test_it_tunes_without_a_graph_on_pictures_and_words_alone(make_tuning):
    """Validation then asks the words of set-aside items for their pictures."""
    tuning = make_tuning(taste_graph=False, steps=40, eval_every=10)
    result = tuning.train()
    assert result["pairs"] == 0 and result["valid_items"] > 5
    assert result["valid_best"]["ndcg@10"] > result["valid_start"]["ndcg@10"]
    none = make_tuning(taste_graph=False, valid=0.0)
    assert not Validation(none.objective, none.drawer)


# --- resume, average, early stop -------------------------------------------------------------------------------------


def interrupted(tuning, stop: int | None):
    """Train, interrupted before step `stop` is drawn."""
    inner = tuning.drawer.__class__.__getitem__

    class Stopping(tuning.drawer.__class__):
        def __getitem__(self, step: int):
            if step == stop:
                raise KeyboardInterrupt
            return inner(self, step)

    tuning.drawer.__class__ = Stopping
    return tuning.train()


def log_of(work) -> list[dict]:
    rows = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "examples_per_s")} for row in rows]


@pytest.mark.parametrize("towers", [{}, {"picture_layers": 1, "text_layers": 1, "flip": 0.5}])
def test_interrupted_twice_and_resumed_equals_uninterrupted(make_tuning, clip_project, tmp_path, towers):
    loop = {"steps": 9, "eval_every": 3, "patience": 3, "ema": 0.8, "towers": towers}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    one = make_tuning(whole, **loop)
    result = one.train()
    for stop in (3, 7):  # once off a checkpoint, once after a resume
        with pytest.raises(KeyboardInterrupt):
            interrupted(make_tuning(broken, **loop), stop)
    two = make_tuning(broken, **loop)
    resumed = two.train()
    timed = {"train_seconds": 0, "pictures_per_s": 0, "throughput": {}}
    assert result | timed == resumed | timed and result["steps"] == 9
    for name, value in weights_of(one.objective).items():
        assert torch.equal(value, weights_of(two.objective)[name]), name
    untuned = load_encoder(str(clip_project / "bert")).model.state_dict()
    for name, value in one.encoder.model.state_dict().items():  # statistics of BatchNorm stay as they were
        assert "running" not in name or torch.equal(value, untuned[name]), name
    assert log_of(whole) == log_of(broken)
    steps = [row["step"] for row in log_of(broken) if "loss" in row]
    assert steps == list(range(1, 10)) and [row["step"] for row in log_of(broken) if "valid" in row] == [0, 3, 6, 9]


def test_killed_while_a_checkpoint_is_written_the_average_is_that_of_its_step(make_tuning, monkeypatch, tmp_path):
    """Weights and average are one file: there is no moment when one is a checkpoint ahead of the other."""
    from train import run as module

    loop, write, saves = {"steps": 6, "ema": 0.8}, module.save_state, []

    def save(path, *rest):
        if path.name == "state.safetensors":
            saves.append(path)
            if len(saves) == 2:
                raise KeyboardInterrupt
        write(path, *rest)

    whole = make_tuning(tmp_path / "whole", **loop)
    whole.train()
    monkeypatch.setattr(module, "save_state", save)
    with pytest.raises(KeyboardInterrupt):
        make_tuning(tmp_path / "broken", **loop).train()
    resumed = make_tuning(tmp_path / "broken", **loop)
    resumed.train()
    for name, value in weights_of(whole.objective).items():
        assert torch.equal(value, weights_of(resumed.objective)[name]), name


def scripted(figures: list[float], seen: list):
    """A validation that answers from a list and keeps what it was asked about."""

    def answer(self: Validation) -> dict[str, float]:
        seen.append(weights_of(self.objective))
        return {"ndcg@10": figures[len(seen) - 1]}

    return answer


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_patience_stops_and_the_best_weights_are_kept(make_tuning, monkeypatch, tmp_path, ema):
    seen: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(Validation, "__call__", scripted([0.1, 0.05, 0.3, 0.3, 0.2, 0.25, 0.9], seen))
    tuning = make_tuning(steps=20, eval_every=2, patience=3, ema=ema)
    result = tuning.train()
    assert (result["steps"], result["best_step"], result["valid_best"]) == (10, 4, {"ndcg@10": 0.3})
    assert result["valid_start"] == {"ndcg@10": 0.1} and len(seen) == 6
    for name, value in weights_of(tuning.objective).items():
        assert torch.equal(value, seen[2][name]), name
    assert any(not torch.equal(value, seen[5][name]) for name, value in seen[2].items())
    tuning.export("bert", {"objective": 0, "towers": 0, "loop": 0, "holdout": 0.1, "valid": 0}, result)
    exported = load_encoder(str(tmp_path))
    assert exported.gate is not None and torch.equal(exported.gate.bias, seen[2]["gate.bias"])
    assert torch.equal(exported.model.visual.head.proj.weight, seen[2]["towers.model.visual.head.proj.weight"])


def test_the_start_stays_where_nothing_is_better(make_tuning, monkeypatch):
    seen: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(Validation, "__call__", scripted([0.5, 0.4, 0.4], seen))
    tuning = make_tuning(steps=4, eval_every=2)
    assert tuning.train()["best_step"] == 0
    assert all(torch.equal(value, seen[0][name]) for name, value in weights_of(tuning.objective).items())


def test_the_average_against_a_loop():
    rng, decay = np.random.default_rng(0), 0.4
    values = rng.normal(size=(6, 3)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(values[0].copy()))
    average, wanted = Average({"p": parameter}, decay), [float(x) for x in values[0]]
    for step in range(1, 6):
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values[step]))
        average.update(step)
        share = min(decay, (1 + step) / (10 + step))
        wanted = [share * old + (1 - share) * float(new) for old, new in zip(wanted, values[step], strict=True)]
        with average.in_place():
            assert parameter.tolist() == pytest.approx(wanted, rel=1e-5)
        assert parameter.tolist() == values[step].tolist()  # and the weights are back
    with pytest.raises(KeyboardInterrupt), average.in_place():
        raise KeyboardInterrupt
    assert parameter.tolist() == values[5].tolist()


def test_what_is_validated_is_the_average(make_tuning, monkeypatch):
    seen: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(Validation, "__call__", scripted([0.0, 0.1, 0.2], seen))
    tuning, raw = make_tuning(steps=4, eval_every=2, ema=0.9), []
    inner, name = Average.update, "towers.model.visual.head.proj.weight"

    def update(self: Average, step: int) -> None:
        raw.append(self.parameters[name].detach().clone())
        inner(self, step)

    monkeypatch.setattr(Average, "update", update)
    tuning.train()
    mean = seen[0][name].double()
    for step, weights in enumerate(raw, 1):
        share = min(0.9, (1 + step) / (10 + step))
        mean = share * mean + (1 - share) * weights.double()
        if step % 2 == 0:
            torch.testing.assert_close(seen[step // 2][name], mean.float())
            assert not torch.allclose(seen[step // 2][name], weights, atol=1e-5)
