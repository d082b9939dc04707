"""The same request without a word from the host between its first and last kernel, so that CUDA graphs can hold it.

The stock forward asks the device for numbers on the way (how many placeholders, which rows a boolean mask picks), and a graph
cannot wait for an answer. So the same modules are called over fixed buffers with everything known beforehand: the tower's
place, then word embeddings with the items' tokens laid in by index, the language model with DeepStack features added by index,
and the head. Weights, kernels and order of additions are the stock model's; `same_output` in the report says how far the
results lie apart.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.masking_utils import create_causal_mask

from bench.speed.graphs import graph_of, lacks_memory
from bench.speed.prompts import Kept, Prompt, cache_of
from bench.speed.ways import Way
from navigator.contracts.errors import UserError


class Assembled:
    """A `Plain` over fixed buffers; `capture` turns its steps into CUDA graphs.

    Args:
        model, way, prompt, generated: as in `Plain`.

    Attributes:
        logits: (B, vocabulary) after the prompt, once it was read.
        eager: steps that stay outside a graph, and why.
    """

    def __init__(self, model: Any, way: Way, prompt: Prompt, generated: int):
        self.model, self.way, self.prompt, self.generated = model, way, prompt, generated
        self.language, self.visual, device = model.model.language_model, model.model.visual, model.device
        self.ids, self.shown = (
            torch.empty_like(prompt.ids, device=device),
            torch.empty_like(prompt.shown, device=device),
        )
        placeholders = (prompt.ids == model.config.image_token_id).flatten()
        self.where = placeholders.nonzero()[:, 0].to(device)  # (B * items * tokens,) rows of the flattened prompt
        length, after = prompt.ids.shape[1], prompt.positions.amax((0, 2))[None, :, None].expand(3, -1, 1)
        spans = [(length, prompt.past), *((1, prompt.past + length + step) for step in range(generated - 1))]
        self.masks = [self._mask(new, past) for new, past in spans]
        self.positions = [prompt.positions, *(after + step for step in range(1, generated))]
        self.grid = prompt.grid.to(device)
        self.known = _known_of(model, prompt) if way.shows == "pixels" else {}
        self.steps: dict[str, Callable[[], Any]] = {
            "tower": self._tower,
            "prefill": self._prefill,
            "decode": self._decode,
        }
        self.eager: dict[str, str] = {}
        self.features: list[torch.Tensor] = []
        self.logits: Any = None

    @torch.inference_mode()
    def put(self) -> None:
        """Words and items into the buffers."""
        self.ids.copy_(self.prompt.ids, non_blocking=True)
        self.shown.copy_(self.prompt.shown, non_blocking=True)

    @torch.inference_mode()
    def prefill(self) -> None:
        """Read the prompt, the tower's place included."""
        self.features = self.steps["tower"]()
        self.logits, self.token, self.kept = self.steps["prefill"]()

    @torch.inference_mode()
    def decode(self) -> torch.Tensor:
        """The tokens after the first; (B, generated) ids, back on the host."""
        return (self.steps["decode"]() if self.generated > 1 else self.token).cpu()

    @torch.inference_mode()
    def capture(self) -> "Assembled":
        """Each step as one CUDA graph. The stock tower may refuse (versions differ): it then stays eager, and says so.

        Raises:
            UserError: no CUDA device, or a step of the language model cannot be captured.
        """
        if self.model.device.type != "cuda":
            raise UserError("CUDA graphs need a CUDA device; leave out --cuda_graphs here")
        self.put()
        for name in ("tower", "prefill", "decode") if self.generated > 1 else ("tower", "prefill"):
            try:
                self.steps[name] = graph_of(self.steps[name])
            except RuntimeError as error:
                if lacks_memory(error):
                    raise torch.OutOfMemoryError(str(error)) from error
                reason = str(error).splitlines()[0]
                if name != "tower":
                    raise UserError(
                        f"{name} of way {self.way.name} cannot be captured ({reason}); leave out --cuda_graphs"
                    ) from error
                self.eager[name] = reason
            if name == "tower":
                self.features = self.steps[name]()
            elif name == "prefill":
                self.logits, self.token, self.kept = self.steps[name]()
        return self

    def _tower(self) -> list[torch.Tensor]:
        grid = None if self.way.shows == "vectors" else self.grid  # an item tower would read it on the host to check it
        seen = self.visual(self.shown, grid_thw=grid, **self.known)
        return [seen.pooler_output, *seen.deepstack_features]

    def _prefill(self) -> tuple[torch.Tensor, torch.Tensor, Kept]:
        words = self.language.embed_tokens(self.ids)  # (B, L, H)
        embedded = words.flatten(0, 1).index_copy(0, self.where, self.features[0].to(words.dtype)).view_as(words)
        cache = cache_of(self.prompt.kept)
        with _added(self.language.layers, self.where, self.features[1:]):
            logits = self._read(embedded, 0, cache)
        layers: Any = cache.layers
        return logits, logits.argmax(-1, keepdim=True), [(layer.keys, layer.values) for layer in layers]

    def _decode(self) -> torch.Tensor:
        cache, written = cache_of(self.kept), [self.token]
        for step in range(1, self.generated):
            logits = self._read(self.language.embed_tokens(written[-1]), step, cache)
            written.append(logits.argmax(-1, keepdim=True))
        return torch.cat(written, dim=1)

    def _read(self, embedded: torch.Tensor, step: int, cache: Any) -> torch.Tensor:
        hidden = self.language(
            inputs_embeds=embedded, attention_mask=self.masks[step], position_ids=self.positions[step],
            past_key_values=cache, use_cache=True,
        ).last_hidden_state  # fmt: skip
        return self.model.lm_head(hidden[:, -1])

    def _mask(self, new: int, past: int) -> torch.Tensor | None:
        """What the attention kernel needs to be causal; None where it is by itself."""
        batch = len(self.prompt.ids)
        rows = torch.empty(batch, new, 1, device=self.model.device, dtype=self.model.dtype)
        before = rows.new_empty(batch, 1, past, 1)  # only its length is looked at
        return create_causal_mask(
            config=self.language.config, inputs_embeds=rows, attention_mask=None,
            past_key_values=cache_of([(before, before)]),
        )  # fmt: skip


@contextmanager
def _added(layers: Any, where: torch.Tensor, levels: list[torch.Tensor]) -> Iterator[None]:
    """Inside, the first layers' outputs at `where` have the DeepStack levels added."""

    def adder(level: torch.Tensor) -> Callable[..., torch.Tensor]:
        def add(_module: Any, _given: Any, hidden: torch.Tensor) -> torch.Tensor:
            return hidden.flatten(0, 1).index_add(0, where, level.to(hidden.dtype)).view_as(hidden)

        return add

    hooks = [layer.register_forward_hook(adder(level)) for layer, level in zip(layers, levels, strict=False)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _known_of(model: Any, prompt: Prompt) -> dict[str, Any]:
    """What the stock vision tower would work out from the grid of pictures, in the places where it looks for it; nothing with
    a Transformers that does not look."""
    try:
        from transformers.vision_utils import (
            get_vision_attention_seqlens,
            get_vision_interpolation_indices_and_weights,
            get_vision_position_ids,
        )
    except ImportError:
        return {}
    visual, grid, device = model.model.visual, prompt.grid, model.device
    merge = visual.config.spatial_merge_size
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid, num_grid_per_side=visual.num_grid_per_side, mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners, spatial_merge_size=merge,
    )  # fmt: skip
    lengths, longest = get_vision_attention_seqlens(grid, visual.config)
    flash = "flash" in visual.config._attn_implementation  # reads lengths on the device, the other kernels on the host
    known = {
        "interp_indices": indices.to(device), "interp_weights": weights.to(device),
        "position_ids": get_vision_position_ids(grid, merge).to(device),
        "cu_seqlens": lengths.to(device) if flash else lengths,
    }  # fmt: skip
    return known if longest is None else known | {"max_seqlen": longest}
