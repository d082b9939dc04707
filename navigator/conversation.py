"""What of a conversation a search starts from, and how found items stand in it: training and serving must agree on both."""

from collections.abc import Mapping, Sequence
from typing import Any

FOUND = "Here is what I found:"


def wish_of(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """The words and the named items that a query starts from (navigator.start).

    Args:
        messages: a conversation whose last turn is the user's; content is a string or parts.

    Returns:
        the last turn's words, and the items of all turns of the user, oldest first. Items that were only found stay out: they
        were shown, not chosen.
    """
    said = [_parts(message) for message in messages if message["role"] == "user"]
    words = " ".join(part["text"].strip() for part in said[-1] if part["type"] == "text" and part["text"].strip())
    return words, [part["item"] for turn in said for part in turn if part["type"] == "item"]


def found_turn(items: Sequence[Any], titles: Sequence[str]) -> dict[str, Any]:
    """The assistant's turn that lists what was found: for every item a number, its tokens and its title."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": FOUND}]
    for number, (item, title) in enumerate(zip(items, titles, strict=True), 1):
        parts += [
            {"type": "text", "text": f"\n{number}. "},
            {"type": "item", "item": item},
            {"type": "text", "text": f" {title}"},
        ]
    return {"role": "assistant", "content": parts}


def _parts(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
