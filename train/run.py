"""One step of a run after another, its validation, and what is kept of it: the mutable side of train.loop."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from train.average import Average
from train.checkpoint import Named, load_state, save_state
from train.config import LoopConfig
from train.log import Log
from train.sharding import Called, at, is_sharded, join, places, settle, validate_sharded
from train.throughput import Throughput, weights_per_token


class Run:
    """The state of one training run; arguments as in train.loop.training_loop."""

    def __init__(
        self, accelerator: Accelerator, objective: nn.Module, parts: dict[str, Named], config: LoopConfig, work: Path,
        validate: Callable[[], dict[str, float]] | None, per_token: nn.Module | None,
        held: dict[str, float] | None = None,
    ):  # fmt: skip
        self.accelerator, self.config, self.work, self.validate = accelerator, config, work, validate
        self.held = held or {}
        self.plain, self.sharded = objective, is_sharded(accelerator)
        self.meter = Throughput(accelerator, weights_per_token(per_token))
        self.progress: dict[str, Any] = {
            "step": 0,
            "train_seconds": 0.0,
            "first_loss": None,
            "last_loss": None,
            "examples": 0,
        }
        self._prepare(parts)
        self.average = Average(self.parameters, config.ema) if config.ema else None
        averages = self.average.values.items() if self.average else ()
        self.kept: Named = self.parameters | {f"average/{name}": value for name, value in averages}
        saved = load_state(work / "state.safetensors", self.kept, self.optimizer.optimizer)
        self.progress |= saved or {}
        self.log = Log(accelerator, work, config, self.step)
        if saved is None and validate is not None and config.eval_every:
            self._validate()

    def _prepare(self, parts: dict[str, Named]) -> None:
        """Wrap objective and optimiser; under FSDP2 the parameters are other objects afterwards."""
        homes = places(self.plain, {name: p for part in parts.values() for name, p in part.items()})
        rates = self.config.learning_rates
        groups = [
            {"params": list(part.values()), "lr": rates[name], "base_lr": rates[name]}
            for name, part in parts.items()
            if part
        ]
        if self.sharded:
            settle(self.accelerator, self.plain)
        plain = torch.optim.AdamW(groups, weight_decay=self.config.weight_decay)
        self.objective, self.optimizer = self.accelerator.prepare(Called(self.plain), plain)
        self.parameters: Named = at(homes)

    @property
    def step(self) -> int:
        return self.progress["step"]

    def ended(self) -> bool:
        """After the last step, out of time, or out of patience."""
        late = 0 < self.config.max_seconds <= self.progress["train_seconds"]
        tired = 0 < self.config.patience <= self.progress.get("stale", 0)
        return self.step >= self.config.steps or late or tired

    def optimise(self, batch: Any) -> tuple[float, float | None]:
        """One optimiser step; returns mean loss and tokens read of the global batch, the same in every process."""
        config, world, rank = self.config, self.accelerator.num_processes, self.accelerator.process_index
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        self._set_rates()
        bounds = [
            round(i * len(batch.examples) / (world * config.accumulate)) for i in range(world * config.accumulate + 1)
        ]
        total = torch.zeros(2, device=self.accelerator.device)  # loss, tokens
        for turn in range(config.accumulate):
            share = rank * config.accumulate + turn
            with self._sync(turn == config.accumulate - 1):
                with self.accelerator.autocast():  # under FSDP2 accelerate leaves it out
                    summed = self.objective(self.plain.forward, batch, bounds[share], bounds[share + 1])
                loss = summed.float() / len(batch.examples)
                self.accelerator.backward(loss * world)  # DDP and FSDP average gradients over processes
            total[0] += loss.detach()
            total[1] += getattr(self.plain, "tokens", 0)
        if config.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.parameters.values(), config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        reduced: Any = self.accelerator.reduce(total, "sum")
        loss, tokens = reduced.tolist()
        return loss, tokens if hasattr(self.plain, "tokens") else None

    def mean(self, seconds: float) -> float:
        """Over all processes, so that all of them stop at `max_seconds` after the same step and at the same rates."""
        if not self.config.max_seconds:
            return seconds
        meant: Any = self.accelerator.reduce(torch.tensor(seconds, device=self.accelerator.device), "mean")
        return float(meant)

    def finish_step(self, batch: Any, loss: float, tokens: float | None, seconds: float) -> None:
        """Count, log, validate and save what is due after a step."""
        progress, config = self.progress, self.config
        progress["step"] += 1
        progress["train_seconds"] += seconds
        progress["examples"] += len(batch.examples)
        if tokens is not None:
            progress["tokens"] = progress.get("tokens", 0) + int(tokens)
        progress["last_loss"] = loss
        if progress["first_loss"] is None:
            progress["first_loss"] = loss
        rates = self.meter.rates(len(batch.examples), tokens, seconds)
        row = {"step": self.step, "task": batch.task, "loss": loss, "seconds": round(progress["train_seconds"], 3)}
        self.log.write(row | rates)
        if self.average:
            self.average.update(self.step)
        if self.validate is not None and config.eval_every and (self.ended() or self.step % config.eval_every == 0):
            self._validate()
        if self.ended() or self.step % config.save_every == 0:
            self._save("state", self.kept, self.optimizer.optimizer, progress)

    def result(self) -> dict[str, Any]:
        """Leave the best weights in the model, whole again in the main process, and tell how it went."""
        self.accelerator.wait_for_everyone()
        self.log.close()
        if "valid_best" in self.progress:
            load_state(self.work / "best.safetensors", self.parameters, None)
        elif self.average:
            self.average.put()
        progress = self.progress
        rates = self.meter.rates(progress["examples"], progress.get("tokens"), progress["train_seconds"])
        if self.sharded:
            join(self.objective, self.accelerator.is_main_process)
        found = {("steps" if key == "step" else key): value for key, value in progress.items()}
        return found | {"throughput": rates | self.meter.described()}

    def _save(self, name: str, parameters: Named, optimizer: Any, progress: dict[str, Any]) -> None:
        """Gathering shards takes every process; whole weights are the main one's affair."""
        main = self.accelerator.is_main_process
        if main or self.sharded:
            save_state(self.work / f"{name}.safetensors", parameters, optimizer, progress, main)

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
        """Measure in the main process (sharded: in all, which is one measurement); keep the weights if the best so far."""
        figures: Any = None
        assert self.validate is not None
        if self.sharded or self.accelerator.is_main_process:
            with self.average.in_place() if self.average else nullcontext(), self.accelerator.autocast():
                figures = validate_sharded(self.objective, self.validate) if self.sharded else self.validate()
        figures = broadcast_object_list([figures])[0]
        self.log.write({"step": self.step, "valid": figures})
        self.progress.setdefault("valid_start", figures)
        self.progress.setdefault("stale", 0)
        chooses = next(iter(figures))
        start = self.progress["valid_start"]
        holds = all(figures[name] >= start[name] - fall for name, fall in self.held.items() if name in start)
        if holds and figures[chooses] > self.progress.get("valid_best", {}).get(chooses, -math.inf):
            self.progress |= {"valid_best": figures, "best_step": self.step, "stale": 0}
            with self.average.in_place() if self.average else nullcontext():
                self._save("best", self.parameters, None, {"step": self.step})
        else:
            self.progress["stale"] += 1
