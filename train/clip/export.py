"""The tuned encoder as a folder: an open_clip checkpoint, its fusion part, a card."""

import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
from open_clip.hf_model import HFTextEncoder
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

from encoders.fusion import save_gate
from encoders.load import CONFIG_FILE, Encoder, local_folder
from train.clip.objective import ClipObjective

_WEIGHTS = "open_clip_model.safetensors"
_OTHERS = ("manifest.json", "README.md", "metrics.jsonl", "fusion.json", "fusion.safetensors", _WEIGHTS, CONFIG_FILE)


def export(objective: ClipObjective, source: str, image_size: int, folder: Path) -> None:
    """Write open_clip_config.json, open_clip_model.safetensors, the tokenizer's files and, if it learned, the gate.

    Args:
        objective: after training.
        source: name the encoder was loaded by.
        image_size: side of the pictures it was tuned with; 0 is its own.
        folder: where to write; it exists.
    """
    encoder = objective.encoder
    model, home = encoder.model, local_folder(source)
    if home is not None:
        for path in home.iterdir():
            if path.is_file() and path.name not in _OTHERS and path.suffix not in (".safetensors", ".bin", ".pt"):
                shutil.copyfile(path, folder / path.name)
        config = json.loads((home / CONFIG_FILE).read_text())
    else:
        config = _named_config(encoder, source, folder)
    if image_size:
        config["model_cfg"]["vision_cfg"]["image_size"] = image_size
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    model.logit_scale.data.copy_(objective.scales["picture_text_scale"].detach())
    if getattr(model, "logit_bias", None) is not None:
        model.logit_bias.data.copy_(objective.scales["picture_text_bias"].detach())
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    if objective.config.fusion:
        save_gate(objective.gate.cpu(), folder)


def _named_config(encoder: Encoder, source: str, folder: Path) -> dict[str, Any]:
    """The configuration of a model that open_clip knows by name, and its tokenizer's files."""
    name = source.split(":", 1)[0] if not source.startswith("hf-hub:") else source
    save_config_for_hf(encoder.model, folder / CONFIG_FILE, open_clip.get_model_config(name))  # type: ignore[arg-type]
    tower: Any = getattr(encoder.model, "text", None)
    if isinstance(tower, HFTextEncoder):
        tower.transformer.config.save_pretrained(folder)  # so that the folder loads without a hub
    tokenizer: Any = getattr(encoder.tokenizer, "tokenizer", None)
    if hasattr(tokenizer, "save_pretrained"):
        tokenizer.save_pretrained(folder)
    return json.loads((folder / CONFIG_FILE).read_text())


def card(source: str, config: dict[str, Any], counts: dict[str, Any], figures: dict[str, Any], fused: bool) -> str:
    """README.md of the encoder folder: data, objective, metrics, limits, and how to load it."""
    gate = (
        "`fusion.json` and `fusion.safetensors` hold the learned gate that makes one item vector of picture, text, titles of "
        "training boards and captions; `navigator embed --encoder FOLDER` applies it."
        if fused
        else "It has no fusion part: picture and text count alike in an item's vector."
    )
    return _CARD.format(
        source=source, gate=gate, data=_lines(counts), objective=_lines(config), figures=_lines(figures)
    )  # fmt: skip


def _lines(values: dict[str, Any]) -> str:
    return "\n".join(f"- {name}: {json.dumps(value, default=str)}" for name, value in values.items()) or "- none"


_CARD = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
---
# Encoder tuned from `{source}`

Made by `accelerate launch -m train.clip`. It is an ordinary open_clip checkpoint:

    model, _, preprocess = open_clip.create_model_and_transforms("local-dir:FOLDER")
    tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")

If its text tower is a Hugging Face one, open_clip reads that tower's configuration from the hub. Offline, point it at the
folder, where the same configuration lies:

    text_cfg = json.load(open("FOLDER/open_clip_config.json"))["model_cfg"]["text_cfg"] | {{"hf_model_name": "FOLDER"}}
    open_clip.create_model_and_transforms("local-dir:FOLDER", pretrained_text=False, text_cfg=text_cfg)

{gate}

## Data
{data}

## Objective
{objective}

## Validation
{figures}

These figures chose the best step; measure on data that chose nothing with `navigator-bench encoder`.

## Limits
- Tuned on one catalogue and its taste graph; nothing is claimed for pictures and words of another kind.
- Items held out (share given above) were not trained on; nor were items that only boards of unseen owners hold.
- It inherits what the source encoder learned, its biases included. The source's licence holds.
"""
