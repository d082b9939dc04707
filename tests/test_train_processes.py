"""Post-training on two processes, by DDP and by FSDP2, equals one process; what they write is whole.

On a CPU `accelerate` leaves FSDP off, so the tests turn it on by hand; the sharding itself (gloo) is the real one.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

import training_worlds as training
from navigator.contracts import UserError
from train.loop import LoopConfig
from train.sharding import settle
from two_processes import ROOT, in_two_processes

CONFIGS = ROOT / "configs" / "accelerate"
LOOP = LoopConfig(
    steps=6, batch_size=4, warmup=1, precision="no", save_every=2, eval_every=3, ema=0.5, seed=3, weight_decay=0.01
)  # fmt: skip


def launch_environment(config: Path) -> dict[str, str]:
    """What `accelerate launch --config_file` would tell its processes."""
    parser: argparse.ArgumentParser = launch_command_parser()
    arguments, _, _ = _validate_launch_command(
        parser.parse_args(["--config_file", str(config), "--num_processes", "2", "script.py"])
    )
    return {k: v for k, v in prepare_multi_gpu_env(arguments).items() if k.startswith(("FSDP_", "ACCELERATE_"))}


def force_fsdp(accelerator) -> None:
    """What accelerate does on GPUs when its config says FSDP."""
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
    if accelerator.mixed_precision != "no":
        accelerator.state.fsdp_plugin.set_mixed_precision(accelerator.mixed_precision)
    assert accelerator.is_fsdp2


def run_one(
    stock: Path, out: Path, fsdp: bool, language: str, precision: str = "no", stop_at: int | None = None
) -> None:
    """Train; the first process writes figures, the trained parameters, and the whole model as it would be published."""
    AcceleratorState._reset_state()
    out.mkdir(parents=True, exist_ok=True)
    try:
        world, _, result, lora = training.train_all(
            stock,
            out,
            replace(LOOP, precision=precision),
            stop_at,
            language,
            validate=True,
            prepare=force_fsdp if fsdp else None,
        )
    except KeyboardInterrupt:
        assert not (out / "figures.json").exists()
        return
    model = world.recommender.model
    if os.environ.get("RANK", "0") != "0":
        cut = [isinstance(p, DTensor) for p in model.parameters()]
        (out / "cut.json").write_text(json.dumps([sum(cut), len(cut)]))
        return
    names = ("first_loss", "last_loss", "valid_start", "valid_best", "best_step", "steps", "examples")
    (out / "figures.json").write_text(json.dumps({name: result[name] for name in names}))
    model = lora.merge_and_unload() if lora is not None else model
    model.save_pretrained(out / "model")
    queries = world.recommender.query_vectors([[1, 2], [3]])  # the joined model answers like any other
    save_file({"queries": torch.from_numpy(queries)}, out / "queries.safetensors")


def everything(stock: Path, home: Path) -> None:
    """All that two processes do, in one launch: starting Python twice takes longer than the training."""
    run_one(stock, home / "ddp-lora", False, "lora")
    run_one(stock, home / "fsdp-lora", True, "lora", stop_at=5)  # killed off a checkpoint, then run again
    run_one(stock, home / "fsdp-lora", True, "lora")
    run_one(stock, home / "fsdp-full", True, "full")
    run_one(stock, home / "fsdp-bf16", True, "full", "bf16")


@pytest.fixture(scope="module")
def pair(stock, tmp_path_factory) -> Path:
    """What two processes wrote."""
    home = tmp_path_factory.mktemp("pair")
    in_two_processes(__file__, "everything", stock, home, environment=launch_environment(CONFIGS / "fsdp.yaml"))
    return home


@pytest.fixture(scope="module")
def alone(stock, tmp_path_factory) -> Path:
    """What one process writes."""
    home = tmp_path_factory.mktemp("alone")
    run_one(stock, home / "lora", False, "lora")
    run_one(stock, home / "full", False, "full")
    run_one(stock, home / "bf16", False, "full", "bf16")
    AcceleratorState._reset_state()
    return home


@pytest.mark.parametrize(("by", "kind"), [("ddp", "lora"), ("fsdp", "lora"), ("fsdp", "full"), ("fsdp", "bf16")])
def test_two_processes_equal_one_in_figures_checkpoints_and_what_is_published(alone, pair, by, kind):
    """FSDP with LoRA was interrupted and resumed too; the files are those of one process, to the name."""
    one, two = alone / kind, pair / f"{by}-{kind}"
    cut, all_of_them = json.loads((two / "cut.json").read_text())
    assert cut == (all_of_them if by == "fsdp" else 0)
    same_run(one, two, 5 if kind == "bf16" else 1)


def same_run(one: Path, two: Path, loose: float) -> None:
    ours, theirs = (json.loads((folder / "figures.json").read_text()) for folder in (one, two))
    assert ours["steps"] == 6 and ours["examples"] == 24 and ours["first_loss"] != ours["last_loss"]
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, rel=1e-3 * loose, abs=1e-4), name
    for file in ("state", "best", "model/model", "queries"):
        first, second = (load_file(folder / f"{file}.safetensors") for folder in (one, two))
        assert first.keys() == second.keys(), file
        for name, value in first.items():
            torch.testing.assert_close(
                second[name], value, atol=2e-3 * loose, rtol=1e-2, msg=lambda t, n=name: f"{n}: {t}"
            )
    assert [len((folder / "metrics.jsonl").read_text().splitlines()) for folder in (one, two)] == [9, 9]


# --- the configs that are shipped -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_accelerate_config_is_one_that_accelerate_reads(path):
    config: Any = load_config_from_file(str(path))  # refuses unknown keys
    kinds = {"cpu": "NO", "one-gpu": "NO", "ddp": "MULTI_GPU", "fsdp": "FSDP"}
    assert str(config.distributed_type) in (kinds[path.stem], f"DistributedType.{kinds[path.stem]}")
    assert config.use_cpu == (path.stem == "cpu") and config.mixed_precision == "no"


def test_the_fsdp_config_names_the_decoder_layers_of_both_backbones(make_backbone, tmp_path, monkeypatch):
    for name, value in launch_environment(CONFIGS / "fsdp.yaml").items():
        monkeypatch.setenv(name, value)
    for kind, layer in (("qwen2_5_vl", "Qwen2_5_VLDecoderLayer"), ("qwen3_vl", "Qwen3VLTextDecoderLayer")):
        model = training.make_world(make_backbone(tmp_path / kind, kind)).recommender.model
        plugin = FullyShardedDataParallelPlugin()
        assert plugin.fsdp_version == 2 and layer in plugin.transformer_cls_names_to_wrap
        settle(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)), model)
        assert plugin.transformer_cls_names_to_wrap == [layer]
    plugin.transformer_cls_names_to_wrap = ["GPT2Block"]
    with pytest.raises(UserError, match="GPT2Block, but the model has none of these"):
        settle(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)), model)
