"""Turns that want nothing found: greetings, thanks, farewells, questions to the assistant about itself. English, closed lists.

A turn is small talk when each of its clauses is. A comment ("that is lovely") is, beside thanks or a greeting; alone it may
refine a wish ("that is too dark").
"""

import re

from navigator.assistant.english import ASKING, COURTESY, GREETING, THANKS, words_of

_BEGIN = r"^(?:(?:hello|hi|hey|ok|okay|well|so|and|but|by the way) )*"
_THANKS = re.compile(
    rf"{_BEGIN}(?:many |no )?(?:thank you|thanks|thx)(?: (?:so|very) much| a lot| again)?(?: for .*)?$|"
    r"\b(?:have|enjoy) (?:a|your) (?:\w+ )?(?:day|evening|night|weekend|one)$|\bthat(?:'s| is| was| will be) all\b"
)
_TO_YOU = re.compile(
    rf"{_BEGIN}(?:(?:who|where|why|how|are|were)\b(?: \w+){{0,3}} (?:you|your|yourself)\b|tell me about yourself$|"
    r"(?:what's|what is) your name$|what (?:else )?(?:are|can|do) you(?: do| know)?$|"
    r"(?:can|could) you (?:hear|help|speak|talk|understand)\b|how (?:does|do) (?:it|this|that) work$|"
    r"(?:what's|what is|how's|how is) the (?:time|weather)\b|what (?:time|day) is it\b|tell me a joke$)"
)
_COMMENT = re.compile(
    r"^(?:and |so |all )*(?:(?:that|this|it|they|these|those|you)(?:'s|'re| is| are| was| were)|i (?:like|love))\b"
)


def small_talk(said: str) -> str:
    """ "greeting" or "thanks" where a turn is nothing else; else nothing."""
    clauses = [words for part in re.split(r"[,.;:!?]+", said) if (words := words_of(part))]
    kinds = {kind for words in clauses if (kind := _kind(words))}
    rest = [words for words in clauses if not _kind(words)]
    if not all(_COMMENT.search(" ".join(words)) and not ASKING & set(words) for words in rest):
        return ""
    return next((kind for kind in ("thanks", "greeting") if kind in kinds), "")


def _kind(words: list[str]) -> str:
    """What a clause is: "thanks", "greeting", "courtesy" (either, by what stands beside it), or nothing."""
    clause, own = " ".join(words), set(words)
    if _THANKS.search(clause):
        return "thanks"
    if own <= COURTESY:
        return "thanks" if own & THANKS else "greeting" if own & GREETING else "courtesy"
    return "greeting" if _TO_YOU.search(clause) and not own & ASKING else ""
