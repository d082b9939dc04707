"""train.clip as it is run: on two processes, by its command line, killed on the way."""

import inspect
import json
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from navigator.contracts import Catalog, UserError, read_manifest
from train.clip import run
from train.clip.__main__ import clip
from train.clip.config import RATES, ClipConfig, TowerConfig
from train.frame import main
from train.loop import LoopConfig, make_accelerator
from two_processes import ROOT, in_two_processes


def tuning_of(project: Path, work: Path, layers: int) -> run.Tuning:
    """Every loss at once: picture and text, neighbours, hard negatives, the gate, prefixes, graded weights, stay."""
    loop = LoopConfig(
        steps=6, batch_size=12, warmup=1, precision="no", save_every=4, eval_every=3, ema=0.5, patience=5, max_grad_norm=0.0,
        learning_rates=RATES,
    )  # fmt: skip
    objective = ClipConfig(prefixes=(4, 8, 0), hard_negatives=2, graded=0.5, stay=0.1)
    towers = TowerConfig(layers, layers, workers=0, min_area=0.5, flip=0.5)
    work.mkdir(parents=True, exist_ok=True)
    return run.Tuning(
        make_accelerator(loop), Catalog.open(project / "catalog"), project / "graph", str(project / "bert"), 0.1, 0.0,
        project / "cache-of-processes", towers, objective, loop, work,
    )  # fmt: skip


def gradients(tuning: run.Tuning) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of step 0 and its gradient by every parameter that learns, as the loop would compute them."""
    accelerator, objective = tuning.accelerator, tuning.objective.eval()
    parameters = {name: p for part in objective.parts().values() for name, p in part.items()}
    with torch.no_grad():
        for name in ("gate.bias", "gate.presence", "gate.content"):
            parameters[name].copy_(torch.randn(parameters[name].shape, generator=torch.Generator().manual_seed(1)))
    module = accelerator.prepare(objective)
    each = tuning.loop.batch_size // accelerator.num_processes
    start = accelerator.process_index * each
    loss = module(tuning.drawer[0], start, start + each) / tuning.loop.batch_size
    accelerator.backward(loss * accelerator.num_processes)
    total: Any = accelerator.reduce(loss.detach(), "sum")
    return float(total), {name: p.grad.detach().clone() for name, p in parameters.items() if p.grad is not None}


def everything(project: Path, out: Path) -> None:
    """Write loss and gradients, then train and write the losses and weights; the first process writes."""
    run.fast_dtype = lambda device: torch.float32  # type: ignore[assignment]
    loss, found = gradients(tuning_of(project, out / "gradients", 1))
    tuning = tuning_of(project, out / "training", 0)
    figures = tuning.train()
    if tuning.accelerator.is_main_process:
        found["processes"] = torch.tensor(tuning.accelerator.num_processes)
        kept = ("first_loss", "last_loss", "valid_best", "best_step", "steps")
        (out / "figures.json").write_text(json.dumps({"loss": loss} | {name: figures[name] for name in kept}))
        save_file({name: value.contiguous() for name, value in found.items()}, out / "gradients.safetensors")
        weights = {name: value.contiguous().clone() for name, value in tuning.objective.state_dict().items()}
        save_file(weights, out / "weights.safetensors")


def test_two_gloo_processes_equal_one_in_loss_gradients_and_weights(clip_project, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "fast_dtype", run.fast_dtype)  # put back what `everything` replaces
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    in_two_processes(__file__, "everything", clip_project, two)
    everything(clip_project, one)
    ours, theirs = (json.loads((folder / "figures.json").read_text()) for folder in (one, two))
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-6)
    assert (theirs["steps"], theirs["best_step"]) == (6, ours["best_step"])
    for name in ("first_loss", "last_loss"):
        assert theirs[name] == pytest.approx(ours[name], rel=1e-5), name
    gradients = load_file(one / "gradients.safetensors"), load_file(two / "gradients.safetensors")
    assert [int(found.pop("processes")) for found in gradients] == [1, 2]
    same(*gradients, 1e-5)
    for file in ("weights", "training/state"):  # Adam's weights forgive a wrong scale, its moments do not
        same(load_file(one / f"{file}.safetensors"), load_file(two / f"{file}.safetensors"), 1e-4)
    for part in ("trunk.layer4", "head.proj", "layer.1.", "text.proj", "gate.content", "gate.presence", "s_bias"):
        assert any(part in name and value.abs().max() > 1e-4 for name, value in gradients[1].items()), part


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], atol: float) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            second[name], value, atol=atol, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


# --- the command line ------------------------------------------------------------------------------------------------


def words(project: Path, out: Path, *more: str, taste_graph: bool = True) -> list[str]:
    found = ["--catalog", str(project / "catalog"), "--out", str(out), "--encoder", str(project / "bert")]
    found += ["--cache", str(project / "cache"), *(["--graph", str(project / "graph")] if taste_graph else [])]
    found += ["--objective.prefixes", "[4,0]", "--loop.precision", "no", "--loop.batch_size", "12", "--loop.steps", "4"]
    return [*found, "--loop.save_every", "1", "--loop.eval_every", "2", *more]


def test_help_lists_every_option_with_its_words(capsys):
    assert main("train.clip", clip, ["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    options = [
        f"--{name}" for name in inspect.signature(clip).parameters if name not in ("towers", "objective", "loop")
    ]
    for group, kind in (("towers", TowerConfig), ("objective", ClipConfig), ("loop", LoopConfig)):
        options += [f"--{group}.{field.name}" for field in fields(kind)]
        for line in (kind.__doc__ or "").split("Attributes:")[1].strip().splitlines():
            assert " ".join(line.split(": ", 1)[-1].split())[:60] in told, line
    for option in options:
        assert f"{option} " in told, option
    for name in ("catalog", "holdout", "valid", "cache"):
        line = next(line for line in (clip.__doc__ or "").splitlines() if line.strip().startswith(f"{name}: "))
        assert " ".join(line.split(": ", 1)[1].split()) in told, name


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--loop.batch_size", "0"], "loop.batch_size 0, loop.steps 4: allowed are 1 or more, 0 or more"),
        (["--loop.accumulate", "2"], "loop.accumulate 2: every anchor meets the whole batch"),
        (["--loop.learning_rates", '{"haeds": 1}'], "learning rate of 'haeds'; allowed parts are picture, text, heads"),
        (["--objective.prefixes", "[4,17]"], "prefixes [4, 17]: allowed are 1 to 16"),
        (["--objective.prefixes", "[]"], "prefixes []: allowed are"),
        (["--towers.picture_layers", "-2"], "picture_layers -2, text_layers 0: allowed are -1 (all), 0 (none) or more"),
        (["--towers.min_area", "0"], "towers.min_area 0.0"),
        (["--towers.workers", "-1"], "towers.workers -1"),
        (["--objective.picture_text", "0", "--objective.neighbours", "0"], "allowed are weights >= 0, not both 0"),
        (["--objective.neighbours", "-1"], "allowed are weights >= 0"),
        (["--holdout", "1.5"], "holdout 1.5: allowed is a share"),
        (["--holdout", "0.999"], "items are left to train on; lower --holdout"),
        (["--loop.precision", "fp8"], "precision 'fp8'; allowed are auto, bf16, no"),
        (["--encoder", "no-such"], "encoder 'no-such' is neither a folder nor a model name"),
        (["--loop.stepz", "3"], "valid keys:"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(clip_project, tmp_path, capsys, more, said):
    assert main("train.clip", clip, words(clip_project, tmp_path / "out", *more)) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (
        out == ""
        and len(lines) == 1
        and err.rstrip().endswith(lines[0])
        and said in lines[0]
        and "Traceback" not in err
    )
    assert not (tmp_path / "out").exists()


def test_neighbours_alone_need_a_graph_and_a_batch_its_processes(clip_project, tmp_path, capsys, monkeypatch):
    argv = words(clip_project, tmp_path / "out", "--objective.picture_text", "0", taste_graph=False)
    assert main("train.clip", clip, argv) == 2
    assert capsys.readouterr().err.startswith("error: objective.neighbours needs a taste graph; give --graph")
    monkeypatch.setattr("train.loop.make_accelerator", lambda loop: SimpleNamespace(num_processes=5))
    assert main("train.clip", clip, words(clip_project, tmp_path / "out")) == 2
    assert capsys.readouterr().err == "error: batch_size 12 must be a multiple of the 5 processes\n"


def test_a_finished_run_is_not_run_again_unless_something_changed(clip_project, tmp_path, capsys):
    argv = words(clip_project, tmp_path / "out", "--json")
    answers = []
    for more in ([], [], ["--holdout", "0.2"]):
        assert main("train.clip", clip, [*argv, *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert [answer["unchanged"] for answer in answers] == [False, True, False]
    assert {**answers[0], "unchanged": True} == answers[1] and answers[0]["steps"] == 4
    assert read_manifest(tmp_path / "out", "encoder", "").config["holdout"] == 0.2
    assert not (tmp_path / "out.work").exists() and answers[2]["train_items"] < answers[0]["train_items"]


def test_killed_in_the_middle_and_run_again(clip_project, tmp_path):
    """kill -9 after some steps: nothing can be taken for whole, and the next run goes on from there to the same weights."""
    out, whole = tmp_path / "broken", tmp_path / "whole"
    more = ["--loop.steps", "150", "--loop.eval_every", "0", "--loop.ema", "0.9"]
    process = subprocess.Popen(
        [sys.executable, "-m", "train.clip", *words(clip_project, out, *more)], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    log, deadline = tmp_path / "broken.work" / "metrics.jsonl", time.monotonic() + 600
    while (
        process.poll() is None
        and time.monotonic() < deadline
        and not (log.is_file() and log.read_text().count("\n") > 5)
    ):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    taken = log.read_text().count("\n")
    assert 5 < taken < 150 and not out.exists(), taken
    with pytest.raises(UserError, match="does not exist"):
        read_manifest(out, "encoder", "navigator")
    for folder in (out, whole):
        assert main("train.clip", clip, words(clip_project, folder, *more)) == 0
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 151))
    broken, unbroken = (load_file(folder / "open_clip_model.safetensors") for folder in (out, whole))
    same(broken, unbroken, 1e-3)
