"""The one training loop: AdamW, warm-up and cosine, accumulation, exact resume, best weights by validation.

A step's batch depends on (seed, step) alone and the dropout generator is seeded by them too, so that a run interrupted
anywhere and started again ends with the weights of an uninterrupted one (bit for bit on a CPU). Every process draws the same
global batch and takes its share; losses are sums divided by the global batch size, so any number of processes and any
accumulation optimise the same number.
"""

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch import nn
from tqdm import tqdm

from navigator.contracts import UserError
from train.average import Average
from train.checkpoint import Named, load_state, save_state


@dataclass(frozen=True)
class LoopConfig:
    """How long, how fast, how often.

    Attributes:
        steps: optimiser steps.
        batch_size: examples a step over all processes.
        accumulate: forward passes a step and process.
        learning_rates: by part, which are tower, heads and language of a model; other stages name theirs.
        warmup: steps of linear warm-up, then cosine to zero.
        weight_decay: of AdamW.
        max_grad_norm: gradient clipping; 0 is none.
        precision: no, bf16, or auto (bf16 where the hardware multiplies it).
        seed: of batches and dropout.
        save_every: steps between resumable checkpoints.
        eval_every: steps between validations; the best weights are kept, the starting ones among them; 0 is never.
        patience: stop after so many validations in a row without a better one; 0 is never.
        ema: validate and keep an exponential moving average of the weights with this decay; 0 is none.
        max_seconds: stop after this many seconds of training, 0 is never; for runs matched in time.
        tracker: an accelerate tracker (tensorboard, wandb, ...); empty for metrics.jsonl alone.
    """

    steps: int = 200
    batch_size: int = 32
    accumulate: int = 1
    learning_rates: dict[str, float] = field(default_factory=lambda: {"tower": 1e-3, "heads": 1e-3, "language": 2e-4})
    warmup: int = 10
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = "auto"
    seed: int = 0
    save_every: int = 50
    eval_every: int = 50
    patience: int = 0
    ema: float = 0.0
    max_seconds: float = 0.0
    tracker: str = ""


def make_accelerator(config: LoopConfig) -> Accelerator:
    """CPU, one GPU, DDP: whatever `accelerate launch` was told."""
    precision = config.precision
    if precision == "auto":
        fast = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        precision = "bf16" if fast else "no"
    if precision not in ("no", "bf16"):
        raise UserError(f"precision {precision!r}; allowed are auto, bf16, no")
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a task need not touch every part
    return Accelerator(
        mixed_precision=precision, cpu=not torch.cuda.is_available(), log_with=config.tracker or None,
        project_dir="runs/trackers" if config.tracker else None, kwargs_handlers=[unused],
    )  # fmt: skip


def training_loop(
    accelerator: Accelerator, objective: nn.Module, parts: dict[str, Named], draw: Callable[[int], Any],
    config: LoopConfig, work: Path, validate: Callable[[], dict[str, float]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train until `steps` (or `max_seconds`), leaving the best validated weights in the model.

    Args:
        accelerator: from `make_accelerator`.
        objective: forward(batch, start, stop) -> summed loss of examples start..stop of the global batch.
        parts: trainable parameters by part (tower, heads, language), each by name.
        draw: step -> the global batch, with `task` and `examples`; the same in every process.
        config: see LoopConfig.
        work: folder for state.safetensors, best.safetensors and metrics.jsonl.
        validate: gives figures by name, the first of which chooses the best weights (more is better); None keeps the last.

    Returns:
        {"steps", "train_seconds", "first_loss", "last_loss", "valid_start", "valid_best", "best_step"}.
    """
    run = _Run(accelerator, objective, parts, config, work, validate)
    bar = tqdm(
        total=config.steps, initial=run.step, desc="train", disable=not accelerator.is_main_process, mininterval=2
    )
    while not run.ended():
        batch = draw(run.step)
        started = time.perf_counter()
        loss = run.optimise(batch)
        run.progress["train_seconds"] += run.mean(time.perf_counter() - started)
        run.finish_step(batch.task, loss)
        bar.update()
        bar.set_postfix(loss=f"{loss:.3f}", task=batch.task)
    bar.close()
    return run.result()


class _Run:
    """The mutable state of one training run."""

    def __init__(self, accelerator, objective, parts, config, work, validate):
        self.accelerator, self.config, self.work, self.validate = accelerator, config, work, validate
        self.parameters: Named = {name: p for part in parts.values() for name, p in part.items()}
        groups = [
            {"params": list(part.values()), "lr": config.learning_rates[name], "base_lr": config.learning_rates[name]}
            for name, part in parts.items()
            if part
        ]
        plain = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        self.progress: dict[str, Any] = {"step": 0, "train_seconds": 0.0, "first_loss": None, "last_loss": None}
        self.average = Average(self.parameters, config.ema) if config.ema else None
        averages = self.average.values.items() if self.average else ()
        self.kept: Named = self.parameters | {f"average/{name}": value for name, value in averages}
        saved = load_state(work / "state.safetensors", self.kept, plain)
        self.progress |= saved or {}
        self.objective, self.optimizer = accelerator.prepare(objective, plain)
        self._trim_log()
        if config.tracker:
            accelerator.init_trackers("navigator")
        if saved is None and validate is not None and config.eval_every:
            self._validate()

    @property
    def step(self) -> int:
        return self.progress["step"]

    def ended(self) -> bool:
        """After the last step, out of time, or out of patience."""
        late = 0 < self.config.max_seconds <= self.progress["train_seconds"]
        tired = 0 < self.config.patience <= self.progress.get("stale", 0)
        return self.step >= self.config.steps or late or tired

    def optimise(self, batch: Any) -> float:
        """One optimiser step; returns the mean loss over the global batch, the same in every process."""
        config, world, rank = self.config, self.accelerator.num_processes, self.accelerator.process_index
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        self._set_rates()
        bounds = [
            round(i * len(batch.examples) / (world * config.accumulate)) for i in range(world * config.accumulate + 1)
        ]
        total = torch.zeros((), device=self.accelerator.device)
        for turn in range(config.accumulate):
            share = rank * config.accumulate + turn
            with self._sync(turn == config.accumulate - 1):
                loss = self.objective(batch, bounds[share], bounds[share + 1]) / len(batch.examples)
                self.accelerator.backward(loss * world)  # DDP averages gradients over processes
            total += loss.detach()
        if config.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.parameters.values(), config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(self.accelerator.reduce(total, "sum"))

    def mean(self, seconds: float) -> float:
        """Over all processes, so that all of them stop at `max_seconds` after the same step and at the same rates."""
        if not self.config.max_seconds:
            return seconds
        return float(self.accelerator.reduce(torch.tensor(seconds, device=self.accelerator.device), "mean"))

    def finish_step(self, task: str, loss: float) -> None:
        """Count, log, validate and save what is due after a step."""
        progress, config = self.progress, self.config
        progress["step"] += 1
        progress["last_loss"] = loss
        if progress["first_loss"] is None:
            progress["first_loss"] = loss
        self._log({"step": self.step, "task": task, "loss": loss, "seconds": round(progress["train_seconds"], 3)})
        if self.average:
            self.average.update(self.step)
        if self.validate is not None and config.eval_every and (self.ended() or self.step % config.eval_every == 0):
            self._validate()
        if self.accelerator.is_main_process and (self.ended() or self.step % config.save_every == 0):
            save_state(self.work / "state.safetensors", self.kept, self.optimizer.optimizer, progress)

    def result(self) -> dict[str, Any]:
        self.accelerator.wait_for_everyone()
        if "valid_best" in self.progress:
            load_state(self.work / "best.safetensors", self.parameters, None)
        elif self.average:
            self.average.put()
        return {("steps" if key == "step" else key): value for key, value in self.progress.items()}

    def _sync(self, last: bool):
        return self.accelerator.no_sync(self.objective) if not last else nullcontext()

    def _set_rates(self) -> None:
        done = self.step / self.config.steps
        if self.config.max_seconds:
            done = max(done, min(1.0, self.progress["train_seconds"] / self.config.max_seconds))
        scale = min(1.0, (self.step + 1) / max(self.config.warmup, 1)) * 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * scale

    def _validate(self) -> None:
        """Measure in the main process; keep the weights if they are the best so far."""
        if self.accelerator.is_main_process:
            with self.average.in_place() if self.average else nullcontext(), self.accelerator.autocast():
                self._keep_best(self.validate())
        self.progress["stale"] = int(broadcast_object_list([self.progress.get("stale", 0)])[0])

    def _keep_best(self, figures: dict[str, float]) -> None:
        self._log({"step": self.step, "valid": figures})
        self.progress.setdefault("valid_start", figures)
        self.progress.setdefault("stale", 0)
        chooses = next(iter(figures))
        if figures[chooses] > self.progress.get("valid_best", {}).get(chooses, -math.inf):
            self.progress |= {"valid_best": figures, "best_step": self.step, "stale": 0}
            save_state(self.work / "best.safetensors", self.parameters, None, {"step": self.step})
        else:
            self.progress["stale"] += 1

    def _log(self, row: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            with (self.work / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            if self.config.tracker:
                flat = {k: v for k, v in {**row, **row.get("valid", {})}.items() if isinstance(v, float)}
                self.accelerator.log(flat, step=row["step"])

    def _trim_log(self) -> None:
        """Drop the lines of steps that a resumed run is going to take again."""
        log = self.work / "metrics.jsonl"
        if self.accelerator.is_main_process and log.is_file():
            kept = [line for line in log.read_text().splitlines() if line and json.loads(line)["step"] <= self.step]
            log.write_text("".join(line + "\n" for line in kept) if self.step else "")
