"""One request as tensors: words, items, words again; drawn at random, since time does not depend on what they say."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from bench.speed.count import PATCH, PATCH_INPUT
from bench.speed.options import Point
from bench.speed.ways import Way

DIFFERENT = 4  # pictures of a request; drawing all of them would take longer than the measurement
Kept = list[tuple[torch.Tensor, torch.Tensor]]  # a layer's keys and values, each (B, heads, P, head size)


@dataclass(frozen=True)
class Prompt:
    """B equal requests.

    Attributes:
        ids: (B, L) token ids, on the host.
        shown: what the tower's place reads of all B requests' items, on the host.
        grid: (B * n, 3) image_grid_thw, on the host.
        positions: (3, B, L) rotary positions, on the device.
        kept: what an earlier request has left; P is 0 where nothing was kept.
    """

    ids: torch.Tensor
    shown: torch.Tensor
    grid: torch.Tensor
    positions: torch.Tensor
    kept: Kept

    @property
    def past(self) -> int:
        return self.kept[0][0].shape[2]


def cache_of(kept: Kept) -> DynamicCache:
    """A cache that continues `kept` and never changes it."""
    return DynamicCache(kept)


@torch.inference_mode()
def make_prompt(model: Any, way: Way, point: Point, batch: int, dim: int, seed: int) -> Prompt:
    """`batch` requests of a point, as a way reads them; what does not depend on the batch is drawn once and repeated.

    Args:
        model: the way's model; of a way that keeps the history, it reads that now.
        way, point: what is asked.
        batch: B.
        dim: of item vectors.
        seed: of what is drawn; ways that show items alike draw the same.
    """
    device, drawn = model.device, torch.Generator().manual_seed(seed)
    config, each = model.config, way.tokens_an_item(point)
    item = [config.image_token_id] * each
    if way.frame():
        item = [config.vision_start_token_id, *item, config.vision_end_token_id]
    words = torch.randint(0, min(150_000, config.text_config.vocab_size), (point.text,), generator=drawn).tolist()
    ids = torch.tensor([words[: point.before] + item * point.items + words[point.before :]])
    shown = _shown(model, way, point, dim, drawn)
    grid = torch.tensor([_grid(way, point)]).expand(way.shown(point) * batch, 3)
    kept = _nothing(config.text_config, batch, device, model.dtype)
    if way.keeps:
        history = (slice(None), slice(0, point.history))
        kept = _read_before(model, ids[:, : way.kept(point)], shown[history[1]], _grid(way, point), batch)
        ids, shown = ids[:, way.kept(point) :], shown[point.history :]
    positions = _positions(model, way, ids, grid[: way.shown(point)], way.kept(point))
    batched = (batch, *[1] * (shown.ndim - 1)) if way.shows != "features" else (1, batch, 1)
    return Prompt(
        _host(ids.repeat(batch, 1), device), _host(shown.repeat(batched), device), grid.contiguous(),
        positions.expand(3, batch, -1).to(device), kept,
    )  # fmt: skip


def _shown(model: Any, way: Way, point: Point, dim: int, drawn: torch.Generator) -> torch.Tensor:
    """What the items of one request show, one after another; of pictures some are drawn and come again and again."""
    if way.shows == "vectors":
        return torch.nn.functional.normalize(torch.randn(point.items, dim, generator=drawn), dim=-1).to(model.dtype)
    if way.shows == "pixels":
        size = (1, ((way.side_at(point) or 0) // PATCH) ** 2, PATCH_INPUT)
    else:
        levels = len(model.config.vision_config.deepstack_visual_indexes)
        size = (1 + levels, way.tokens_an_item(point), model.config.text_config.hidden_size)
    items = [torch.randn(size, generator=drawn) for _ in range(min(point.items, DIFFERENT))]
    values = torch.cat([items[number % DIFFERENT] for number in range(point.items)], dim=1).to(model.dtype)
    return values[0] if way.shows == "pixels" else values * 0.02


def _grid(way: Way, point: Point) -> list[int]:
    side = way.side_at(point)
    return [1, 2, 2 * way.k] if side is None else [1, side // PATCH, side // PATCH]


def _positions(model: Any, way: Way, ids: torch.Tensor, grid: torch.Tensor, past: int) -> torch.Tensor:
    """(3, 1, L): of the stock model its own, of a swapped one those of words."""
    if way.shows == "vectors":
        return (past + torch.arange(ids.shape[1])).expand(3, 1, -1)
    kinds = (ids == model.config.image_token_id).int()
    return model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grid)[0]


def _nothing(text: Any, batch: int, device: torch.device, dtype: torch.dtype) -> Kept:
    def empty() -> torch.Tensor:
        return torch.empty(batch, text.num_key_value_heads, 0, text.head_dim, device=device, dtype=dtype)

    return [(empty(), empty()) for _ in range(text.num_hidden_layers)]


def _read_before(model: Any, ids: torch.Tensor, shown: torch.Tensor, grid: list[int], batch: int) -> Kept:
    """Keys and values of the first tokens, as the product reads them (`Swapped.read`), for every row of the batch."""
    cache, device = DynamicCache(), model.device
    items = {
        "pixel_values": shown.to(device),
        "image_grid_thw": torch.tensor([grid], device=device).expand(len(shown), 3),
    }
    model.read(ids.to(device), past_key_values=cache, **items)
    layers: Any = cache.layers
    return [(layer.keys.repeat(batch, 1, 1, 1), layer.values.repeat(batch, 1, 1, 1)) for layer in layers]


def _host(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Where requests wait: memory of the host, page-locked for a GPU."""
    return values.contiguous().pin_memory() if device.type == "cuda" else values.contiguous()
