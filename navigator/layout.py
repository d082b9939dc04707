"""Who sees whom in a row of requests: a trunk that is read once, and branches that see it but never each other.

A request is a trunk (its words, then its history) read causally, and branches after it: retrieve tokens and candidates. A
branch sees a prefix of its own trunk and itself, and its rotary positions start right after what it sees. So one pass ranks
many candidates whose order and company cannot matter, asks after every item of a history at once, and holds several
requests in a row without one leaking into another. Everything follows from four numbers a token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch


@dataclass(frozen=True)
class Layout:
    """The place of every token, all (B, T) integers.

    Attributes:
        segment: number of its request in the row; -1 is padding.
        branch: 0 in the trunk, else the number of its branch in the request.
        sees: how many trunk tokens of its request it may see (in the trunk: itself and those before it).
        position: its rotary position; in the trunk also its place there.
    """

    segment: torch.Tensor
    branch: torch.Tensor
    sees: torch.Tensor
    position: torch.Tensor

    @classmethod
    def of(cls, inputs: Mapping[str, torch.Tensor]) -> "Layout | None":
        """The layout among model inputs; None for plain causal rows, which have none."""
        present = [name for name in LAYOUT if name in inputs]
        if not present:
            return None
        if len(present) != len(LAYOUT):
            raise ValueError(f"a layout needs {', '.join(LAYOUT)}; these inputs have only {', '.join(present)}")
        return cls(**{name: inputs[name] for name in LAYOUT})

    def mask(self) -> torch.Tensor:
        """(B, 1, T, T), True where the query token (third axis) sees the key token; padding sees itself only."""
        index = torch.arange(self.segment.shape[1], device=self.segment.device)
        together = self.segment[:, :, None] == self.segment[:, None, :]
        real = (self.segment >= 0)[:, None, :]
        own = self.branch[:, :, None] == self.branch[:, None, :]
        trunk = (self.branch == 0)[:, None, :] & (self.position[:, None, :] < self.sees[:, :, None])
        seen = together & real & (index[:, None] >= index[None, :]) & (own | trunk)
        return (seen | (index[:, None] == index[None, :]))[:, None]

    def positions(self) -> torch.Tensor:
        """(3, B, T): all axes of M-RoPE advance together, as for words."""
        return self.position.expand(3, -1, -1)

    def branch_ends(self) -> torch.Tensor:
        """(B, T), True at the last token of every branch."""
        differs = (self.branch[:, 1:] != self.branch[:, :-1]) | (self.segment[:, 1:] != self.segment[:, :-1])
        last = torch.cat([differs, torch.ones_like(self.branch[:, :1], dtype=torch.bool)], dim=1)
        return last & (self.branch > 0)


LAYOUT = tuple(field.name for field in fields(Layout))


def plain_positions(input_ids: torch.Tensor, attention_mask: torch.Tensor | None, past: Any) -> torch.Tensor:
    """(3, B, L) of plain causal rows: 0, 1, ... from each row's first real token on, or on from the cache."""
    before = 0 if past is None else past.get_seq_length()
    real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    return (before + real.long().cumsum(1) - 1).clamp_min(0).expand(3, -1, -1)
