"""Language backbones of a published shape with random weights: what they cost can be measured without a hub, since time and
memory do not depend on the values.

Everything that a swapped model keeps is full size: layers, heads, vocabulary. The vision tower, which the swap throws away, is
a placeholder with the right number of DeepStack levels; the tokenizer is another backbone's, because a shape's own lies on a
hub, so a text becomes other tokens than the published model would read, and the unused rows of the vocabulary are only weight.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from navigator.contracts import UserError, is_current, publish, read_manifest
from navigator.contracts.manifest import MANIFEST, content_fingerprint

KIND = "backbone"


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


SHAPES = {
    "qwen3-vl-2b": Shape(2048, 28, 16, 8, 128, 6144, 151_936, (5, 11, 17), (24, 20, 20)),
}


def named_shape(name: str) -> Shape:
    """``qwen3-vl-2b``, or ``qwen3-vl-2b:2`` for only so many layers.

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
    return Shape(**{**vars(shape), "num_hidden_layers": int(layers)})


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
    config = {"shape": vars(shape), "dtype": "bfloat16", "seed": seed}
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
    sizes = {k: v for k, v in vars(shape).items() if k not in ("deepstack", "mrope_section", "tied")}
    text = sizes | {
        "tie_word_embeddings": shape.tied, "max_position_embeddings": 262_144, "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 5e6, "mrope_section": list(shape.mrope_section), "mrope_interleaved": True,
        },
    }  # fmt: skip
    text |= {name: getattr(source.text_config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    vision = {
        "depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "num_position_embeddings": 16,
        "out_hidden_size": shape.hidden_size, "deepstack_visual_indexes": list(shape.deepstack),
    }  # fmt: skip
    tokens = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    ids = {name: getattr(source, name) for name in tokens}
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=shape.tied, **ids)
