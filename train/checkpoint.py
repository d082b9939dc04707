"""The state of a run in one safetensors file: trainable weights, Adam's moments, the step. Whole or absent, no pickle.

Sharded weights (FSDP2) are gathered to whole ones on the way out and cut again on the way in, so that a file does not know
how many processes wrote it: a run may go on with another number of them.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor, distribute_tensor

Named = dict[str, torch.nn.Parameter]


def save_state(
    path: Path, parameters: Named, optimizer: torch.optim.Optimizer | None, progress: dict[str, Any], write: bool = True
) -> None:
    """Write weights, moments and `progress` (JSON-able, with "step": finished steps) beside `path`, then rename.

    Where weights are sharded every process calls this, because gathering takes all of them; the one with `write` writes.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        moments = optimizer.state.get(parameter, {}) if optimizer is not None else {}
        named = {f"weight/{name}": parameter} | {f"adam/{name}/{moment}": value for moment, value in moments.items()}
        for key, value in named.items():
            gathered = whole(torch.as_tensor(value).detach())
            if write:  # the others only take part; sharded ones leave the device at once
                tensors[key] = (gathered.cpu() if isinstance(value, DTensor) else gathered).contiguous()
    if not write:
        return
    beside = path.with_name(path.name + ".tmp")
    save_file(tensors, beside, metadata={"progress": json.dumps(progress)})
    beside.replace(path)


def load_state(path: Path, parameters: Named, optimizer: torch.optim.Optimizer | None) -> dict[str, Any] | None:
    """Put a saved state back in place; returns its progress, or None when there is none. Every process calls this."""
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
        saved = set(file.keys())
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(_like(file.get_tensor(f"weight/{name}"), parameter))
                if optimizer is None:
                    continue
                moments = [key for key in saved if key.startswith(f"adam/{name}/")]
                if moments:
                    optimizer.state[parameter] = {
                        key.rsplit("/", 1)[1]: _moment(key, file.get_tensor(key), parameter) for key in sorted(moments)
                    }
    return progress


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or what its shards are together (then every process must ask)."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value` where `parameter` is, and cut as it is; the order of names is the same in every process."""
    value = value.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


def _moment(key: str, value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Adam keeps its step count on the CPU and its moments beside the weight."""
    return value if key.endswith("/step") else _like(value, parameter)
