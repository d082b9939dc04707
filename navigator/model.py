"""Qwen-VL models with a swapped tower, as ordinary Hugging Face models.

Two backbones, one mixin. The classes differ from the stock ones in three ways: `model.visual` is an ItemTower, two small
heads read hidden states, and an item is read like a word: k tokens in sequence, all axes of M-RoPE advancing together (an
item vector has no height and width; the processor says so with all-zero `mm_token_type_ids`).

Importing this module registers both kinds with AutoConfig, AutoModel and AutoModelForImageTextToText.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from navigator.tower import ItemTower, PatchTower, Tower


class NavigatorQwen2_5_VLConfig(Qwen2_5_VLConfig):
    """Stock config + `tower` (what replaces the vision tower) + `retrieve_token_id`."""

    model_type = "navigator_qwen2_5_vl"
    tower: dict | None = None
    retrieve_token_id: int | None = None


class NavigatorQwen3VLConfig(Qwen3VLConfig):
    """Stock config + `tower` (what replaces the vision tower) + `retrieve_token_id`."""

    model_type = "navigator_qwen3_vl"
    tower: dict | None = None
    retrieve_token_id: int | None = None


def build_tower(config: Any) -> Tower:
    """The tower that a config's `tower` entry describes, weights not yet set (see Tower.reset)."""
    spec = dict(config.tower)
    common = dict(
        hidden_size=config.text_config.hidden_size,
        deepstack_levels=spec["deepstack_levels"],
        token_rms=spec["token_rms"],
    )
    if spec["kind"] == "item":
        return ItemTower(spec["dim"], tokens=spec["tokens"], **common)
    return PatchTower(spec["timm_model"], spec["grid"], **common)


class Swapped:
    """Mixin before a stock ForConditionalGeneration class: swaps the tower, adds the heads."""

    config: Any
    model: Any

    def __init__(self, config: Any):
        super().__init__(config)  # type: ignore[call-arg]
        self.model.visual = build_tower(config)
        hidden, dim = config.text_config.hidden_size, config.tower["dim"]
        self.retrieval_head = nn.Linear(hidden, dim, bias=False)
        self.ranking_head = nn.Linear(hidden, 1, bias=False)

    @property
    def tokens_per_item(self) -> int:
        return self.model.visual.tokens

    def reset_new_parts(self) -> None:
        """Initial weights of tower and heads; heads start at zero, so a fresh model's query is its history's mean."""
        self.model.visual.reset()
        nn.init.zeros_(self.retrieval_head.weight)
        nn.init.zeros_(self.ranking_head.weight)

    def retrieve(self, base: torch.Tensor, input_ids: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Unit query vectors (B, D) in the item space.

        Args:
            base: (B, D) where the query starts: the mean of the history's item vectors.
            input_ids: (B, L), each row with one retrieve token; further inputs as the processor gives them.
        """
        hidden = self.model(input_ids=input_ids, **inputs).last_hidden_state  # (B, L, H)
        return self._query(base, self._at_retrieve(hidden, input_ids))

    def rank(
        self, base: torch.Tensor, candidates: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor,
        pixel_values: torch.Tensor, image_grid_thw: torch.Tensor, **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Scores of C candidates for each request, in one forward pass.

        Every candidate sees the prefix and none sees another; all start at the same position, so neither their order nor
        their company can matter.

        Args:
            base: (B, D) as in `retrieve`.
            candidates: (B, C, D) unit item vectors of the candidates, for the score's starting point.
            input_ids: (B, T) left-padded prefixes ending in the retrieve token, then C * k placeholders.
            attention_mask: (B, T), 0 at padding.
            pixel_values, image_grid_thw: tower input, request by request: its history, then its candidates.

        Returns:
            scores (B, C) and the query vectors (B, D).
        """
        k, count = self.tokens_per_item, candidates.shape[1]
        prefix = input_ids.shape[1] - count * k
        mask, positions = _candidate_mask(attention_mask, prefix, k)
        hidden = self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=positions, pixel_values=pixel_values,
            image_grid_thw=image_grid_thw,
        ).last_hidden_state  # fmt: skip
        query = self._query(base, self._at_retrieve(hidden, input_ids))
        last = hidden[:, prefix:].unflatten(1, (count, k))[:, :, -1]  # (B, C, H): each candidate's last token
        start = torch.einsum("bcd,bd->bc", candidates.to(query), query)
        return start + self.ranking_head(F.normalize(last, dim=-1))[..., 0], query

    def _at_retrieve(self, hidden: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        found = input_ids == self.config.retrieve_token_id
        if not bool((found.sum(1) == 1).all()):
            raise ValueError(f"every request needs exactly one retrieve token; rows have {found.sum(1).tolist()}")
        return hidden[found]  # (B, H)

    def _query(self, base: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        # The unit hidden state keeps the correction on the scale of the unit vectors it corrects.
        return F.normalize(base.to(hidden) + self.retrieval_head(F.normalize(hidden, dim=-1)), dim=-1)


def _candidate_mask(attention_mask: torch.Tensor, prefix: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boolean attention mask (B, 1, T, T), True = attend, and positions (3, B, T), for candidates after `prefix` tokens."""
    total = attention_mask.shape[1]
    index = torch.arange(total, device=attention_mask.device)
    group = torch.where(index < prefix, -1, (index - prefix) // k)  # -1: prefix, else candidate number
    causal = index[None, :] <= index[:, None]
    visible = causal & ((group[None, :] == -1) | (group[None, :] == group[:, None]))
    real = attention_mask.bool()
    itself = torch.eye(total, dtype=torch.bool, device=index.device)  # padding attends to itself: no empty rows
    mask = (visible & real[:, None, :]) | itself
    length = real[:, :prefix].sum(1, keepdim=True)  # (B, 1)
    before = (real.cumsum(1) - 1).clamp_min(0)
    position = torch.where(index < prefix, before, length + (index - prefix) % k)
    return mask[:, None], position.expand(3, -1, -1)


class NavigatorQwen2_5_VL(Swapped, Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL whose eyes are an ItemTower."""

    config_class = NavigatorQwen2_5_VLConfig


class NavigatorQwen3VL(Swapped, Qwen3VLForConditionalGeneration):
    """Qwen3-VL whose eyes are an ItemTower with DeepStack levels."""

    config_class = NavigatorQwen3VLConfig


KINDS: dict[str, tuple[type, type]] = {
    "qwen2_5_vl": (NavigatorQwen2_5_VLConfig, NavigatorQwen2_5_VL),
    "qwen3_vl": (NavigatorQwen3VLConfig, NavigatorQwen3VL),
}
for _config, _model in KINDS.values():
    AutoConfig.register(_config.model_type, _config)
    AutoModel.register(_config, _model)
    AutoModelForImageTextToText.register(_config, _model)
