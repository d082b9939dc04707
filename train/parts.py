"""Which parameters learn: freeze by declared rules, LoRA by PEFT, parameters grouped for their learning rates."""

from typing import Any

from peft import LoraConfig
from peft.tuners.lora import LoraModel

from navigator.contracts import UserError
from train.checkpoint import Named
from train.config import RATES
from train.qlora import check_quantiser, dequantise, quantise

LANGUAGE = ("frozen", "lora", "qlora", "full")
LORA_TARGETS = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


def learning_rates(given: dict[str, float]) -> dict[str, float]:
    """The rates of all parts: those given, the others by default; UserError names an unknown part."""
    unknown = sorted(set(given) - set(RATES))
    if unknown:
        raise UserError(f"learning rate of {unknown[0]!r}; allowed parts are {', '.join(RATES)}")
    return RATES | given


def split_parts(
    model: Any, language: str, lora_rank: int = 16, lora_alpha: int = 32
) -> tuple[dict[str, Named], LoraModel | None]:
    """Freeze everything, then free tower, heads, where queries start and, as `language` says, the language model.

    A runtime picture tower (the native comparison) keeps its trunk frozen; its projector learns. With qlora the model goes to
    the GPU in 4 bits (train.qlora); open it on the CPU.

    Returns:
        trainable parameters by part (tower, heads, start, maps, language, emission), and PEFT's wrapper to be merged after
        training.
    """
    if language not in LANGUAGE:
        raise UserError(f"language {language!r}; allowed are {', '.join(LANGUAGE)}")
    lora = None
    model.config.emits_retrieve, model.config.retrieve_threshold = False, None  # until this run shows it anew
    if language == "qlora":
        quantise(model, check_quantiser())
    if language in ("lora", "qlora"):
        spec = LoraConfig(r=lora_rank, lora_alpha=lora_alpha, target_modules=LORA_TARGETS, lora_dropout=0.0)
        lora = LoraModel(model, {"default": spec}, "default")
    parts: dict[str, Named] = {"tower": {}, "heads": {}, "start": {}, "maps": {}, "language": {}, "emission": {}}
    for name, parameter in model.named_parameters():
        part = _part_of(name, language)
        parameter.requires_grad_(part is not None)
        if part is not None:
            parts[part][name] = parameter
    return parts, lora


def without_rate(parts: dict[str, Named], rates: dict[str, float]) -> dict[str, Named]:
    """The parts that have a learning rate; the others leave the backward pass, so that where neither tower nor language learns
    nothing flows back through the layers, which is two thirds of a step. (Runs without the task chat keep them in, at rate 0:
    their gradients count in the clipped norm of runs on record.)
    """
    for name, part in parts.items():
        for parameter in part.values():
            parameter.requires_grad_(parameter.requires_grad and rates[name] > 0)
    return {name: part for name, part in parts.items() if rates[name] > 0}


def merged(model: Any, lora: LoraModel | None, language: str) -> Any:
    """The trained model as an ordinary one: 4-bit layers written out as floats, adapters added to their weights."""
    if language == "qlora":
        dequantise(model)
    return model if lora is None else lora.merge_and_unload()


def checkpoint_activations(model: Any) -> None:
    """Keep only each decoder layer's input and compute the rest again in the backward pass: less memory, a third more time."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _part_of(name: str, language: str) -> str | None:
    if name.startswith("model.visual."):
        return None if ".trunk." in name else "tower"
    if name.startswith(("retrieval_head.", "ranking_head.")):
        return "heads"
    if name.startswith(("query_start.item_map.", "query_start.title_map.")):
        return "maps"
    if name.startswith("query_start."):
        return "start"
    if name.startswith("lm_head.emission."):
        return "emission"
    if language == "full" or (language in ("lora", "qlora") and ".lora_" in name):
        return "language"
    return None
