"""Qwen-VL models of a published shape with random weights: what they cost can be measured without a hub, since time and
memory do not depend on the values.

`random_backbone` is a checkpoint folder to swap and train: what a swapped model keeps is full size (layers, heads,
vocabulary), the vision tower that the swap throws away is a placeholder with the right number of DeepStack levels, and the
tokenizer is another backbone's, because a shape's own lies on a hub; so a text becomes other tokens than the published model
would read, and the unused rows of the vocabulary are only weight. `random_stock` is the whole model, its vision tower too,
built in the memory of the device where it is measured and never written to disk.

Sizes are those of the config.json of Qwen/Qwen3-VL-2B-Instruct, -4B-Instruct and -8B-Instruct.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from navigator.contracts import UserError, is_current, publish, read_manifest
from navigator.contracts.manifest import MANIFEST, content_fingerprint

KIND = "backbone"


@dataclass(frozen=True)
class Vision:
    """A vision tower by its sizes: `depth` layers of `num_heads` heads; patches of 16 pixels, merged 2 by 2 into a token."""

    depth: int
    hidden_size: int
    num_heads: int
    intermediate_size: int


@dataclass(frozen=True)
class Shape:
    """A Qwen3-VL by its sizes, as its published config.json names them.

    Attributes:
        deepstack: vision layers whose features the first language layers receive.
        mrope_section: of half the head: time, height, width.
        tied: whether the language head is the word embedding.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    deepstack: tuple[int, ...]
    mrope_section: tuple[int, int, int]
    tied: bool = True
    vision: Vision = Vision(24, 1024, 16, 4096)


_BEYOND_TEXT = ("deepstack", "mrope_section", "tied", "vision")
SHAPES = {
    "qwen3-vl-2b": Shape(2048, 28, 16, 8, 128, 6144, 151_936, (5, 11, 17), (24, 20, 20)),
    "qwen3-vl-4b": Shape(2560, 36, 32, 8, 128, 9728, 151_936, (5, 11, 17), (24, 20, 20)),
    "qwen3-vl-8b": Shape(
        4096, 36, 32, 8, 128, 12288, 151_936, (8, 16, 24), (24, 20, 20), False, Vision(27, 1152, 16, 4304)
    ),
}


def named_shape(name: str) -> Shape:
    """``qwen3-vl-2b``, or ``qwen3-vl-2b:2`` cut to two language layers, and to as large a share of the vision tower.

    Raises:
        UserError: an unknown shape, or a number of layers it does not have.
    """
    head, colon, layers = name.partition(":")
    shape = SHAPES.get(head)
    if shape is None:
        raise UserError(f"backbone shape {head!r}; allowed are {', '.join(SHAPES)}, with :N for only N layers")
    if not colon:
        return shape
    if not layers.isdecimal() or not 1 <= int(layers) <= shape.num_hidden_layers:
        raise UserError(f"backbone shape {name!r}: layers {layers!r}, allowed are 1 to {shape.num_hidden_layers}")
    return cut(shape, int(layers))


def cut(shape: Shape, layers: int) -> Shape:
    """A shape with `layers` language layers, and vision layers and DeepStack levels in the same proportion, at least one each.

    What is no layer (word embedding, language head, the last merger) stays whole, and so weighs more than in the whole model.
    """
    share = layers / shape.num_hidden_layers
    depth = max(1, round(shape.vision.depth * share))
    levels = max(1, round(len(shape.deepstack) * share))
    taps = tuple(math.ceil((tap + 1) * depth / shape.vision.depth) - 1 for tap in shape.deepstack[:levels])
    return replace(shape, num_hidden_layers=layers, deepstack=taps, vision=replace(shape.vision, depth=depth))


def stock_config(shape: Shape) -> Qwen3VLConfig:
    """The whole model's config, with the published special tokens (Transformers' defaults are those)."""
    vision = vars(shape.vision) | {
        "out_hidden_size": shape.hidden_size,
        "deepstack_visual_indexes": list(shape.deepstack),
    }
    return Qwen3VLConfig(text_config=_text(shape), vision_config=vision, tie_word_embeddings=shape.tied)


def random_stock(shape: Shape, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Any:
    """A stock Qwen3-VL with random weights, drawn where it is to run.

    Args:
        shape: its sizes, vision tower included.
        device: whose memory holds it.
        dtype: of all weights.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    with device:
        model: Any = Qwen3VLForConditionalGeneration._from_config(stock_config(shape), dtype=dtype)
    return model.eval().requires_grad_(False)


def random_backbone(shape: Shape, words: Path, out: Path, seed: int = 0) -> Path:
    """A stock Qwen3-VL checkpoint folder of `shape` in bfloat16.

    Args:
        shape: its sizes.
        words: a backbone folder whose tokenizer and special tokens it takes.
        out: folder to publish as an artefact of kind "backbone".
        seed: of the weights.

    Returns:
        `out`. Nothing is done when it was made from this shape and these words.

    Raises:
        UserError: the tokenizer has more tokens than the shape.
    """
    sizes = {name: value for name, value in vars(shape).items() if name != "vision"}  # a placeholder here
    config = {"shape": sizes, "dtype": "bfloat16", "seed": seed}
    has_manifest = (words / MANIFEST).is_file()
    fingerprint = read_manifest(words, KIND, "").fingerprint if has_manifest else content_fingerprint(words, KIND)
    inputs = {"words": fingerprint}
    if is_current(out, KIND, config, inputs):
        return out
    tokenizer = AutoTokenizer.from_pretrained(words)
    if len(tokenizer) > shape.vocab_size:
        raise UserError(f"the tokenizer of {words} has {len(tokenizer):,} tokens, the shape {shape.vocab_size:,}")
    with publish(out, KIND, config, inputs, seed) as work:
        torch.manual_seed(seed)
        settings = _settings(shape, words)
        model = Qwen3VLForConditionalGeneration._from_config(settings, dtype=torch.bfloat16)
        special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = GenerationConfig(**special)
        model.save_pretrained(work.path)
        tokenizer.save_pretrained(work.path)
        work.metrics = {"language_parameters": sum(p.numel() for p in model.model.language_model.parameters())}
    return out


def _settings(shape: Shape, words: Path) -> Qwen3VLConfig:
    source = AutoConfig.from_pretrained(words)
    text = _text(shape)
    text |= {name: getattr(source.text_config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    vision = {
        "depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "num_position_embeddings": 16,
        "out_hidden_size": shape.hidden_size, "deepstack_visual_indexes": list(shape.deepstack),
    }  # fmt: skip
    tokens = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    ids = {name: getattr(source, name) for name in tokens}
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=shape.tied, **ids)


def _text(shape: Shape) -> dict[str, Any]:
    return {name: value for name, value in vars(shape).items() if name not in _BEYOND_TEXT} | {
        "tie_word_embeddings": shape.tied, "max_position_embeddings": 262_144, "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 5e6, "mrope_section": list(shape.mrope_section), "mrope_interleaved": True,
        },
    }  # fmt: skip
