"""Encoders of a published shape with random weights: what they cost can be measured without a hub, since compute does not
depend on the values.
"""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from navigator.contracts import UserError, is_current, publish

KIND = "encoder"
_VOCABULARY = 49408  # of the tokenizer that ships inside open_clip; a shape's own would need a hub


def random_encoder(name: str, out: Path, seed: int = 0) -> Path:
    """An open_clip folder with the architecture of `name`, random weights and open_clip's own tokenizer.

    Only the size of the text tower's vocabulary differs from the published shape.

    Raises:
        UserError: open_clip has no such architecture, or its text tower is a Hugging Face one (whose shape needs a hub).
    """
    config: Any = open_clip.get_model_config(name)
    if config is None:
        raise UserError(f"shape {name!r} is no open_clip architecture; see open_clip.list_models()")
    if "hf_model_name" in config["text_cfg"]:
        raise UserError(
            f"shape {name!r} has a Hugging Face text tower, whose configuration lies on a hub; take another"
        )
    key = {"shape": name, "seed": seed}
    if is_current(out, KIND, key, {}):
        return out
    text = {k: v for k, v in config["text_cfg"].items() if not k.startswith(("hf_tokenizer", "tokenizer"))}
    config = {**config, "text_cfg": text | {"vocab_size": _VOCABULARY}, "custom_text": True}
    with publish(out, KIND, key, {}, seed) as work:
        torch.manual_seed(seed)
        model = open_clip.model.CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"})
        document = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
        (work.path / "open_clip_config.json").write_text(json.dumps(document, indent=2))
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, work.path / "open_clip_model.safetensors", metadata={"format": "pt"})
    return out
