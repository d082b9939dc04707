"""The state of a run in one safetensors file: trainable weights, Adam's moments, the step. Whole or absent, no pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Named = dict[str, torch.nn.Parameter]


def save_state(
    path: Path, parameters: Named, optimizer: torch.optim.Optimizer | None, progress: dict[str, Any]
) -> None:
    """Write weights, moments and `progress` (JSON-able, with "step": finished steps) beside `path`, then rename."""
    tensors = {f"weight/{name}": p.detach().contiguous() for name, p in parameters.items()}
    if optimizer is not None:
        for name, parameter in parameters.items():
            for moment, value in optimizer.state.get(parameter, {}).items():
                tensors[f"adam/{name}/{moment}"] = torch.as_tensor(value).contiguous()
    beside = path.with_name(path.name + ".tmp")
    save_file(tensors, beside, metadata={"progress": json.dumps(progress)})
    beside.replace(path)


def load_state(path: Path, parameters: Named, optimizer: torch.optim.Optimizer | None) -> dict[str, Any] | None:
    """Put a saved state back in place; returns its progress, or None when there is none."""
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
        saved = set(file.keys())
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(file.get_tensor(f"weight/{name}"))
                if optimizer is None:
                    continue
                moments = [key for key in saved if key.startswith(f"adam/{name}/")]
                if moments:
                    optimizer.state[parameter] = {
                        key.rsplit("/", 1)[1]: file.get_tensor(key).to(_home(key, parameter)) for key in moments
                    }
    return progress


def _home(key: str, parameter: torch.nn.Parameter) -> torch.device:
    """Adam keeps its step count on the CPU and its moments beside the weight."""
    return torch.device("cpu") if key.endswith("/step") else parameter.device
