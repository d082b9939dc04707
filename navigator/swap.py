"""Take a stock Qwen-VL, remove its vision tower, put an item tower in its place; open what was saved.

The language model and its head move over as they are: nothing is copied, renamed or re-initialised, and `swap` refuses a
checkpoint whose other keys do not fit one to one.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from navigator.contracts import UserError
from navigator.model import KINDS, build_tower
from navigator.processor import RETRIEVE_TOKEN, NavigatorProcessor

MAX_TOKENS_PER_ITEM = 64
NEW_PARTS = ("retrieval_head", "ranking_head", "query_start")  # beside model.visual


def swap(
    backbone: str, dim: int, encoder: str, tokens_per_item: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0,
    patch: dict[str, Any] | None = None, content_dim: int | None = None, layers: int | None = None,
    pretrained: bool = True,
) -> tuple[Any, NavigatorProcessor]:  # fmt: skip
    """A backbone with an item tower instead of its vision tower.

    Args:
        backbone: local folder or hub id of a stock Qwen2.5-VL or Qwen3-VL checkpoint.
        dim: D of the item vectors.
        encoder: fingerprint of the vectors, remembered by the processor.
        tokens_per_item: k, 1 to 64.
        dtype: of the language model; the new parts are float32 when it is, else the same.
        seed: of the tower's initial weights.
        patch: {"timm_model", "grid"} builds the native comparison's runtime tower instead of an item tower.
        content_dim: how many leading dimensions of an item vector are content, the rest are graph factors; all by default.
        layers: keep only so many of the language model's first layers; all by default.
        pretrained: false forgets what the language layers know, for the ablation.

    Returns:
        model and processor, ready for save_pretrained.

    Raises:
        UserError: unknown backbone, another architecture, k outside 1 to 64, or more layers than there are.
    """
    if not 1 <= tokens_per_item <= MAX_TOKENS_PER_ITEM:
        raise UserError(f"tokens per item is {tokens_per_item}; allowed are 1 to {MAX_TOKENS_PER_ITEM}")
    stock = load_stock(backbone, dtype)
    _keep_layers(stock, layers)
    if not pretrained:
        _forget(stock, seed)
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    tokenizer.add_special_tokens({"additional_special_tokens": [RETRIEVE_TOKEN]}, replace_extra_special_tokens=False)
    if len(tokenizer) > stock.get_input_embeddings().weight.shape[0]:
        stock.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    spec: dict[str, Any] = {"kind": "item", "dim": dim, "tokens": tokens_per_item, "encoder": encoder}
    spec["content_dim"] = dim if content_dim is None else content_dim
    if patch:
        spec |= {"kind": "patch", "tokens": patch["grid"] ** 2, **patch}
    vision = stock.config.vision_config
    spec["deepstack_levels"] = len(getattr(vision, "deepstack_visual_indexes", None) or [])
    spec["token_rms"] = float(stock.get_input_embeddings().weight.detach().float().pow(2).mean().sqrt())
    model = transplant(stock, spec, tokenizer.convert_tokens_to_ids(RETRIEVE_TOKEN), dtype, seed)
    item_token = tokenizer.convert_ids_to_tokens(stock.config.image_token_id)
    return model, NavigatorProcessor(tokenizer, spec["tokens"], dim, encoder, item_token)


def load_stock(backbone: str, dtype: torch.dtype) -> Any:
    """The checkpoint before the swap.

    Raises:
        UserError: it cannot be loaded, or is no Qwen2.5-VL or Qwen3-VL.
    """
    try:
        stock = AutoModelForImageTextToText.from_pretrained(backbone, dtype=dtype)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load backbone {backbone!r} ({str(error).splitlines()[0]}); give a folder or hub id of a Qwen-VL"
        ) from error
    if stock.config.model_type not in KINDS:
        raise UserError(f"backbone {backbone!r} is a {stock.config.model_type}; allowed are {', '.join(KINDS)}")
    return stock


def _keep_layers(stock: Any, layers: int | None) -> None:
    language, settings = stock.model.language_model, stock.config.text_config
    if layers is None:
        return
    if not 1 <= layers <= len(language.layers):
        raise UserError(f"layers is {layers}; this backbone has {len(language.layers)}, give 1 to that many")
    language.layers = language.layers[:layers]
    settings.num_hidden_layers = layers
    if getattr(settings, "layer_types", None):
        settings.layer_types = settings.layer_types[:layers]


def _forget(stock: Any, seed: int) -> None:
    """Matrices of the language layers drawn anew at the scale they had; norms and word embeddings stay."""
    torch.manual_seed(seed)
    for parameter in stock.model.language_model.layers.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=float(parameter.detach().float().std()))


def transplant(stock: Any, spec: dict[str, Any], retrieve_token_id: int, dtype: torch.dtype, seed: int) -> Any:
    """A swapped model around the language model and head of `stock`, which it shares; the new parts are on the CPU.

    Args:
        stock: a stock Qwen-VL.
        spec: what `navigator.model.build_tower` reads, and the encoder.
        retrieve_token_id: of the token at which queries are read.
        dtype, seed: of the new parts.

    Raises:
        UserError: the stock model's parts do not fit one to one.
    """
    config_class, model_class = KINDS[stock.config.model_type]
    settings = {
        k: v
        for k, v in stock.config.to_dict().items()
        if k not in ("model_type", "architectures", "transformers_version")
    }
    config = config_class(**settings, tower=spec, retrieve_token_id=retrieve_token_id)
    with torch.device("meta"):
        model: Any = model_class(config)
    ours = {k for k in model.state_dict() if not k.startswith(("model.visual.", *NEW_PARTS))}
    theirs = {k for k in stock.state_dict() if not k.startswith("model.visual.")}
    if ours != theirs:
        raise UserError(
            f"the checkpoint does not fit: missing {sorted(ours - theirs)[:3]}, unexpected {sorted(theirs - ours)[:3]}"
        )
    model.model.language_model, model.lm_head = stock.model.language_model, stock.lm_head
    torch.manual_seed(seed)
    model.model.visual = build_tower(config).to(dtype)
    for part in NEW_PARTS:
        setattr(model, part, getattr(model, part).to_empty(device="cpu").to(dtype))
    model.reset_new_parts()
    model.generation_config = stock.generation_config
    return model.eval()


def open_swapped(
    folder: str | Path, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[Any, NavigatorProcessor]:
    """Model and processor of a swapped folder.

    Raises:
        UserError: the folder is missing, or holds a model that was not swapped.
    """
    config_file = Path(folder) / "config.json"
    if not config_file.is_file():
        raise UserError(f"{folder} is not a model folder (no config.json); make one with `navigator swap`")
    kind = json.loads(config_file.read_text()).get("model_type")
    known = [config.model_type for config, _ in KINDS.values()]
    if kind not in known:
        raise UserError(
            f"{folder} holds a {kind!r} model, not a swapped one ({', '.join(known)}); run `navigator swap --backbone {folder}`"
        )
    opened: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    model, found = opened
    absent = sorted(set(found["missing_keys"]) - set(getattr(model, "_tied_weights_keys", None) or ()))
    if absent:
        raise UserError(
            f"{folder} lacks {absent[0]} (an older version wrote it?); run `navigator swap` and train again"
        )
    model = model.to(device).eval()
    processor = AutoProcessor.from_pretrained(folder)
    if processor.tokens_per_item != model.tokens_per_item:
        raise UserError(
            f"{folder}: the processor writes {processor.tokens_per_item} tokens an item, "
            f"the tower {model.tokens_per_item}; swap again"
        )
    return model, processor
