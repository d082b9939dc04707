"""What the model is given to write from, and the plain sentences that stand in where it has nothing usable to say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from navigator.assistant.conversation import ItemPart, Turn
from navigator.assistant.grounding import Found
from navigator.assistant.requests import Prompt
from navigator.contracts import ItemVectors

FOUND = "You help people find pictures. These were found for them:\n{items}\nAnswer briefly, naming them by number."
NOTHING_SOUGHT = "You help people find pictures. Answer briefly and politely."


def prompt(
    processor: Any, store: ItemVectors, turns: Sequence[Turn], pictures: np.ndarray, found: Found, context_tokens: int
) -> tuple[Prompt, int]:
    """The chat that the model continues, items as item tokens, and how many of the oldest turns did not fit.

    Args:
        processor: of the model.
        store: vectors of the items.
        turns: the conversation, the last one the user's.
        pictures: (P, D) what the tower reads of the pictures of all turns, in order.
        found: what was retrieved, numbered in the context.
        context_tokens: how long the prompt may be; the last turn always stays.
    """
    first = _found_message(found, processor.item_token)
    rows = [store.rows_of(turn.items) for turn in turns]
    for dropped in range(len(turns)):
        kept, skipped = turns[dropped:], sum(len(turn.pictures) for turn in turns[:dropped])
        messages = [first, *({"role": turn.role, "content": content(turn, processor)} for turn in kept)]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        expanded = text.replace(processor.item_token, processor.item_token * processor.tokens_per_item)
        ids = processor.tokenizer(expanded, add_special_tokens=False)["input_ids"]
        if len(ids) <= context_tokens or dropped == len(turns) - 1:
            shown = shown_vectors(store, found, kept, rows[dropped:], pictures[skipped:])
            return Prompt(ids, shown), dropped
    raise ValueError("a conversation without turns")


def _found_message(found: Found, item_token: str) -> dict[str, str]:
    items = "\n".join(f"[{n}] {item_token} {title}" for n, title in enumerate(found.titles, 1))
    return {"role": "system", "content": FOUND.format(items=items) if found.items else NOTHING_SOUGHT}


def content(turn: Turn, processor: Any) -> str:
    """A turn in one line, items and pictures as their placeholders."""
    said = []
    for part in turn.parts:
        said.append(clean(part, processor) if isinstance(part, str) else processor.item_token)
    return " ".join(said)


def clean(text: str, processor: Any) -> str:
    """Words without the special tokens of the model: nobody ends a turn, or shows an item, by writing its token."""
    for token in sorted(processor.tokenizer.all_special_tokens, key=len, reverse=True):
        text = text.replace(token, " ")
    return text


def shown_vectors(
    store: ItemVectors, found: Found, turns: Sequence[Turn], rows: Sequence[np.ndarray], pictures: np.ndarray
) -> np.ndarray:
    """(n, D) what the tower reads, in reading order: the found items, then those and the pictures of the turns."""
    vectors, seen = [store.float32(store.rows_of(found.items))], 0
    for turn, own in zip(turns, rows, strict=True):
        items = iter(own)
        for part in turn.parts:
            if isinstance(part, ItemPart):
                vectors.append(store.float32(np.array([next(items)])))
            elif isinstance(part, bytes):
                vectors.append(pictures[seen : seen + 1])
                seen += 1
    return np.concatenate(vectors).astype(np.float32)


def listing(found: Found, nearest: bool = False) -> str:
    """A plain sentence that names what was found."""
    names = [f"[{n}] {title}" if title else f"[{n}]" for n, title in enumerate(found.titles, 1)]
    if not names:
        return "I found nothing more."
    told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    if nearest:
        return f"Nothing fits, but these come nearest: {told}."
    return f"I found {told}."


def refusal(text: str) -> str:
    """That the catalogue lacks what was asked for."""
    return f"Nothing in the catalogue fits “{text}”. I can show what comes nearest, if you ask for it."


def about(found: Found) -> str:
    """What is known of items that were asked about."""
    names = [f"“{title}”" for title in found.titles if title]
    return f"This is {' and '.join(names)}." if names else "This item has no title."


GREETING = "Hello. Tell me what you are looking for, or show me a picture."
THANKS = "You are welcome."
