"""Which parameters learn: freeze by declared rules, LoRA by PEFT, parameters grouped for their learning rates."""

from typing import Any

from peft import LoraConfig
from peft.tuners.lora import LoraModel

from navigator.contracts import UserError
from train.checkpoint import Named

LANGUAGE = ("frozen", "lora", "full")
LORA_TARGETS = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


def split_parts(
    model: Any, language: str, lora_rank: int = 16, lora_alpha: int = 32
) -> tuple[dict[str, Named], LoraModel | None]:
    """Freeze everything, then free the tower, the heads and, as `language` says, the language model.

    A runtime picture tower (the native comparison) keeps its trunk frozen; its projector learns.

    Returns:
        trainable parameters by part (tower, heads, language), and PEFT's wrapper to be merged after training.
    """
    if language not in LANGUAGE:
        raise UserError(f"language {language!r}; allowed are {', '.join(LANGUAGE)}")
    lora = None
    if language == "lora":
        spec = LoraConfig(r=lora_rank, lora_alpha=lora_alpha, target_modules=LORA_TARGETS, lora_dropout=0.0)
        lora = LoraModel(model, {"default": spec}, "default")
    parts: dict[str, Named] = {"tower": {}, "heads": {}, "language": {}}
    for name, parameter in model.named_parameters():
        part = _part_of(name, language)
        parameter.requires_grad_(part is not None)
        if part is not None:
            parts[part][name] = parameter
    return parts, lora


def _part_of(name: str, language: str) -> str | None:
    if name.startswith("model.visual."):
        return None if ".trunk." in name else "tower"
    if name.startswith(("retrieval_head.", "ranking_head.")):
        return "heads"
    if language == "full" or (language == "lora" and ".lora_" in name):
        return "language"
    return None
