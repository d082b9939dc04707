"""What training saves and measures: checkpointing, bf16, throughput, trackers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from torch import nn

import training_worlds as training
from navigator.contracts import UserError
from train.log import check_tracker
from train.loop import LoopConfig, make_accelerator
from train.parts import checkpoint_activations, split_parts
from train.throughput import Throughput, peak_flops, weights_per_token

LOOP = LoopConfig(steps=3, batch_size=4, warmup=1, precision="no", save_every=2, eval_every=2)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_checkpointing_changes_memory_and_nothing_else(make_backbone, tmp_path, kind):
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


def test_bf16_multiplies_narrow_and_keeps_wide_weights(stock, tmp_path, other_precision):
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


def test_rates_stand_in_the_log_and_tokens_only_where_the_objective_counts_them(stock, tmp_path, monkeypatch):
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


def test_a_tracker_gets_settings_every_figure_and_its_end(stock, tmp_path, monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    loop = LoopConfig(steps=2, batch_size=4, precision="no", eval_every=1, tracker="notebook")
    training.train_all(stock, tmp_path, loop, validate=True)
    told = Notebook.told
    assert told[0] == ("start", "navigator") and told[-1] == ("end", None)
    assert told[1][1]["batch_size"] == 4
    assert [step for step, values in told[2:-1] if "loss" in values] == [1, 2]
    assert [step for step, values in told[2:-1] if "ndcg@10" in values] == [0, 1, 2]
    assert all("examples_per_s" in values for _, values in told[2:-1] if "loss" in values)


def test_tensorboard_writes_event_files_when_it_is_there(stock, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    monkeypatch.chdir(tmp_path)
    training.train(stock, tmp_path, replace(LOOP, tracker="tensorboard"))
    assert list((tmp_path / "runs" / "trackers").rglob("events.out.tfevents.*"))


def test_a_tracker_that_would_write_nothing_is_refused(monkeypatch):
    monkeypatch.setattr("train.log.get_available_trackers", list)
    with pytest.raises(UserError, match=r"loop.tracker 'wandb' is not installed; `pip install wandb`"):
        make_accelerator(LoopConfig(tracker="wandb"))
    with pytest.raises(UserError, match=r"loop.tracker 'diary'; allowed are .*tensorboard.*wandb"):
        check_tracker("diary")
    check_tracker("")
