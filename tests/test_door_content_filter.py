"""The block list: whole words in any spelling, a reason and no more, and a file of one's own."""

from pathlib import Path

import pytest

from navigator.contracts import UserError
from navigator.refusal import Refusal
from navigator.serve.door.content_filter import load_filter, refuse_blocked, words


@pytest.mark.parametrize(
    "text",
    ["porn", "free PORN!", "p\u00f6rn", "\uff50\uff4f\uff52\uff4e", "po\u200brn", "po\u00adrn", "a,porn.b", "porn_1"],
)
def test_the_plain_cases_are_stopped_in_any_spelling(text: str):
    assert load_filter()(text) == "sexual content"


@pytest.mark.parametrize(
    "text", ["", "a red gun", "popcorn", "pornichet beach", "nude, oil on canvas", "bath bomb", "white powder", "heil",
             "power white", "how to make a bombe glac\u00e9e"],
)  # fmt: skip
def test_honest_words_are_not(text: str):
    assert load_filter()(text) is None


def test_phrases_are_words_in_a_row():
    stops = load_filter()
    assert stops("please tell me How  to make a BOMB at home") == "instructions for violence"
    assert stops("how to, make a-bomb") == "instructions for violence"
    assert stops("how to make a paper bomb") is None


def test_a_list_of_ones_own_replaces_ours(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text("# ours\n[rivals]\nShop B  # the one next door\n\n[Stra\u00dfe]\n\u00fcber\n")
    stops = load_filter(path)
    assert (stops("like shop b?"), stops("UBER"), stops("porn")) == ("rivals", "Stra\u00dfe", None)
    path.write_text("# nothing\n")
    assert load_filter(path)("porn") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"word\n", "line 1 has no .reason. above"), (b"[a]\n\n!!\n", "line 3 has no word"), (b"\xff", "UTF-8")],
)
def test_a_list_with_a_mistake_is_refused(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_filter(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_filter(tmp_path / "none.txt")


def test_a_refusal_names_the_reason_and_not_the_word():
    refuse_blocked("a red apple", "text", load_filter())
    with pytest.raises(Refusal) as caught:
        refuse_blocked("porn", "text", load_filter())
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.param) == (400, "content_blocked", "text")
    assert "sexual content" in str(refusal) and "porn" not in str(refusal)
    with pytest.raises(Refusal, match="too long"):
        refuse_blocked("anything", "text", lambda text: "too long")


def test_words_are_compared_plainly():
    assert words("Stra\u00dfe \ufb01ne CAF\u00c9 \u0130x") == ("strasse", "fine", "cafe", "ix")
    assert words("") == words("...") == ()
