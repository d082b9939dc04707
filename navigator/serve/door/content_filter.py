"""A place to stop texts that a shop does not want to answer or to say: any function from a text to a reason.

The default is a list of words and phrases. It stops the plain cases, in the languages it is written in, and nothing
subtle; who needs more passes a function of their own, such as a classifier. A text is compared in whole words, without
case, accents, invisible characters and typographic variants, so `Scunthorpe` is not stopped and `P\u00d6RN` is.
"""

import re
import unicodedata
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from navigator.contracts import UserError
from navigator.refusal import Refusal

ContentFilter = Callable[[str], str | None]
WORD = re.compile(r"[^\W_]+")
HEADING = re.compile(r"\[(.+)\]")


def load_filter(path: Path | None = None) -> ContentFilter:
    """The filter of a block list: a function that gives the reason why a text is stopped, None if it is not.

    Args:
        path: UTF-8 text of one word or phrase a line; `[a reason]` heads the lines below it, # begins a comment. None is
            the list that comes with Navigator; an empty file stops nothing.

    Raises:
        UserError: the file cannot be read, or a line in it has no word or no reason above it.
    """
    try:
        text = (
            path.read_text("utf-8")
            if path
            else (resources.files("navigator.serve.door") / "blocked.txt").read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"block list {path} cannot be read ({type(error).__name__}); give a UTF-8 text file") from error
    reasons = _reasons(text, str(path or "blocked.txt"))
    lengths = sorted({len(phrase) for phrase in reasons})

    def reason_of(text: str) -> str | None:
        said = words(text)
        for length in lengths:
            for at in range(len(said) - length + 1):
                if (found := reasons.get(said[at : at + length])) is not None:
                    return found
        return None

    return reason_of


def words(text: str) -> tuple[str, ...]:
    """The words of a text as they are compared: compatibility form, no accents, no invisible characters, no case."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = (
        letter for letter in unicodedata.normalize("NFKD", plain) if unicodedata.category(letter) not in ("Mn", "Cf")
    )
    return tuple(WORD.findall("".join(kept)))


def refuse_blocked(text: str, where: str, content_filter: ContentFilter) -> None:
    """Refuse a text that the filter stops.

    Args:
        text: of a query or of an answer.
        where: the field that it stands in.
        content_filter: see load_filter.

    Raises:
        Refusal: 400 `content_blocked`; it names the reason and does not repeat the words.
    """
    reason = content_filter(text)
    if reason is not None:
        raise Refusal(400, "content_blocked", f"this shop does not answer that ({reason})", where)


def _reasons(text: str, source: str) -> dict[tuple[str, ...], str]:
    reasons: dict[tuple[str, ...], str] = {}
    heading = ""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        if head := HEADING.fullmatch(line):
            heading = head[1].strip()
        elif not (phrase := words(line)) or not heading:
            wrong = "has no word in it" if heading else "has no [reason] above it"
            raise UserError(f"{source}, line {number} {wrong}; see navigator/serve/door/blocked.txt for an example")
        else:
            reasons[phrase] = heading
    return reasons
