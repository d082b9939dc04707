"""Keys and values of rows that are generated together: rows join and leave between steps, and none is read twice.

All rows end at the same column; a shorter one is padded on the left, where a mask hides it. Buffers have room for more
columns than are used, so that a step writes one column and copies nothing.
"""

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64  # columns that a buffer grows by


class RoomyLayer(DynamicLayer):
    """A layer's keys and values in buffers that are longer than what is kept; `keys` and `values` are views of them."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.lazy_initialization(keys, values)
        self._buffers = [_with_room(keys), _with_room(values)]
        self._show(keys.shape[-2])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new columns behind the kept ones; returns all of them."""
        assert self.keys is not None and self.values is not None
        used = self.keys.shape[-2]
        wanted = used + key_states.shape[-2]
        if wanted > self._buffers[0].shape[-2]:
            self._buffers = [_with_room(self.keys, wanted), _with_room(self.values, wanted)]
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., used:wanted, :] = new
        self._show(wanted)
        return self.keys, self.values  # type: ignore[return-value]

    def _show(self, used: int) -> None:
        self.keys, self.values = (buffer[..., :used, :] for buffer in self._buffers)


def kept(layers: list[tuple[torch.Tensor, torch.Tensor]]) -> DynamicCache:
    """A cache of these keys and values, each (B, heads, L, size), with room for more."""
    cache = DynamicCache()
    cache.layers = [RoomyLayer(keys, values) for keys, values in layers]  # type: ignore[assignment]
    return cache


def joined(
    running: DynamicCache | None, mask: torch.Tensor, fresh: DynamicCache, fresh_mask: torch.Tensor
) -> tuple[DynamicCache, torch.Tensor]:
    """The rows of both, ending at one column.

    Args:
        running: of the rows that are under way, or None.
        mask: (B, L) of them, 0 at padding.
        fresh: of the rows that join.
        fresh_mask: (N, M) of those.

    Returns:
        cache and mask of B + N rows and max(L, M) columns.
    """
    if running is None:
        return kept([(layer.keys, layer.values) for layer in _layers(fresh)]), fresh_mask
    length = max(mask.shape[1], fresh_mask.shape[1])
    pairs = zip(_layers(running), _layers(fresh), strict=True)
    merged = [(_stacked(one.keys, two.keys, length), _stacked(one.values, two.values, length)) for one, two in pairs]
    masks = [torch.nn.functional.pad(own, (length - own.shape[1], 0)) for own in (mask, fresh_mask)]
    return kept(merged), torch.cat(masks)


def without(cache: DynamicCache, mask: torch.Tensor, stay: list[int]) -> tuple[DynamicCache | None, torch.Tensor]:
    """Only the rows `stay`, and no column that is padding in all of them."""
    if not stay:
        return None, mask[:0, :0]
    left = mask[stay]
    first = int(left.any(0).int().argmax())
    layers = [(layer.keys[stay][..., first:, :], layer.values[stay][..., first:, :]) for layer in _layers(cache)]
    return kept(layers), left[:, first:]


def _layers(cache: DynamicCache) -> list[Any]:
    return list(cache.layers)


def _stacked(one: torch.Tensor, two: torch.Tensor, length: int) -> torch.Tensor:
    """(B + N, heads, length, size), padded on the left with zeros."""
    out = one.new_zeros(len(one) + len(two), one.shape[1], length, one.shape[3])
    out[: len(one), :, length - one.shape[2] :] = one
    out[len(one) :, :, length - two.shape[2] :] = two
    return out


def _with_room(values: torch.Tensor, length: int | None = None) -> torch.Tensor:
    """A buffer that begins with `values` and has ROOM columns beyond `length`."""
    length = values.shape[-2] if length is None else length
    buffer = values.new_empty(*values.shape[:2], length + ROOM, values.shape[3])
    buffer[..., : values.shape[-2], :] = values
    return buffer
