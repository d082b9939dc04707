"""FSDP2 around one training loop: names survive the cutting of weights, validation sees them whole, the end joins them.

Without FSDP nothing here changes anything. With it, `fully_shard` replaces every parameter by a shard, and only calls that
pass through the wrapped module find whole ones; so training steps and validation both go through `Called`.
"""

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import FSDPModule

from navigator.contracts import UserError
from train.checkpoint import Named, whole


class Called(nn.Module):
    """What accelerate wraps: forward(function, *arguments) calls it, with the weights of `objective` whole meanwhile."""

    def __init__(self, objective: nn.Module):
        super().__init__()
        self.objective = objective

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether this run was launched with FSDP2.

    Raises:
        UserError: with FSDP1, which the loop does not know.
    """
    if accelerator.distributed_type.value != "FSDP":
        return False
    if not accelerator.is_fsdp2:
        raise UserError("fsdp_version 1 is not supported; set fsdp_version: 2 as configs/accelerate/fsdp.yaml does")
    return True


def settle(accelerator: Accelerator, module: nn.Module) -> None:
    """Fit the launch's FSDP settings to this model.

    Of the layer classes to wrap keep those it has: one config serves all backbones. And gather weights as wide as they are:
    autocast narrows products as it does in every other launch, so that the same losses come out (accelerate would round
    weights, gradients and even the loss to bfloat16).

    Raises:
        UserError: it has none of them.
    """
    plugin: Any = accelerator.state.fsdp_plugin
    plugin.mixed_precision_policy = None
    names = plugin.transformer_cls_names_to_wrap
    if not names:
        return
    there = {type(part).__name__ for part in module.modules()}
    plugin.transformer_cls_names_to_wrap = [name for name in names if name in there]
    if not plugin.transformer_cls_names_to_wrap:
        raise UserError(
            f"fsdp_transformer_layer_cls_to_wrap is {', '.join(names)}, but the model has none of these; name its decoder layer"
        )


def places(module: nn.Module, parameters: Named) -> dict[str, tuple[nn.Module, str]]:
    """Where each parameter hangs (its module and its name there), to be found again after it was replaced."""
    found = {id(p): (part, name) for part in module.modules() for name, p in part.named_parameters(recurse=False)}
    return {name: found[id(p)] for name, p in parameters.items()}


def at(homes: dict[str, tuple[nn.Module, str]]) -> Named:
    """The parameters that hang there now."""
    return {name: getattr(part, own) for name, (part, own) in homes.items()}


def validate_sharded(wrapped: nn.Module, validate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """`validate()` with whole weights; every process calls it and does the same work."""

    def measure() -> dict[str, float]:
        for part in wrapped.modules():  # what is allocated inside inference mode could not be trained on afterwards
            if isinstance(part, FSDPModule) and part is not wrapped:
                part.unshard()
                part.reshard()
        return validate()

    try:
        return wrapped(measure)
    finally:
        assert isinstance(wrapped, FSDPModule)
        wrapped.reshard()


def join(wrapped: nn.Module, keep: bool) -> None:
    """After training: where `keep`, whole weights in an ordinary model (on its device); every process calls it."""
    joined: dict[int, nn.Parameter] = {}  # tied weights stay tied
    for part in wrapped.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if id(parameter) not in joined:
                gathered = whole(parameter.detach())
                joined[id(parameter)] = nn.Parameter(gathered, parameter.requires_grad) if keep else parameter
            if keep:
                part.register_parameter(name, joined[id(parameter)])
    for part in wrapped.modules() if keep else ():
        if isinstance(part, FSDPModule):
            state = part._get_fsdp_state()
            state._pre_forward_hook_handle.remove()
            state._post_forward_hook_handle.remove()
