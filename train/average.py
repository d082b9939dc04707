"""An exponential moving average of the weights (Polyak averaging), which is what gets validated and kept."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from train.checkpoint import Named


class Average:
    """Average of named parameters.

    Args:
        parameters: those that learn.
        decay: share of the old average in the new one, at most; early on (1 + step) / (10 + step), so that the start is
            soon forgotten.
    """

    def __init__(self, parameters: Named, decay: float):
        self.parameters, self.decay = parameters, decay
        self.values: Named = {name: torch.nn.Parameter(p.detach().clone(), False) for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self.parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the parameters hold the average."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._copy(self.values)
        try:
            yield
        finally:
            self._copy(kept)

    def put(self) -> None:
        """Leave the average in the parameters."""
        self._copy(self.values)

    @torch.no_grad()
    def _copy(self, values: dict[str, torch.Tensor] | Named) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
