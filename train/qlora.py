"""QLoRA (arXiv 2305.14314): the language model's linear layers in 4 bits (NF4), frozen; LoRA learns beside them.

The adapters were fitted to the 4-bit weights, not to those they came from. So what is published is the 4-bit weights written
out as floats plus the adapters: exactly the function that was trained and validated, in an ordinary folder.
"""

import importlib.util
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from navigator.contracts import UserError
from train.sharding import is_sharded


def check_quantiser() -> torch.device:
    """The GPU that will hold the 4-bit weights.

    Raises:
        UserError: no CUDA device, or bitsandbytes is not installed.
    """
    if not torch.cuda.is_available():
        raise UserError("language 'qlora' needs a CUDA device and this machine has none; use lora")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "language 'qlora' needs bitsandbytes, which is not installed; `pip install navigator[qlora]`, or use lora"
        )
    return torch.device("cuda", torch.cuda.current_device())


def loading_place(accelerator: Accelerator, language: str) -> torch.device:
    """Where training wants the model opened: on its device, or beside it where its language model is still to be narrowed.

    Raises:
        UserError: 4-bit weights where they cannot be, before anything is read.
    """
    if language != "qlora":
        return accelerator.device
    check_quantiser()
    if is_sharded(accelerator):
        raise UserError("language 'qlora' does not run under FSDP; use ddp.yaml or one-gpu.yaml, or language lora")
    return torch.device("cpu")  # split_parts puts it on the GPU in 4 bits


def quantise(model: Any, device: torch.device) -> None:
    """Put the linear layers of the language model's decoder into 4 bits, and the whole model on `device`, layer by layer."""
    import bitsandbytes as bnb  # pyright: ignore[reportMissingImports] - an extra

    for parent, name, layer in _linear_layers(model, nn.Linear):
        small = bnb.nn.Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, torch.bfloat16, quant_type="nf4", device="meta"
        )  # fmt: skip
        small.weight = bnb.nn.Params4bit(layer.weight.detach(), requires_grad=False, quant_type="nf4", module=small)
        small.bias = layer.bias
        setattr(parent, name, small.to(device))
    model.to(device)


def dequantise(model: Any) -> None:
    """Write every 4-bit layer out as floats again: the values that training multiplied by, not those before it."""
    import bitsandbytes as bnb  # pyright: ignore[reportMissingImports] - an extra

    for parent, name, layer in _linear_layers(model, bnb.nn.Linear4bit):
        large = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        large.weight = nn.Parameter(weight, requires_grad=False)
        if layer.bias is not None:  # bitsandbytes narrows it to what it multiplies in
            large.bias = nn.Parameter(layer.bias.detach().float(), requires_grad=False)
        setattr(parent, name, large)


def _linear_layers(model: Any, kind: type[nn.Module]) -> list[tuple[nn.Module, str, Any]]:
    """(parent, name in it, layer) of the decoder's layers of this kind; LoRA's own matrices are not among them."""
    layers: nn.Module = model.model.language_model.layers
    return [
        (parent, name, layer)
        for path, parent in layers.named_modules()
        for name, layer in parent.named_children()
        if isinstance(layer, kind) and "lora_" not in f"{path}.{name}"
    ]
