"""From the model's tokens to an answer, sentence by sentence: what has passed the check may be shown, never anything before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from navigator.assistant.assistant import Plan
from navigator.assistant.grounding import Titles, degenerate, named, plain, sentences, strays

MAX_NEW_TOKENS = 96
NO_REPEAT = 4  # words in a row that are not said twice


@dataclass(frozen=True)
class Answer:
    """An answer that was checked.

    Attributes:
        text: names nothing but `items`.
        items, titles, scores: what was retrieved, by number from 1.
        named: those that the text names.
        retrieved, refused, dropped_turns, prompt_tokens: see Plan.
        grounded: whether the text passes the check as a whole.
        removed: sentences that were taken out.
        templated: whether a plain sentence stands where the model said nothing usable.
        completion_tokens: that the model generated.
        finish: "stop", or "length" where it was cut off.
    """

    text: str
    items: list[str]
    titles: list[str]
    scores: list[float]
    named: list[str]
    retrieved: bool
    refused: bool
    grounded: bool
    removed: int
    templated: bool
    dropped_turns: int
    prompt_tokens: int
    completion_tokens: int
    finish: str
    timings_ms: dict[str, float] = field(default_factory=dict)


class Gate:
    """Takes tokens of one answer and lets sentences through that were checked.

    Args:
        plan: what is answered.
        titles: of the catalogue.
        tokenizer: of the model.
    """

    def __init__(self, plan: Plan, titles: Titles, tokenizer: Any):
        self.plan, self._titles, self._tokenizer = plan, titles, tokenizer
        self._tokens: list[int] = []
        self._judged = 0
        self._kept: list[str] = []
        self.removed = 0

    def push(self, token: int) -> str:
        """What may be shown now, "" for nothing yet; the last sentence waits until the next one has begun."""
        self._tokens.append(token)
        return self._judge(self._said()[:-1])

    def close(self, finish: str = "stop") -> tuple[str, Answer]:
        """What is still to be shown, and the answer as a whole; a sentence that was cut off is not said."""
        said = self._said()
        shown = self._judge(said[:-1] if finish == "length" else said)
        reply = "" if self._usable() else self.plan.reply
        shown += (" " if self._kept and reply else "") + reply
        text = " ".join([*self._kept, *([reply] if reply else [])])
        plan, found = self.plan, self.plan.found
        return shown, Answer(
            text, list(found.items), list(found.titles), plan.scores, named(text, found), plan.retrieved, plan.refused,
            reply == text or not strays(text, found, self._titles), self.removed, bool(reply) and plan.prompt is not None,
            plan.dropped_turns, plan.prompt_tokens, len(self._tokens), finish, plan.timings_ms,
        )  # fmt: skip

    def _said(self) -> list[str]:
        return sentences(plain(self._tokenizer.decode(self._tokens, skip_special_tokens=True)))

    def _judge(self, said: Sequence[str]) -> str:
        """Judges sentences that were not judged yet; returns what of them stays, as it is to be shown."""
        before = len(self._kept)
        for sentence in said[self._judged :]:
            whole = sentence.rstrip("\"')").endswith((".", "!", "?")) or named(sentence, self.plan.found)
            wrong = strays(sentence, self.plan.found, self._titles) or degenerate(sentence)
            if wrong or not whole or sentence in self._kept:
                self.removed += 1
            else:
                self._kept.append(sentence if sentence.rstrip("\"')”")[-1:] in (".", "!", "?") else f"{sentence}.")
        self._judged = max(self._judged, len(said))
        fresh = " ".join(self._kept[before:])
        return f" {fresh}" if before and fresh else fresh

    def _usable(self) -> bool:
        """Whether what the model said stands alone: it names what was found, or nothing was to be named."""
        if not self._kept or self.plan.prompt is None:
            return False
        text = " ".join(self._kept)
        return not degenerate(text) and (not self.plan.found.items or bool(named(text, self.plan.found)))


def answer(plan: Plan, tokens: Sequence[int], finish: str, titles: Titles, tokenizer: Any) -> Answer:
    """The checked answer of a plan whose tokens are all there."""
    gate = Gate(plan, titles, tokenizer)
    for token in tokens:
        gate.push(token)
    return gate.close(finish)[1]


def unsaid(plan: Plan, titles: Titles, tokenizer: Any) -> Answer:
    """The answer of a plan that the model is not asked for."""
    if plan.prompt is not None:
        raise ValueError("this plan has a prompt; generate its tokens first")
    return Gate(plan, titles, tokenizer).close()[1]
