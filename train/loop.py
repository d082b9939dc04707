"""The one training loop: AdamW, warm-up and cosine, accumulation, exact resume, best weights by validation.

A step's batch depends on (seed, step) alone and the dropout generator is seeded by them too, so that a run interrupted
anywhere and started again ends with the weights of an uninterrupted one (bit for bit on a CPU). Every process draws the same
global batch and takes its share; losses are sums divided by the global batch size, so any number of processes and any
accumulation optimise the same number.

Under FSDP2 the same, with two demands: the work folder is on a disk that all processes see, and in each step the examples of
every process use the same parameters (one task a step does that).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn
from tqdm import tqdm

from navigator.contracts import UserError
from train.checkpoint import Named
from train.config import LoopConfig
from train.log import check_tracker
from train.run import Run


def make_accelerator(config: LoopConfig) -> Accelerator:
    """CPU, one GPU, DDP, FSDP2: whatever `accelerate launch` was told.

    Raises:
        UserError: a precision or a tracker that is not to be had.
    """
    precision = config.precision
    if precision == "auto":
        fast = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        precision = "bf16" if fast else "no"
    if precision not in ("no", "bf16"):
        raise UserError(f"precision {precision!r}; allowed are auto, bf16, no")
    check_tracker(config.tracker)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a task need not touch every part
    return Accelerator(
        mixed_precision=precision, cpu=not torch.cuda.is_available(), log_with=config.tracker or None,
        project_dir="runs/trackers" if config.tracker else None, kwargs_handlers=[unused],
    )  # fmt: skip


def training_loop(
    accelerator: Accelerator, objective: nn.Module, parts: dict[str, Named], draw: Callable[[int], Any],
    config: LoopConfig, work: Path, validate: Callable[[], dict[str, float]] | None = None, per_token: nn.Module | None = None,
    held: dict[str, float] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train until `steps` (or `max_seconds`), leaving the best validated weights in the model.

    Args:
        accelerator: from `make_accelerator`.
        objective: forward(batch, start, stop) -> summed loss of examples start..stop of the global batch. If it has an
            attribute `tokens`, that is how many real tokens its last forward read, and tokens/s are logged.
        parts: trainable parameters by part (tower, heads, language), each by name.
        draw: step -> the global batch, with `task` and `examples`; the same in every process.
        config: see LoopConfig.
        work: folder for state.safetensors, best.safetensors and metrics.jsonl.
        validate: gives figures by name, the first of which chooses the best weights (more is better); None keeps the last.
        held: validation figures that may fall so far below the start's and no farther, or weights are not kept; not counted
            where a figure is absent.
        per_token: the part of `objective` that every token passes, for MFU; see train.throughput.

    Returns:
        {"steps", "train_seconds", "first_loss", "last_loss", "valid_start", "valid_best", "best_step", "examples", "tokens"},
        and "throughput": see train.throughput.Throughput, over the whole run.
    """
    run = Run(accelerator, objective, parts, config, work, validate, per_token, held)
    bar = tqdm(
        total=config.steps, initial=run.step, desc="train", disable=not accelerator.is_main_process, mininterval=2
    )
    while not run.ended():
        batch = draw(run.step)
        started = time.perf_counter()
        loss, tokens = run.optimise(batch)
        run.finish_step(batch, loss, tokens, run.mean(time.perf_counter() - started))
        bar.update()
        bar.set_postfix(loss=f"{loss:.3f}", task=batch.task)
    bar.close()
    return run.result()
