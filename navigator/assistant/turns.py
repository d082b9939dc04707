"""A conversation up to where the assistant answers, as the model reads it to say `<|retrieve|>`; training renders by it too."""

from collections.abc import Sequence
from typing import Any

from navigator.assistant.conversation import Turn
from navigator.assistant.writing import NOTHING_SOUGHT, content

TURNS = 3  # of a conversation that are read, the newest


def answer_begin(processor: Any, turns: Sequence[Turn]) -> list[int]:
    """Token ids of the system message and the last TURNS turns, every item and picture as its placeholders.

    No special token in anybody's words is read as one.
    """
    messages = [{"role": "system", "content": NOTHING_SOUGHT}]
    messages += [{"role": turn.role, "content": content(turn, processor)} for turn in turns[-TURNS:]]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    spread = text.replace(processor.item_token, processor.item_token * processor.tokens_per_item)
    return processor.tokenizer.encode(spread, add_special_tokens=False)


def named(turns: Sequence[Turn]) -> tuple[str, list[str]]:
    """What a query starts from (navigator.start): the user's last words, and the items of all turns of the user, oldest first.

    Items that were only found stay out: they were shown, not chosen.
    """
    said = [turn for turn in turns if turn.role == "user"]
    return said[-1].words, [item for turn in said for item in turn.items]
