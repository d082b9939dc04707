"""Which token comes next: the likeliest or a drawn one, never a forbidden one, never one that repeats a row of tokens."""

from collections.abc import Sequence

import torch


def next_token(
    logits: torch.Tensor, said: Sequence[int], forbidden: torch.Tensor, temperature: float, no_repeat: int,
    drawn_by: torch.Generator | None, allowed: Sequence[int] | None = None,
) -> int:  # fmt: skip
    """The next token of one row.

    Args:
        logits: (V,) float32.
        said: tokens that the row has generated.
        forbidden: (F,) token ids that no answer may hold.
        temperature: 0 takes the likeliest, else tokens are drawn from the softmax of logits / temperature.
        no_repeat: no sequence of so many tokens comes twice; 0 allows it.
        drawn_by: source of the draw.
        allowed: the only tokens that may follow, whatever was said or is forbidden; None for any.
    """
    logits = logits.clone()
    if allowed is not None:
        others = torch.ones_like(logits, dtype=torch.bool)
        others[list(allowed)] = False
        logits[others] = -torch.inf
    else:
        logits[forbidden] = -torch.inf
    if allowed is None and no_repeat and len(said) >= no_repeat:
        tail = tuple(said[len(said) - no_repeat + 1 :])
        before = [tuple(said[n : n + no_repeat - 1]) for n in range(len(said) - no_repeat + 1)]
        again = [said[n + no_repeat - 1] for n, own in enumerate(before) if own == tail]
        logits[again] = -torch.inf
    if temperature <= 0:
        return int(logits.argmax())
    return int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=drawn_by))
