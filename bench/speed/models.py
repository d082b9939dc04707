"""The models behind the ways: one language model with random weights, and in its tower's place what a way needs.

The stock model, the same model with stored features, and the swap's models (navigator.swap) share one language model and one
head, so that they differ in the tower's place alone and fit into memory together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bench.speed.options import Attention
from bench.speed.ways import Way
from navigator.contracts.errors import UserError
from navigator.shapes import Shape, random_stock
from navigator.swap import transplant
from navigator.tower import Tower, TowerOutput

RECOMPILED = 64
TOKEN_RMS = 0.02  # what Transformers draws word embeddings with


class StoredFeatures(Tower):
    """In the tower's place: features that were computed before.

    Args:
        dtype: of the features.
    """

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self._dtype = dtype

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    def forward(self, pixel_values: torch.Tensor, grid_thw: torch.Tensor | None = None, **_: object) -> TowerOutput:
        """pixel_values: (1 + levels, tokens, H), what the tower gave."""
        return TowerOutput(pooler_output=pixel_values[0], deepstack_features=list(pixel_values[1:]))


def build_models(
    shape: Shape, ways: Sequence[Way], dim: int, device: torch.device, dtype: torch.dtype, seed: int
) -> dict[str, Any]:
    """Way -> its model; "stock" is always among them.

    Args:
        shape: sizes.
        ways: whose models are needed.
        dim: of the item vectors.
        device, dtype: where and in what they run.
        seed: of all weights.
    """
    stock = random_stock(shape, device, dtype, seed)
    models, swapped = {"stock": stock}, {}
    for way in ways:
        if way.shows == "pixels":
            models[way.name] = stock
        elif way.shows == "features":
            models[way.name] = _with_stored_features(stock, dtype)
        else:
            if way.k not in swapped:
                swapped[way.k] = _swapped(stock, way.k, dim, shape, device, dtype, seed)
            models[way.name] = swapped[way.k]
    return models


def use_attention(stock: Any, attention: Attention) -> None:
    """Both towers' attention kernel.

    Raises:
        UserError: this machine does not have it.
    """
    if attention == "flash_attention_2" and stock.device.type != "cuda":
        raise UserError("attention flash_attention_2 needs a GPU; allowed here are sdpa and eager")
    try:
        stock.set_attn_implementation(attention)
    except (ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"attention {attention} cannot be used here ({reason}); allowed are sdpa and eager, or install flash-attn"
        ) from error


def compile_parts(stock: Any) -> None:
    """torch.compile, in place, for what holds no cache: feed-forwards and norms of both towers."""
    torch._dynamo.config.recompile_limit = RECOMPILED  # one module class serves several ranks and widths
    parts = [part for layer in stock.model.language_model.layers for part in _of_layer(layer)]
    parts += [part for block in stock.model.visual.blocks for part in (block.mlp, block.norm1, block.norm2)]
    for part in parts:
        part.compile(dynamic=True)  # batches and lengths differ


def _of_layer(layer: Any) -> tuple[nn.Module, ...]:
    attention = layer.self_attn
    return layer.mlp, layer.input_layernorm, layer.post_attention_layernorm, attention.q_norm, attention.k_norm


def _with_stored_features(stock: Any, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        model = type(stock)(stock.config)
    model.model.language_model, model.lm_head = stock.model.language_model, stock.lm_head
    model.model.visual = StoredFeatures(dtype)
    return model.eval()


def _swapped(
    stock: Any, k: int, dim: int, shape: Shape, device: torch.device, dtype: torch.dtype, seed: int
) -> Any:  # fmt: skip
    spec = {
        "kind": "item", "dim": dim, "tokens": k, "encoder": "random", "content_dim": dim,
        "deepstack_levels": len(shape.deepstack), "token_rms": TOKEN_RMS,
    }  # fmt: skip
    unused = shape.vocab_size - 1  # these requests ask for words, not for a query vector
    return transplant(stock, spec, unused, dtype, seed).to(device).requires_grad_(False)
