"""The swap's one new module: item vectors in, language-model tokens out.

It takes the place of `model.model.visual` in a stock Transformers Qwen2.5-VL or Qwen3-VL. The stock model calls
``visual(pixel_values, grid_thw=image_grid_thw)``, scatters `pooler_output` over the image placeholders and, for Qwen3-VL,
adds `deepstack_features` to the first layers' hidden states. So the item vectors travel as `pixel_values` (n, D) and each
item's grid row (1, 2, 2k) announces k tokens; no modelling file is copied.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling


@dataclass
class TowerOutput(BaseModelOutputWithPooling):
    """What the stock models read of a vision tower; `deepstack_features` holds one (n*k, H) tensor a level."""

    deepstack_features: list[torch.Tensor] | None = None


class Tower(nn.Module):
    """What a stock Qwen-VL asks of its `visual` beside the call: a dtype and the merge size of its patch grid."""

    spatial_merge_size = 2

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class ItemTower(Tower):
    """Precomputed item vectors (n, D) to (n*k, H) tokens [+ DeepStack levels].

    Two layers, GELU between, outputs scaled to the root mean square of the language model's own embeddings, so that a fresh
    tower's tokens are as loud as words. DeepStack projections start at zero: at first they change nothing.

    Args:
        dim: D, size of an item vector.
        hidden_size: H of the language model.
        tokens: k, tokens an item.
        deepstack_levels: how many language layers receive item features (Qwen3-VL: 3; Qwen2.5-VL: 0).
        token_rms: target root mean square of an output element at initialisation.
    """

    def __init__(self, dim: int, hidden_size: int, tokens: int = 1, deepstack_levels: int = 0, token_rms: float = 0.02):
        super().__init__()
        self.dim, self.hidden_size, self.tokens, self.token_rms = dim, hidden_size, tokens, token_rms
        self.input = nn.Linear(dim, hidden_size)
        self.act = nn.GELU()
        self.output = nn.Linear(hidden_size, tokens * hidden_size)
        self.deepstack = nn.ModuleList(nn.Linear(hidden_size, tokens * hidden_size) for _ in range(deepstack_levels))

    def reset(self) -> None:
        """Initial weights (Transformers builds modules without them when it loads a checkpoint)."""
        nn.init.normal_(self.input.weight, std=1.0)  # unit-norm input -> unit-variance hidden
        nn.init.normal_(
            self.output.weight, std=self.token_rms / (0.65 * self.hidden_size**0.5)
        )  # E[gelu(x)^2] = 0.65^2
        for name, parameter in self.named_parameters():
            if name.endswith(".bias") or name.startswith("deepstack."):
                nn.init.zeros_(parameter)

    def forward(self, pixel_values: torch.Tensor, grid_thw: torch.Tensor | None = None, **_: object) -> TowerOutput:
        """pixel_values: (n, D) item vectors; grid_thw: (n, 3), rows (1, 2, 2k).

        Raises:
            ValueError: vectors of another size, or a grid that announces another number of tokens.
        """
        if pixel_values.ndim != 2 or pixel_values.shape[1] != self.dim:
            raise ValueError(
                f"item vectors of shape {tuple(pixel_values.shape)}; this tower reads (n, {self.dim}): "
                "use the vectors of the encoder it was swapped for"
            )
        if grid_thw is not None:
            announced = int(grid_thw.prod(-1).sum()) // self.spatial_merge_size**2
            if announced != pixel_values.shape[0] * self.tokens:
                raise ValueError(
                    f"image_grid_thw announces {announced} tokens, but {pixel_values.shape[0]} items at "
                    f"{self.tokens} tokens each are {pixel_values.shape[0] * self.tokens}"
                )
        hidden = self.act(self.input(pixel_values))  # (n, H)
        tokens = self.output(hidden).view(-1, self.hidden_size)  # (n*k, H)
        levels = [level(hidden).view(-1, self.hidden_size) for level in self.deepstack]
        return TowerOutput(pooler_output=tokens, deepstack_features=levels)


class PatchTower(Tower):
    """A runtime vision tower for the native comparison: pictures to one token a cell of a timm feature map.

    Args:
        timm_model: a timm name with a spatial feature map (forward_features gives (n, C, g, g)).
        grid: g, cells a side; an item costs g*g tokens.
        hidden_size: H of the language model.
    """

    def __init__(
        self, timm_model: str, grid: int, hidden_size: int, deepstack_levels: int = 0, token_rms: float = 0.02
    ):
        super().__init__()
        import timm

        self.trunk: Any = timm.create_model(timm_model, pretrained=False, num_classes=0)
        self.grid, self.tokens = grid, grid * grid
        self.projector = ItemTower(self.trunk.num_features, hidden_size, 1, deepstack_levels, token_rms)

    def reset(self) -> None:
        self.projector.reset()

    def forward(self, pixel_values: torch.Tensor, grid_thw: torch.Tensor | None = None, **_: object) -> TowerOutput:
        """pixel_values: (n, 3, S, S) normalised pictures with S / stride = g."""
        with torch.no_grad():  # the trunk is frozen, as in the alignment stage of LLaVA-like models
            cells = self.trunk.forward_features(pixel_values)  # (n, C, g, g)
        if cells.shape[-1] != self.grid:
            raise ValueError(
                f"pictures of side {pixel_values.shape[-1]} give {cells.shape[-1]} cells a side, not {self.grid}"
            )
        cells = cells.flatten(2).transpose(1, 2).flatten(0, 1)  # (n*g*g, C)
        unit = cells / cells.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return self.projector(unit)
