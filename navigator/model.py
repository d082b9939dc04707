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

from navigator.contracts import UserError
from navigator.emission import EmittingHead
from navigator.layout import LAYOUT, Layout, plain_positions
from navigator.start import QueryStart
from navigator.tower import ItemTower, PatchTower, Tower


class NavigatorQwen2_5_VLConfig(Qwen2_5_VLConfig):
    """Stock config + `tower` (what replaces the vision tower) + `retrieve_token_id` + whether the model says it, see below."""

    model_type = "navigator_qwen2_5_vl"
    tower: dict | None = None
    retrieve_token_id: int | None = None
    emission: bool = False  # the head is an EmittingHead
    emits_retrieve: bool = False  # and validation showed that it can tell when to search (train.chat_valid)
    retrieve_threshold: float | None = None  # probability from which on it does


class NavigatorQwen3VLConfig(Qwen3VLConfig):
    """Stock config + `tower` (what replaces the vision tower) + `retrieve_token_id` + whether the model says it, see below."""

    model_type = "navigator_qwen3_vl"
    tower: dict | None = None
    retrieve_token_id: int | None = None
    emission: bool = False  # the head is an EmittingHead
    emits_retrieve: bool = False  # and validation showed that it can tell when to search (train.chat_valid)
    retrieve_threshold: float | None = None  # probability from which on it does


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
        self.query_start = QueryStart(dim, config.tower.get("content_dim", dim))
        if config.emission:
            self.lm_head = EmittingHead(hidden, config.text_config.vocab_size, config.retrieve_token_id)

    @property
    def tokens_per_item(self) -> int:
        return self.model.visual.tokens

    @property
    def takes_layout(self) -> bool:
        """Whether the attention kernel reads a boolean mask: only then can rows have branches."""
        return self.model.language_model.config._attn_implementation == "sdpa"

    def reset_new_parts(self) -> None:
        """Initial weights of tower and heads; heads start at zero, so a fresh model's query is its history's mean."""
        self.model.visual.reset()
        nn.init.zeros_(self.retrieval_head.weight)
        nn.init.zeros_(self.ranking_head.weight)
        self.query_start.reset()

    def retrieve(self, start: torch.Tensor, input_ids: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Unit query vectors (N, D) in the item space, one a retrieve token, in reading order (row by row).

        Args:
            start: (N, D) where each query starts, e.g. the mean of the history's item vectors.
            input_ids: (B, L); further inputs as the processor gives them, see `read`.
        """
        return self.query(start, self._at_retrieve(self.read(input_ids, **inputs), input_ids, len(start)))

    def rank(
        self, start: torch.Tensor, candidates: torch.Tensor, input_ids: torch.Tensor, **inputs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of C candidates for each of N requests, in one forward pass; order and company of candidates cannot matter.

        Args:
            start: (N, D) as in `retrieve`; every request has one retrieve token.
            candidates: (N, C, D) unit item vectors of the candidates, for the score's starting point.
            input_ids: (B, T); further inputs as the processor gives them, see `read`.

        Returns:
            scores (N, C) and the query vectors (N, D), requests in reading order.

        Raises:
            ValueError: the rows hold other numbers of retrieve tokens or candidates than `start` and `candidates` say.
        """
        layout = Layout.of(inputs)
        if layout is None:
            raise ValueError("candidates are branches, so ranking needs a layout; make the inputs with candidates")
        hidden = self.read(input_ids, **inputs)
        query = self.query(start, self._at_retrieve(hidden, input_ids, len(start)))
        last = hidden[layout.branch_ends() & (input_ids != self.config.retrieve_token_id)]  # (N * C, H)
        if len(last) != candidates.shape[0] * candidates.shape[1]:
            raise ValueError(f"the rows hold {len(last)} candidates, not {tuple(candidates.shape[:2])}")
        return self.score(candidates, query, last.unflatten(0, candidates.shape[:2])), query

    def read(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor | None = None,
        image_grid_thw: torch.Tensor | None = None, attention_mask: torch.Tensor | None = None,
        mm_token_type_ids: torch.Tensor | None = None, past_key_values: Any = None, **layout: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Hidden states (B, L, H), each token seeing what the layout says; without a layout, plain causal rows.

        Args:
            input_ids: (B, L).
            pixel_values, image_grid_thw: tower input, (n, D) and (n, 3), items in reading order of their placeholders.
            attention_mask: (B, L), 0 at padding; of plain rows only.
            mm_token_type_ids: not needed, items are read like words.
            past_key_values: a cache that these (then unpadded) tokens continue; it is extended.
            layout: the fields of Layout, all of them or none; of the tokens in the cache as well.

        Raises:
            UserError: a layout, but an attention kernel that takes no mask of its own.
        """
        if unknown := set(layout) - set(LAYOUT):
            raise TypeError(f"unknown model inputs {', '.join(sorted(unknown))}")
        placed = Layout.of(layout)
        if placed is None:
            mask, positions = attention_mask, plain_positions(input_ids, attention_mask, past_key_values)
        else:
            if not self.takes_layout:
                raise UserError(
                    "packed rows and candidates in one pass need attention sdpa; else rank by navigator.prefix"
                )
            new = slice(placed.segment.shape[1] - input_ids.shape[1], None)  # what is not in the cache
            mask, positions = placed.mask()[:, :, new], placed.positions()[:, :, new]
        none = pixel_values is None or not len(pixel_values)
        items = {} if none else {"pixel_values": pixel_values, "image_grid_thw": image_grid_thw}
        return self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=past_key_values,
            use_cache=past_key_values is not None, **items,
        ).last_hidden_state  # fmt: skip

    def query(self, start: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Unit queries (N, D) from where they start (N, D) and the hidden states (N, H) at their retrieve tokens."""
        # The unit hidden state keeps the correction on the scale of the unit vectors it corrects.
        return F.normalize(start.to(hidden) + self.retrieval_head(F.normalize(hidden, dim=-1)), dim=-1)

    def score(self, candidates: torch.Tensor, query: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """(N, C) from item vectors (N, C, D), queries (N, D) and hidden states (N, C, H) at the candidates' last tokens."""
        content = torch.einsum("ncd,nd->nc", candidates.to(query), query)
        return content + self.ranking_head(F.normalize(hidden, dim=-1))[..., 0]

    def _at_retrieve(self, hidden: torch.Tensor, input_ids: torch.Tensor, wanted: int) -> torch.Tensor:
        found = hidden[input_ids == self.config.retrieve_token_id]  # (N, H)
        if len(found) != wanted:
            raise ValueError(f"the rows hold {len(found)} retrieve tokens, but {wanted} queries have a start")
        return found


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
