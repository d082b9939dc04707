"""Do the flags change the answer? Logits and tokens of the plain path, kept, and held against those of the flags' path."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch._dynamo.exc import BackendCompilerFailed

from bench.speed.figures import SameOutput
from bench.speed.measure import Runner, runner_of
from bench.speed.options import Options, Point
from bench.speed.plain import Plain
from bench.speed.prompts import make_prompt
from bench.speed.ways import WAYS
from navigator.contracts.errors import UserError


@dataclass(frozen=True)
class Said:
    """(1, vocabulary) logits after the prompt and (1, generated) tokens, on the host."""

    logits: torch.Tensor
    tokens: torch.Tensor


def changes_path(options: Options) -> bool:
    """Whether any flag leaves the plain path: stock modules, sdpa, one kernel after another."""
    return options.cuda_graphs or options.compile or options.attention != "sdpa"


def plainly(models: dict[str, Any], point: Point, options: Options) -> dict[str, Said]:
    """What every way answers on the plain path; asked before compiling or another attention changes the modules."""
    return {name: _said(lambda name=name: _plain(models[name], name, point, options)) for name in options.ways}


def compared(
    models: dict[str, Any], point: Point, options: Options, before: dict[str, Said]
) -> list[SameOutput]:  # fmt: skip
    """The same with the flags.

    Raises:
        UserError: the machine cannot compile.
    """
    rows = []
    for name, plain in before.items():
        try:
            now = _said(lambda name=name: runner_of(models[name], WAYS[name], point, 1, options))
        except BackendCompilerFailed as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"torch.compile does not work here ({reason}); leave out --compile, or install a C++ compiler (on a GPU: "
                "triton)"
            ) from error
        rows.append(
            SameOutput(
                shape=point.shape, way=name, max_difference=float((now.logits - plain.logits).abs().max()),
                std=float(plain.logits.std()), tokens_agree=float((now.tokens == plain.tokens).float().mean()),
            )
        )  # fmt: skip
    return rows


def _plain(model: Any, name: str, point: Point, options: Options) -> Plain:
    prompt = make_prompt(model, WAYS[name], point, 1, options.dim, options.seed)
    return Plain(model, WAYS[name], prompt, point.generated)


def _said(make: Callable[[], Runner]) -> Said:
    runner = make()
    runner.put()
    runner.prefill()
    tokens = runner.decode()
    return Said(runner.logits.float().cpu(), tokens)
