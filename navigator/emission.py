"""When the model itself says `<|retrieve|>`: a head of one number beside the words', and the rule that reads it.

The row of `<|retrieve|>` in the word embeddings cannot learn this by itself: most small backbones tie it to the input, where
it is what every query is read at, and a gradient on one row drags the whole table along. So the logit of that one token gets
a linear reading of the hidden state on top, zero at first. All other logits stay what they were, bit for bit.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class EmittingHead(nn.Linear):
    """The language head, with one token's logit raised by what `emission` reads of the hidden state.

    Args:
        hidden_size: H.
        vocabulary: V.
        token: whose logit it is.
    """

    def __init__(self, hidden_size: int, vocabulary: int, token: int):
        super().__init__(hidden_size, vocabulary, bias=False)
        self.token = token
        self.emission = nn.Linear(hidden_size, 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., H) to logits (..., V)."""
        logits = super().forward(input)
        # Of root mean square 1, so that the learning rate means the same on any backbone.
        scaled = F.normalize(input, dim=-1) * self.in_features**0.5
        logits[..., self.token] += self.emission(scaled)[..., 0].to(logits.dtype)
        return logits


def add_emission(model: Any) -> None:
    """Give a swapped model an EmittingHead around the head it has; one that has it already keeps what it learned."""
    old = model.lm_head
    if isinstance(old, EmittingHead):
        return
    with torch.device("meta"):
        head = EmittingHead(old.in_features, old.out_features, model.config.retrieve_token_id)
    head.weight = old.weight
    head.emission = nn.Linear(old.in_features, 1).to(old.weight)
    nn.init.zeros_(head.emission.weight)
    nn.init.zeros_(head.emission.bias)
    model.lm_head = head
    model.config.emission = True


def retrieve_log_odds(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """(N,) float32 log-odds that the next token is `<|retrieve|>`, from hidden states (N, H) at the ends of prompts."""
    logits = model.lm_head(hidden).float()
    token = model.config.retrieve_token_id
    own = logits[:, token].clone()
    logits[:, token] = -torch.inf
    return own - logits.logsumexp(-1)


def emits(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """(N,) bool: does the model ask for a search here? Its probability is held against the threshold it was calibrated to.

    Raises:
        ValueError: the model has not shown that it can tell (`emits_retrieve` of its config).
    """
    if not model.config.emits_retrieve:
        raise ValueError("this model has not learned when to search: its config says emits_retrieve false")
    return retrieve_log_odds(model, hidden).sigmoid() >= model.config.retrieve_threshold
