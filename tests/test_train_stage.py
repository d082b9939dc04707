"""What a training stage adds to its model folder and says: checkpointing, rates, trackers, card, hub, 4-bit weights."""

import importlib.util
import inspect
import json
import os
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from huggingface_hub import ModelCard
from peft.tuners.lora import LoraModel
from torch import nn

from navigator.contracts import ItemVectors, UserError, publish, read_manifest
from navigator.contracts.vectors import write_vectors
from train import hub, qlora
from train.align import align
from train.card import EMBEDDED, _recipe, origin
from train.frame import main
from train.log import check_tracker
from train.loop import LoopConfig, make_accelerator
from train.parts import checkpoint_activations, merged, split_parts
from train.posttrain import posttrain
from train.throughput import Throughput, peak_flops, weights_per_token

LOOP = LoopConfig(steps=3, batch_size=4, warmup=1, precision="no", save_every=2, eval_every=2)


def load_training() -> Any:
    spec: Any = importlib.util.spec_from_file_location("test_training", Path(__file__).with_name("test_training.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def training() -> Any:
    return load_training()


@pytest.fixture(scope="module")
def half(project, tmp_path_factory) -> Path:
    """The project's vectors as `navigator embed` stores them, in float16."""
    out, kept = tmp_path_factory.mktemp("half") / "vectors", ItemVectors.open(project / "vectors")
    manifest = read_manifest(project / "vectors", "vectors", "")
    with publish(out, "vectors", manifest.config | {"precision": "float16"}, manifest.inputs) as work:
        write_vectors(work.path, kept.ids, kept.float32().astype("float16"))
    return out


def words(project: Path, half: Path, out: Path, *more: str, taste_graph: bool = True) -> list[str]:
    places = {"model": project / "swapped", "vectors": half, "catalog": project / "catalog"}
    if taste_graph:
        places["graph"] = project / "graph"
    found = [word for name, place in places.items() for word in (f"--{name}", str(place))]
    found += ["--loop.steps", "3", "--loop.batch_size", "4", "--loop.precision", "no", "--json"]
    found += ["--out", str(out), *more]
    if not taste_graph:
        return found
    found += ["--objective.tasks", '{"board-completion": 0.5, "describe": 0.5}', "--loop.eval_every", "2"]
    return [*found, "--valid_queries", "4", "--lora_rank", "2"]


@pytest.fixture(scope="module")
def trained(project, half, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("trained") / "model"
    assert main("train.posttrain", posttrain, words(project, half, out)) == 0
    return out, read_manifest(out, "model", "").metrics


# --- gradient checkpointing, bf16 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_checkpointing_changes_memory_and_nothing_else(training, make_backbone, tmp_path, kind):
    """Same losses and gradients; and it is on: every layer runs once more in the backward pass."""
    stock, found = make_backbone(tmp_path / "stock", kind), []
    for on in (False, True):
        world = training.make_world(stock)
        model = world.recommender.model.train()
        split_parts(model, "full")
        if on:
            checkpoint_activations(model)
        calls = []
        model.model.language_model.layers[0].self_attn.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        module = training.Objective(world, training.ObjectiveConfig(training.TASKS, candidates=4))
        loss = module(module.draw({"board-completion": 1.0}, 4, 0, 0), 0, 4)
        loss.backward()
        found.append(
            (float(loss.detach()), len(calls), {n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        )
    (loss, calls, gradients), (loss2, calls2, gradients2) = found
    assert loss == loss2 and (calls, calls2) == (1, 2) and gradients.keys() == gradients2.keys()
    for name, value in gradients.items():
        torch.testing.assert_close(gradients2[name], value, msg=name)


@pytest.fixture
def other_precision() -> Iterator[None]:
    """A process has one precision; a run in another one needs a fresh start, and leaves one."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def test_bf16_multiplies_narrow_and_keeps_wide_weights(training, make_backbone, tmp_path, other_precision):
    stock = make_backbone(tmp_path / "stock", "qwen2_5_vl")
    loop = LoopConfig(steps=2, batch_size=4, precision="bf16", eval_every=0)
    seen = set()
    linear = nn.Linear.forward

    def watched(self, value):
        answer = linear(self, value)
        seen.add(answer.dtype)
        return answer

    nn.Linear.forward = watched
    try:
        _, parts, result = training.train(stock, tmp_path, loop)
    finally:
        nn.Linear.forward = linear
    assert result["throughput"]["precision"] == "bf16" and torch.bfloat16 in seen
    assert {p.dtype for part in parts.values() for p in part.values()} == {torch.float32}


# --- throughput -------------------------------------------------------------------------------------------------------


def test_weights_every_token_meets_are_counted_by_whether_they_learn():
    layers = nn.ModuleList([nn.Linear(3, 5), nn.Sequential(nn.Linear(5, 2, bias=False), nn.LayerNorm(2))])
    layers[0].requires_grad_(False)
    assert weights_per_token(layers) == {"learning": 10, "frozen": 15}
    assert weights_per_token(None) == {"learning": 0, "frozen": 0}
    meter = Throughput(make_accelerator(LOOP), weights_per_token(layers))
    assert meter.flops_per_token == 6 * 10 + 4 * 15
    assert meter.described()["flops_formula"] == "6 x 10 learning + 4 x 15 frozen weights"
    assert meter.rates(8, 100, 2.0) == {"examples_per_s": 4.0, "tokens_per_s": 50.0}  # no mfu on a CPU
    assert meter.rates(8, None, 2.0) == {"examples_per_s": 4.0} and meter.rates(0, 0, 0.0) == {}


def test_mfu_is_a_share_of_the_peak_of_all_devices_or_null(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    gpus = {"num_processes": 2, "device": torch.device("cuda")}
    for name, precision, mfu in (
        ("NVIDIA H200", "bf16", 0.25), ("NVIDIA H200", "no", None), ("NVIDIA H200 MIG 1g.18gb", "bf16", None),
        ("X", "bf16", None),
    ):  # fmt: skip
        accelerator: Any = SimpleNamespace(**gpus, mixed_precision=precision)
        meter = Throughput(accelerator, {"learning": 1_000_000_000, "frozen": 0})
        tokens = 0.25 * 2 * 989e12 * 4 / 6e9  # in 4 s
        assert meter.rates(1, tokens, 4.0)["mfu"] == (None if mfu is None else pytest.approx(mfu, abs=1e-4)), name
        assert meter.rates(1, tokens, 4.0)["peak_memory_gb"] == 3.0


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12), ("NVIDIA L4", 121e12), ("NVIDIA L40S", 362e12), ("NVIDIA A10G", 70e12),
        ("NVIDIA A10", 125e12), ("NVIDIA GeForce RTX 4090", 165e12), ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None), ("Tesla T4", None),
    ],
)  # fmt: skip
def test_peaks_are_known_or_not_never_guessed(name, peak):
    assert peak_flops(name) == peak


def test_rates_stand_in_the_log_and_tokens_only_where_the_objective_counts_them(
    training, make_backbone, tmp_path, monkeypatch
):
    stock = make_backbone(tmp_path / "stock", "qwen2_5_vl")
    forward = training.Objective.forward

    def counting(self, batch, start, stop):
        loss = forward(self, batch, start, stop)
        self.tokens = 7 * (stop - start)
        return loss

    monkeypatch.setattr(training.Objective, "forward", counting)
    (tmp_path / "a").mkdir()
    _, _, result = training.train(stock, tmp_path / "a", replace(LOOP, accumulate=2))
    assert (result["tokens"], result["examples"]) == (3 * 4 * 7, 12)
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["tokens_per_s"] == pytest.approx(7 * row["examples_per_s"], rel=0.01, abs=0.1) for row in rows)
    rates = result["throughput"]
    assert (
        rates["tokens_per_s"] == pytest.approx(84 / result["train_seconds"], rel=0.01, abs=0.1)
        and rates["device"] == "cpu"
    )


# --- trackers ---------------------------------------------------------------------------------------------------------


class Notebook(GeneralTracker):
    """Keeps what it is told."""

    name, requires_logging_directory = "notebook", False
    told: ClassVar[list] = []
    main_process_only = True

    def __init__(self, run_name: str, **_):
        super().__init__()
        self.told.append(("start", run_name))

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        self.told.append(("config", values))

    def log(self, values, step=None, **_):
        self.told.append((step, values))

    def finish(self):
        self.told.append(("end", None))


def test_a_tracker_gets_settings_every_figure_and_its_end(training, make_backbone, tmp_path, monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    stock = make_backbone(tmp_path / "stock", "qwen2_5_vl")
    loop = LoopConfig(steps=2, batch_size=4, precision="no", eval_every=1, tracker="notebook")
    training.train_all(stock, tmp_path, loop, validate=True)
    told = Notebook.told
    assert told[0] == ("start", "navigator") and told[-1] == ("end", None)
    assert told[1][1]["batch_size"] == 4
    assert [step for step, values in told[2:-1] if "loss" in values] == [1, 2]
    assert [step for step, values in told[2:-1] if "ndcg@10" in values] == [0, 1, 2]
    assert all("examples_per_s" in values for _, values in told[2:-1] if "loss" in values)


def test_tensorboard_writes_event_files_when_it_is_there(training, make_backbone, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    monkeypatch.chdir(tmp_path)
    stock = make_backbone(tmp_path / "stock", "qwen2_5_vl")
    training.train(stock, tmp_path, replace(LOOP, tracker="tensorboard"))
    assert list((tmp_path / "runs" / "trackers").rglob("events.out.tfevents.*"))


def test_a_tracker_that_would_write_nothing_is_refused(monkeypatch):
    monkeypatch.setattr("train.log.get_available_trackers", list)
    with pytest.raises(UserError, match=r"loop.tracker 'wandb' is not installed; `pip install wandb`"):
        make_accelerator(LoopConfig(tracker="wandb"))
    with pytest.raises(UserError, match=r"loop.tracker 'diary'; allowed are .*tensorboard.*wandb"):
        check_tracker("diary")
    check_tracker("")


# --- the card ---------------------------------------------------------------------------------------------------------


def test_the_card_says_what_the_manifest_says(trained, project):
    out, metrics = trained
    read = ModelCard.load(out / "README.md")
    header = read.data.to_dict()
    assert header["library_name"] == "transformers" and "recommendation" in header["tags"]
    shown = {m["type"]: m["value"] for r in header["model-index"][0]["results"] for m in r["metrics"]}
    assert shown == pytest.approx(metrics["valid_best"])
    manifest = read_manifest(out, "model", "")
    for kind, fingerprint in manifest.inputs.items():
        assert f"| {kind} | `{fingerprint}` |" in read.text, kind
    assert "board-completion 0.5, describe 0.5" in read.text and "- language: lora" in read.text
    assert "- lora_rank: 2" in read.text and "- loop.steps: 3" in read.text and "- device: cpu" in read.text
    start, best = metrics["valid_start"]["ndcg@10"], metrics["valid_best"]["ndcg@10"]
    assert f"| ndcg@10 | {start:.4f} | {best:.4f} |" in read.text
    assert "licence of the backbone is not known here" in read.text and "license" not in header
    assert str(project) not in read.text and "loop.tracker: none" in read.text  # no paths of this machine
    assert _recipe({"encoder": str(project), "objective": {}, "loop": {}}) == {"encoder": project.name}


def test_the_card_s_own_lines_run(trained, project, half, capsys):
    code = re.search(r"```python\n(.*?)```", (trained[0] / "README.md").read_text(), re.DOTALL)
    assert code is not None
    told = code[1].replace("MODEL_FOLDER", str(trained[0])).replace("VECTORS_FOLDER", str(half))
    exec(told, {})
    assert "(1, 8)" in capsys.readouterr().out


def test_the_licence_is_inherited_from_stage_to_stage(trained, project, tmp_path, monkeypatch):
    assert origin(trained[0]) == (None, None)  # a local folder without a card
    monkeypatch.setattr("train.card.read_manifest", lambda *_: SimpleNamespace(config={"backbone": "embedded"}))
    assert origin(tmp_path) == EMBEDDED
    (tmp_path / "README.md").write_text("---\nlicense: mit\nbase_model: some/model\n---\n# x\n")
    assert origin(tmp_path) == ("some/model", "mit")
    monkeypatch.setattr("train.card.read_manifest", lambda *_: SimpleNamespace(config={"backbone": str(tmp_path)}))
    assert origin(project / "swapped") == (None, "mit")
    monkeypatch.setattr("train.card.read_manifest", lambda *_: SimpleNamespace(config={"backbone": "Org/Model"}))
    assert origin(project / "swapped") == ("Org/Model", None)


def test_an_aligned_model_has_a_card_too_and_hands_its_licence_on(project, half, tmp_path):
    out = tmp_path / "aligned"
    given = words(project, half, out, "--checkpointing", taste_graph=False)
    assert main("train.align", align, given) == 0
    text = (out / "README.md").read_text()
    assert "Nothing was validated; the weights of the last step are kept." in text and "model-index" not in text
    assert "Only the tower was trained" in text and "- checkpointing: True" in text and "describe 1" in text
    (out / "README.md").write_text(text.replace("library_name:", "license: apache-2.0\nlibrary_name:"))
    assert origin(out) == (None, "apache-2.0")


@pytest.mark.parametrize("command", [align, posttrain])
def test_help_explains_every_option(command, capsys):
    assert main("train", command, ["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    options = [name for name in inspect.signature(command).parameters if name not in ("objective", "loop")]
    for option in [*options, *(f"loop.{field.name}" for field in fields(LoopConfig))]:
        assert f"--{option} " in told, option
    for doc, groups in ((command.__doc__, "objective:|loop:"), (LoopConfig.__doc__, "-")):
        body = re.split("Args:|Attributes:", doc or "")[1]
        for line in re.findall(r"^ +(?!" + groups + r")\w+: (.*)", body, re.MULTILINE):
            assert " ".join(line.split())[:40] in told, line


# --- push_to_hub ------------------------------------------------------------------------------------------------------


def test_push_uploads_the_published_folder_and_once_more_when_nothing_changed(
    trained, project, half, monkeypatch, capsys
):
    asked: list = []

    class Hub:
        def create_repo(self, repo, **given):
            asked.append((repo, given))
            return SimpleNamespace(repo_id=f"me/{repo}", __str__=None)

        def upload_folder(self, **given):
            files = {path.name for path in Path(given["folder_path"]).iterdir()}
            asked.append((given["repo_id"], files))

    monkeypatch.setattr(hub, "HfApi", Hub)
    monkeypatch.setattr(hub, "get_token", lambda: "t")
    out, _ = trained
    capsys.readouterr()
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "taste")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["unchanged"] and "pushed" in answer
    assert asked[0] == ("taste", {"private": True, "exist_ok": True})
    assert (
        asked[1][0] == "me/taste" and {"README.md", "model.safetensors", "config.json", "manifest.json"} <= asked[1][1]
    )


def test_push_fails_in_one_line(trained, project, half, monkeypatch, capsys):
    out, _ = trained
    monkeypatch.setattr(hub, "get_token", lambda: None)
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "me/taste")) == 2
    assert capsys.readouterr().err == (
        "error: push_to_hub me/taste: nobody is logged in; set HF_TOKEN or run `hf auth login` first\n"
    )
    monkeypatch.setattr(hub, "get_token", lambda: "t")
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "a/b/c")) == 2
    assert "push_to_hub 'a/b/c' is no repository name" in capsys.readouterr().err
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # so that the real client refuses without asking anybody
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "me/taste")) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "is complete but was not pushed to me/taste (" in err


# --- QLoRA ------------------------------------------------------------------------------------------------------------


def test_qlora_is_refused_before_anything_is_read_where_it_cannot_run(project, half, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main("train.posttrain", posttrain, words(project, half, tmp_path / "out", "--language", "qlora")) == 2
    assert "language 'qlora' needs a CUDA device and this machine has none; use lora" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.work").exists()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(qlora.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"needs bitsandbytes, which is not installed; `pip install navigator\[qlora\]`"
    ):
        qlora.check_quantiser()


def test_qlora_trains_adapters_over_four_bits_and_publishes_what_it_trained(
    training, make_backbone, tmp_path, monkeypatch
):
    """bitsandbytes has kernels for CPUs too; what is published answers as the 4-bit model did, and is an ordinary one."""
    bnb = pytest.importorskip("bitsandbytes", reason="the extra qlora is not installed")
    monkeypatch.setattr("train.parts.check_quantiser", lambda: torch.device("cpu"))
    world = training.make_world(make_backbone(tmp_path / "stock", "qwen2_5_vl"))
    model = world.recommender.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts, lora = split_parts(model, "qlora", 2)
    assert isinstance(lora, LoraModel) and all(".lora_" in name for name in parts["language"])
    small = [m for m in model.model.language_model.layers.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert len(small) == 2 * 7 and all(m.weight.dtype == torch.uint8 for m in small)
    assert weights_per_token(model.model.language_model.layers)["frozen"] == sum(
        m.in_features * m.out_features for m in small
    )
    with torch.no_grad():
        for parameter in parts["language"].values():
            parameter.normal_(std=0.1)
    answer = world.recommender.query_vectors([[1, 2, 3], [4]])
    whole = merged(model, lora, "qlora")
    assert world.recommender.query_vectors([[1, 2, 3], [4]]) == pytest.approx(answer, abs=2e-2)
    assert whole.state_dict().keys() == before.keys()
    assert {value.dtype for value in whole.state_dict().values()} == {torch.float32}
