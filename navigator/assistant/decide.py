"""Whether a turn searches, and with what: by the model, where it was trained to say so, else by a rule.

A model that has learned to emit ``<|retrieve|>`` in a chat (`emits_retrieve` in its config, train.chat) reads the last turns,
items as their tokens. It searches where the token's probability at the begin of its own turn reaches `retrieve_threshold`
of its config, and the query is read at that very token. All others search unless the turn is a greeting or thanks by closed
lists of words, or a question about an item that is shown: their probability of the token says nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from navigator.assistant.conversation import Turn
from navigator.assistant.grounding import Found
from navigator.assistant.turns import TURNS, answer_begin, named
from navigator.assistant.wish import Wish
from navigator.assistant.writing import shown_vectors
from navigator.contracts import UserError
from navigator.emission import emits
from navigator.recommend import Recommender
from navigator.retrieve import model_can_start

ReadPictures = Callable[[Sequence[Turn]], np.ndarray]
NOTHING_FOUND = Found((), (), "")


class Decider:
    """Attributes:
    emits: whether the model decides.
    """

    def __init__(self, recommender: Recommender):
        """Raises UserError where a model is said to emit the token, but not from which probability on."""
        self.recommender, self.model, self.processor = recommender, recommender.model, recommender.processor
        self.emits = bool(self.model.config.emits_retrieve)
        if self.emits and self.model.config.retrieve_threshold is None:
            raise UserError(
                "the model's config says emits_retrieve, but has no retrieve_threshold; train it with task chat, which "
                "finds one, or set emits_retrieve to false and a rule decides"
            )

    @torch.inference_mode()
    def decide(
        self, turns: Sequence[Turn], wish: Wish, pictures: ReadPictures, always: bool = False
    ) -> tuple[bool, np.ndarray | None]:
        """Whether the last turn is searched for, and the model's (D,) query; None where it emits none.

        Args:
            turns: the conversation.
            wish: what the rule goes by.
            pictures: gives (P, D) what the tower reads of turns' pictures.
            always: search, whatever model or rule say.
        """
        if not self.emits:
            return always or not (wish.small_talk or wish.about), None
        begin, token = self._hidden(turns, pictures)
        if not always and not bool(emits(self.model, begin)):
            return False, None
        return True, self._query(turns, token)

    def _hidden(self, turns: Sequence[Turn], pictures: ReadPictures) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, H) hidden states where the answer begins, and at a retrieve token there."""
        last = [_as_trained(turn) for turn in turns[-TURNS:]]
        store = self.recommender.vectors
        ids = [*answer_begin(self.processor, last), self.processor.retrieve_token_id]
        seen = shown_vectors(store, NOTHING_FOUND, last, [store.rows_of(turn.items) for turn in last], pictures(last))
        inputs = self.processor.pad([ids]) | {"pixel_values": torch.from_numpy(seen)}
        inputs["image_grid_thw"] = self.processor.grid(len(seen))
        hidden = self.model.read(**{name: value.to(self.recommender.device) for name, value in inputs.items()})
        return hidden[:, -2], hidden[:, -1]

    def _query(self, turns: Sequence[Turn], token: torch.Tensor) -> np.ndarray | None:
        """As Swapped.retrieve gives it; None where it has no start (navigator.start)."""
        words, items = named(turns)
        rows = self.recommender.vectors.rows_of(items)[-self.recommender.max_history :]
        if not model_can_start(self.recommender, rows, words):
            return None
        start = self.recommender.starts([rows.tolist()], [words])
        return self.model.query(start, token)[0].float().cpu().numpy()


def _as_trained(turn: Turn) -> Turn:
    """What the assistant found is told in its words alone; only the user's items and pictures are seen."""
    if turn.role == "user":
        return turn
    return replace(turn, parts=tuple(part for part in turn.parts if isinstance(part, str)))
