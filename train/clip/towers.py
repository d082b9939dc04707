"""An open_clip model in the pieces that tuning needs: towers locked by a declared rule, heads that learn, one rotation.

A wholly locked tower gives the same features for an item at every step: they are computed once (train.clip.features) and
only its head runs. Heads are what open_clip puts behind a timm or Hugging Face tower; other towers are their own head.
"""

import contextlib
import sys
from typing import Any

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel
from torch import nn
from torch.nn import functional as F

from encoders.load import masked_padding
from navigator.contracts import UserError
from train.checkpoint import Named

_CPU_PICTURES = 8  # forward and backward of eight at a time are twice as fast as of 64 on a CPU: they stay in its cache


class Towers(nn.Module):
    """Both towers with the lock rule applied.

    Args:
        model: an open_clip model.
        picture_layers: top layer groups of the picture tower that learn, 0 none, -1 all.
        text_layers: the same for the text tower.

    Raises:
        UserError: a number below -1, or a tower that cannot be locked in part.
    """

    def __init__(self, model: Any, picture_layers: int, text_layers: int):
        super().__init__()
        self.model = model.requires_grad_(True)
        _lock(model, picture_layers, text_layers)
        self.locked = {"picture": not picture_layers, "text": not text_layers}

    def picture(self, inputs: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, S, S), or features (B, F) of a locked tower -> (B, D) unit vectors, float32."""
        features = inputs if self.locked["picture"] else self.picture_features(inputs)
        return _head(self.model.visual.head if isinstance(self.model.visual, TimmModel) else None, features)

    def text(self, inputs: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L), or features (B, F) of a locked tower -> (B, D) unit vectors, float32."""
        features = inputs if self.locked["text"] else self.text_features(inputs)
        tower = getattr(self.model, "text", None)
        return _head(tower.proj if isinstance(tower, HFTextEncoder) else None, features)

    def picture_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, F): what the picture head reads."""
        body = self.model.visual.trunk if isinstance(self.model.visual, TimmModel) else self.model.encode_image
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        step = _CPU_PICTURES if pixels.device.type == "cpu" else max(len(pixels), 1)
        return torch.cat([body(part) for part in pixels.split(step)]).float()

    def text_features(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, L) -> (B, F): what the text head reads."""
        tower: Any = getattr(self.model, "text", None)
        padding = masked_padding(self.model)
        if padding is None:
            return self.model.encode_text(ids).float()
        mask = (ids != padding).long()
        return tower.pooler(tower.transformer(input_ids=ids, attention_mask=mask), mask).float()

    def parameters_by_part(self) -> dict[str, Named]:
        """Parameters that learn: picture and text (the towers' unlocked layers) and heads."""
        found: dict[str, Named] = {"picture": {}, "text": {}, "heads": {}}
        for name, parameter in self.model.named_parameters():
            if name in ("logit_scale", "logit_bias"):
                parameter.requires_grad_(False)  # the objective has its own
            elif parameter.requires_grad:
                found[_part_of(name)][name] = parameter
        if not any(found.values()):
            raise UserError(
                "nothing of this encoder would learn: its towers have no heads; unlock some --picture_layers"
            )
        return found

    def rotate(self, basis: torch.Tensor) -> bool:
        """Turn the joint space by an orthogonal (D, D) matrix: no cosine changes, but prefixes can be made to count.

        Returns:
            False, and nothing is done, when one of the heads does not end in a linear layer.
        """
        last = [_last_linear(self.model.visual), _last_linear(getattr(self.model, "text", None))]
        if None in last:
            return False
        with torch.no_grad():
            for layer in last:
                assert layer is not None
                layer.weight.copy_(basis @ layer.weight)
                if layer.bias is not None:
                    layer.bias.copy_(basis @ layer.bias)
        return True


def _head(head: nn.Module | None, features: torch.Tensor) -> torch.Tensor:
    with torch.autocast(features.device.type, enabled=False):
        values = features.float()
        return F.normalize(values if head is None else head(values), dim=-1)


def _lock(model: Any, picture_layers: int, text_layers: int) -> None:
    if min(picture_layers, text_layers) < -1:
        raise UserError(
            f"picture_layers {picture_layers}, text_layers {text_layers}: allowed are -1 (all), 0 (none) or more"
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):  # open_clip prints
            if picture_layers >= 0:
                model.lock_image_tower(unlocked_groups=picture_layers)
            if text_layers >= 0:
                _lock_text(model, text_layers)
    except (AttributeError, KeyError, RuntimeError, AssertionError) as error:
        raise UserError(f"this encoder's towers cannot be locked in part ({error}); use 0 or -1 layers") from error


def _lock_text(model: Any, unlocked: int) -> None:
    """open_clip's rule, which it lacks for BERT itself: the embeddings are the lowest layer."""
    transformer: Any = getattr(getattr(model, "text", None), "transformer", None)
    layers = getattr(getattr(transformer, "encoder", None), "layer", None)
    if layers is None or not unlocked:
        model.lock_text_tower(unlocked_layers=unlocked)
    else:
        for module in [transformer.embeddings, *layers][:-unlocked]:
            module.requires_grad_(False)


def _part_of(name: str) -> str:
    if name.startswith(("visual.head.", "text.proj", "text_projection", "text.text_projection", "visual.proj")):
        return "heads"
    return "picture" if name.startswith("visual.") else "text"


def _last_linear(tower: Any) -> nn.Linear | None:
    head = tower.head if isinstance(tower, TimmModel) else tower.proj if isinstance(tower, HFTextEncoder) else None
    layers = [] if head is None else [m for m in head.modules() if isinstance(m, nn.Linear)]
    return layers[-1] if layers else None
