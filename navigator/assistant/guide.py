"""What may be written behind an opening bracket: the number and the title of a find that was not named yet, nothing else.

A small model that begins a list goes on with names of its own. So the titles are written for it: it decides when to name
and which to name first, not what that is called. Once all are named the sentence ends. The check (grounding.py) comes after.
"""

from collections.abc import Sequence
from typing import Any

from navigator.assistant.grounding import Found

BEGIN = "These fit: ["


class Guide:
    """Called with the tokens said so far; returns the tokens that may follow, or None for any.

    Args:
        found: what was retrieved.
        tokenizer: of the model.
        opening: tokens whose text ends with a bracket, see `opening_tokens`.
        begin: words that the answer begins with, for a model that was not trained to answer in brackets.
    """

    def __init__(self, found: Found, tokenizer: Any, opening: frozenset[int], begin: str = ""):
        names = [f"{n}] {title}".strip() for n, title in enumerate(found.titles, 1)]
        self._names = [tuple(tokenizer.encode(name, add_special_tokens=False)) for name in names]
        self._end = [*tokenizer.encode(".", add_special_tokens=False)[-1:], tokenizer.eos_token_id]
        self._opening, self._begin = opening, tokenizer.encode(begin, add_special_tokens=False) if begin else []

    def __call__(self, said: Sequence[int]) -> list[int] | None:
        if len(said) < len(self._begin):
            return [self._begin[len(said)]]
        left, n = list(self._names), 0
        while n < len(said):
            if said[n] not in self._opening or not left:
                n += 1
                continue
            behind = tuple(said[n + 1 : n + 1 + max(map(len, left))])
            done = next((name for name in left if behind[: len(name)] == name), None)
            if done is None:
                return sorted({name[len(behind)] for name in left if name[: len(behind)] == behind})
            left.remove(done)
            n += 1 + len(done)
            if not left:
                return [self._end[min(len(said) - n, 1)]]
        return None


def opening_tokens(tokenizer: Any) -> frozenset[int]:
    """Tokens whose text ends with an opening bracket."""
    return frozenset(n for token, n in tokenizer.get_vocab().items() if token.endswith("["))
