"""The options of the shared training loop."""

from dataclasses import dataclass, field

# Learning rates of a model's parts; `start` and `items` have few weights that see every example.
RATES = {"tower": 1e-3, "heads": 1e-3, "start": 1e-2, "maps": 1e-4, "items": 1e-3, "language": 2e-4, "emission": 5e-3}


@dataclass(frozen=True)
class LoopConfig:
    """How long, how fast, how often.

    Attributes:
        steps: optimiser steps.
        batch_size: examples a step over all processes.
        accumulate: forward passes a step and process.
        learning_rates: as {part: rate}; a model has tower, heads, start, maps, items, language and emission;
            other stages name theirs.
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
        tracker: an accelerate tracker (tensorboard, wandb, ...), writing to runs/trackers; empty for metrics.jsonl alone.
    """

    steps: int = 200
    batch_size: int = 32
    accumulate: int = 1
    learning_rates: dict[str, float] = field(default_factory=lambda: dict(RATES))
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
