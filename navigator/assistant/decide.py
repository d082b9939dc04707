"""Whether a turn searches: by the model, where it was trained to say so, else by a rule.

A model that was trained to emit ``<|retrieve|>`` in a chat (`emits_retrieve` in its config) decides by the probability of
that token at the begin of its turn. What is much depends on the model, so it is asked once, when it is opened, with turns
that want nothing and with turns that do; the bound lies between the two. All others search unless the turn is a greeting or
thanks by closed lists of words, or a question about an item that is shown: their probability of the token says nothing.
"""

from collections.abc import Sequence
from typing import Any

import torch

from navigator.assistant.conversation import Turn
from navigator.assistant.wish import Wish
from navigator.assistant.writing import NOTHING_SOUGHT, clean
from navigator.contracts import UserError
from navigator.recommend import Recommender

IDLE = ("hello", "good morning", "thank you very much", "thanks, bye", "ok, great", "how are you?")
WANTING = (
    "show me a red flower", "I need a picture of a dog", "find me some flags", "do you have a bicycle?", "a house by the sea",
    "pictures of musical instruments",
)  # fmt: skip


class Decider:
    """Attributes:
    emits: whether the model decides.
    bound: log probability of the retrieve token from which a turn searches; None where the rule decides.
    """

    def __init__(self, recommender: Recommender):
        """Raises UserError where a model is said to emit the token, but does not tell wanting turns from idle ones."""
        self.model, self.processor, self.device = recommender.model, recommender.processor, recommender.device
        self.emits = bool(getattr(self.model.config, "emits_retrieve", False))
        self.bound: float | None = None
        if self.emits:
            idle, wanting = ([self.log_probability([Turn("user", (said,))]) for said in own] for own in (IDLE, WANTING))
            if max(idle) >= min(wanting):
                raise UserError(
                    "the model's config says emits_retrieve, but it gives the retrieve token no higher probability on "
                    "requests than on thanks; train it to, or set emits_retrieve to false and a rule decides"
                )
            self.bound = (max(idle) + min(wanting)) / 2

    def seeks(self, turns: Sequence[Turn], wish: Wish) -> bool:
        if self.bound is not None:
            return self.log_probability(turns) >= self.bound
        return not wish.small_talk and not wish.about

    def log_probability(self, turns: Sequence[Turn]) -> float:
        """Of the retrieve token as the first one of the answer; of what was said, pictures and items are left out."""
        messages = [{"role": "system", "content": NOTHING_SOUGHT}]
        messages += [{"role": turn.role, "content": clean(turn.words, self.processor)} for turn in turns[-3:]]
        inputs: Any = self.processor(self.processor.apply_chat_template(messages, add_generation_prompt=True))
        with torch.inference_mode():
            hidden = self.model.read(inputs["input_ids"].to(self.device))[:, -1]
            logits = self.model.lm_head(hidden).float()[0]
        return float(logits.log_softmax(-1)[self.processor.retrieve_token_id])
