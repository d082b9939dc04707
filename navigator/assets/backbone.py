"""SmolLM2 from a GGUF file into the layout of Qwen2.5-VL, so that the embedded default runs through the Qwen-VL code.

SmolLM2 is a Llama; the text part of Qwen2.5-VL is a Llama with biases on q, k and v. With those at zero both compute
the same function, and for text the three sections of M-RoPE carry equal positions, which makes it plain RoPE. The
vision tower is a tiny untrained placeholder: the swap replaces it, and pixels through it mean nothing.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from navigator.contracts import publish
from navigator.contracts.manifest import file_digest, is_current

KIND = "backbone"
_TOKENS = {
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}
_SAME = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_act",
    "max_position_embeddings", "rms_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip


def convert_backbone(gguf: Path, out: Path) -> Path:
    """Convert a Llama GGUF to a Qwen2.5-VL checkpoint folder (float32 safetensors, tokenizer, chat template).

    Args:
        gguf: the GGUF file, any quantisation that Transformers can read.
        out: folder to publish as an artefact of kind "backbone".

    Returns:
        `out`. Nothing is done when `out` was made from this very file.
    """
    config = {"layout": "qwen2_5_vl", "dtype": "float32", "new_tokens": list(_TOKENS.values())}
    inputs = {"gguf": file_digest(gguf)}
    if not is_current(out, KIND, config, inputs):
        llama, tokenizer = load_llama(gguf)
        with publish(out, KIND, config, inputs) as work:
            model = to_qwen_layout(llama, tokenizer)
            model.save_pretrained(work.path)
            tokenizer.save_pretrained(work.path)
            work.metrics = {"parameters": sum(p.numel() for p in model.parameters()), "vocabulary": len(tokenizer)}
    return out


def load_llama(gguf: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """The GGUF as Transformers reads it: a Llama in float32 and its tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    llama = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    return llama.eval(), tokenizer


def to_qwen_layout(llama: Any, tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLForConditionalGeneration:
    """The same function in the Qwen2.5-VL layout; `tokenizer` gains the four vision tokens in place.

    The rows of the new tokens are the mean of the old rows, so that they start as a token like any other.
    """
    new_tokens: dict[str, Any] = {"additional_special_tokens": list(_TOKENS.values())}
    tokenizer.add_special_tokens(new_tokens, replace_extra_special_tokens=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the placeholder tower, too, is the same on every machine
        model = Qwen2_5_VLForConditionalGeneration(_qwen_config(llama, tokenizer)).eval()
    weights = {
        key.replace("model.", "model.language_model.", 1): value
        for key, value in llama.state_dict().items()
        if key not in ("lm_head.weight", "model.embed_tokens.weight")
    }
    missing, unexpected = model.load_state_dict(weights, strict=False)
    placed_below = ("model.visual.", "model.language_model.embed_tokens.", "lm_head.")
    text = [key for key in missing if not key.startswith(placed_below)]
    biases = [key for key in text if key.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias"))]
    if unexpected or len(biases) != len(text):
        raise ValueError(f"the Llama does not fit the Qwen2.5-VL layout: missing {text}, unexpected {unexpected}")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for key in biases:
            parameters[key].zero_()
        old: torch.Tensor = llama.get_input_embeddings().weight  # (V, H)
        new = parameters["model.language_model.embed_tokens.weight"]  # (V + 4, H), tied to lm_head
        new[: len(old)] = old
        new[len(old) :] = old.mean(0)
    special = {name: getattr(llama.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**special)
    return model


def _qwen_config(llama: Any, tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    source = llama.config
    head_dim = source.hidden_size // source.num_attention_heads
    height = width = head_dim * 3 // 16  # Qwen's own ratio 2:3:3 of half the head: 64 -> [8, 12, 12]
    mrope_section = [head_dim // 2 - height - width, height, width]
    text = {name: getattr(source, name) for name in _SAME} | {
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": source.rope_parameters["rope_theta"], "mrope_section": mrope_section,
        },
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "fullatt_block_indexes": [0],
        "out_hidden_size": source.hidden_size,
    }  # fmt: skip
    tokens: dict[str, Any] = {name: tokenizer.convert_tokens_to_ids(token) for name, token in _TOKENS.items()}
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **tokens)
