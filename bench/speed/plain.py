"""A request as the libraries run it: the stock forward for native ways, the swap's own `read` for swapped ones.

Greedy, token by token, over a growing cache. What a server computes once for all its requests stays outside: rotary
positions, and for a way that keeps the history its keys and values.
"""

from typing import Any

import torch

from bench.speed.prompts import Prompt, cache_of
from bench.speed.ways import Way


class Plain:
    """One way's answer to one prompt, in three steps that are timed apart.

    Args:
        model: the way's model.
        way: how items enter.
        prompt: B requests.
        generated: tokens to write, at least one.

    Attributes:
        logits: (B, vocabulary) after the prompt, once it was read.
    """

    def __init__(self, model: Any, way: Way, prompt: Prompt, generated: int):
        self.model, self.way, self.prompt, self.generated = model, way, prompt, generated
        self.grid = prompt.grid.to(model.device)
        self.logits: Any = None

    @torch.inference_mode()
    def put(self) -> None:
        """Words and items to the device."""
        self.ids = self.prompt.ids.to(self.model.device, non_blocking=True)
        self.shown = self.prompt.shown.to(self.model.device, non_blocking=True)

    @torch.inference_mode()
    def prefill(self) -> None:
        """Read the prompt, the tower's place included."""
        self.cache = cache_of(self.prompt.kept)
        items = {"pixel_values": self.shown, "image_grid_thw": self.grid}
        self.logits = self._read(self.ids, self.prompt.positions, **items)
        self.token = self.logits.argmax(-1, keepdim=True)  # (B, 1)

    @torch.inference_mode()
    def decode(self) -> torch.Tensor:
        """The tokens after the first; (B, generated) ids, back on the host."""
        written, at = [self.token], self.prompt.positions.amax((0, 2))[None, :, None].expand(3, -1, 1)
        for step in range(1, self.generated):
            written.append(self._read(written[-1], at + step).argmax(-1, keepdim=True))
        return torch.cat(written, dim=1).cpu()

    def _read(self, ids: torch.Tensor, positions: torch.Tensor, **items: torch.Tensor) -> torch.Tensor:
        if self.way.shows == "vectors":
            hidden = self.model.read(ids, past_key_values=self.cache, **items)
            return self.model.lm_head(hidden[:, -1])
        return self.model(
            input_ids=ids, position_ids=positions, past_key_values=self.cache, use_cache=True, logits_to_keep=1, **items
        ).logits[:, -1]
