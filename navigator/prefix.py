"""What the model has read of a user is kept: only new items and new branches are read when they come back.

The keys and values of a request's trunk are computed once, by plain causal attention. Its branches continue them: with SDPA
as one row under the layout's mask, else as a batch of short rows that each continue a view of the trunk and so need no mask,
which every kernel runs, flash-attn included. Both give the scores of the one pass. Keeping a trunk costs memory a token (2 x
layers x key-value heads x head size numbers; SmolLM2-135M in float32: 46 KB), so the bound is on tokens, and who was not
seen for longest goes first.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from navigator.layout import LAYOUT
from navigator.packing import Request, Vocabulary, pack

KEPT_TOKENS = 16_384
EXPANDED_TOKENS = 16_384  # keys and values of a batch of branches at once; many candidates of a long trunk go in parts
Pixels = Callable[[Sequence[int]], torch.Tensor]


@dataclass(frozen=True)
class Trunk:
    """Attributes:
    words: token ids before the items.
    items: rows of the history items, oldest first.
    """

    words: tuple[int, ...]
    items: tuple[int, ...]

    def extends(self, other: "Trunk") -> bool:
        return self.words == other.words and self.items[: len(other.items)] == other.items


class PrefixCache:
    """Trunks by session, and the branches that continue them. Not to be shared by threads.

    Args:
        model: a swapped model; when its weights change, make a new cache.
        pixels: rows of items to what the tower reads of them.
        kept_tokens: tokens of all kept trunks together, at most.

    Attributes:
        tokens_read: tokens that the language model has read through this cache, to see what it saves.
    """

    def __init__(self, model: Any, pixels: Pixels, kept_tokens: int = KEPT_TOKENS):
        self.model, self.pixels, self.kept_tokens, self.tokens_read = model, pixels, kept_tokens, 0
        self._kept: OrderedDict[str, tuple[Trunk, DynamicCache]] = OrderedDict()

    @property
    def sessions(self) -> list[str]:
        """Whose trunks are kept, the longest unseen first."""
        return list(self._kept)

    def forget(self, session: str) -> None:
        """Drop a session's trunk, if there is one."""
        self._kept.pop(session, None)

    @torch.inference_mode()
    def retrieve(self, session: str | None, trunk: Trunk, start: torch.Tensor) -> torch.Tensor:
        """As `Swapped.retrieve` for one request that asks after its whole trunk.

        Args:
            session: whose trunk it is, to be kept; None reads it anew and keeps nothing.
            trunk: what was said and saved.
            start: (1, D).

        Returns:
            (1, D) unit query.
        """
        asked, _ = self._branches(session, trunk, [])
        return self.model.query(start, asked)

    @torch.inference_mode()
    def rank(
        self, session: str | None, trunk: Trunk, start: torch.Tensor, rows: Sequence[int], candidates: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Swapped.rank` for one request.

        Args:
            session, trunk, start: as in `retrieve`.
            rows: the C candidates.
            candidates: (1, C, D) their unit item vectors.

        Returns:
            scores (1, C) and the query (1, D).
        """
        asked, read = self._branches(session, trunk, rows)
        query = self.model.query(start, asked)
        return self.model.score(candidates, query, read), query

    def _branches(self, session: str | None, trunk: Trunk, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states at the retrieve token (1, H) and at the last token of every candidate (1, C, H)."""
        cache = self._trunk(session, trunk)
        return self._in_a_row(cache, trunk, rows) if self.model.takes_layout else self._in_a_batch(cache, rows)

    def _in_a_row(self, cache: DynamicCache, trunk: Trunk, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        config, k, items = self.model.config, self.model.tokens_per_item, len(trunk.items)
        tokens = Vocabulary(config.image_token_id, config.retrieve_token_id, padding=config.retrieve_token_id)
        arrays, _ = pack([Request(trunk.words, items, (items,), len(rows))], k, tokens, None)
        layout = {name: arrays[name].to(self.model.device) for name in LAYOUT}
        ids = arrays["input_ids"][:, cache.get_seq_length() :].to(self.model.device)
        hidden = self._read(ids, rows, _expanded(cache, 1), **layout)
        return hidden[:, 0], hidden[:, k::k] if len(rows) else hidden[:, :0]

    def _in_a_batch(self, cache: DynamicCache, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        config, k = self.model.config, self.model.tokens_per_item
        width = k if len(rows) else 1  # all rows are as long; what follows the retrieve token cannot reach it
        ids = torch.full((1 + len(rows), width), config.image_token_id, device=self.model.device)
        ids[0] = config.retrieve_token_id
        step = max(2, EXPANDED_TOKENS // (cache.get_seq_length() + width))
        parts = []
        for first in range(0, len(ids), step):
            part = ids[first : first + step]
            parts.append(self._read(part, rows[max(first - 1, 0) : first - 1 + len(part)], _expanded(cache, len(part))))
        hidden = torch.cat(parts)  # (1 + C, width, H)
        return hidden[:1, 0], hidden[None, 1:, -1]

    def _trunk(self, session: str | None, trunk: Trunk) -> DynamicCache:
        """Keys and values of the trunk; reads what is new of it."""
        known, cache = self._kept.get(session or "", (None, None))
        if known is None or cache is None or not trunk.extends(known):
            known, cache = Trunk((), ()), DynamicCache()
        items = trunk.items[len(known.items) :]
        ids = [
            *trunk.words[len(known.words) :],
            *[self.model.config.image_token_id] * len(items) * self.model.tokens_per_item,
        ]
        if ids:
            cache = _expanded(cache, 1)
            self._read(torch.tensor([ids], device=self.model.device), items, cache)
        if session is not None:
            self._keep(session, trunk, cache)
        return cache

    def _keep(self, session: str, trunk: Trunk, cache: DynamicCache) -> None:
        self.forget(session)
        if cache.get_seq_length() > self.kept_tokens:
            return
        self._kept[session] = (trunk, cache)
        while sum(kept.get_seq_length() for _, kept in self._kept.values()) > self.kept_tokens:
            self._kept.popitem(last=False)

    def _read(
        self, ids: torch.Tensor, items: Sequence[int], cache: DynamicCache, **layout: torch.Tensor
    ) -> torch.Tensor:
        """Hidden states (B, L, H) of tokens that continue `cache`, which is extended by them."""
        self.tokens_read += ids.numel()
        shown = {}
        if len(items):
            grid = torch.tensor([[1, 2, 2 * self.model.tokens_per_item]], device=ids.device).expand(len(items), 3)
            shown = {"pixel_values": self.pixels(items), "image_grid_thw": grid}
        return self.model.read(ids, past_key_values=cache, **shown, **layout)


def _expanded(cache: DynamicCache, rows: int) -> DynamicCache:
    """A cache whose every row continues the one row of `cache`; tensors are shared until they are extended, never changed."""
    branched = copy.copy(cache)
    layers: list[Any] = [copy.copy(layer) for layer in cache.layers]
    for layer in layers:
        layer.keys, layer.values = (kept.expand(rows, -1, -1, -1) for kept in (layer.keys, layer.values))
    branched.layers = layers
    return branched
