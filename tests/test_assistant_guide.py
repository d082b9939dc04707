"""Behind an opening bracket only finds that were not named yet can be written; the rest is free."""

import pytest

from navigator.assistant.grounding import Found
from navigator.assistant.guide import Guide, opening_tokens


class Letters:
    """A tokenizer whose tokens are the characters."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=False):
        return [ord(letter) for letter in text]

    def get_vocab(self):
        return {"[": ord("["), " [": 1, "a": ord("a")}


def may_follow(said: str) -> str | None:
    guide = Guide(Found(("x", "y"), ("Red car", "violin")), Letters(), opening_tokens(Letters()))
    allowed = guide([ord(letter) for letter in said])
    return None if allowed is None else "".join(chr(token) for token in allowed)


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("", None), ("These fit: ", None), ("These fit: [", "12"), ("[2", "]"), ("[2] viol", "i"), ("[2] violin", None),
        ("[2] violin and [", "1"), ("[2] violin and [1] Red car", "."), ("[2] violin and [1] Red car.", "\0"),
    ],
)  # fmt: skip
def test_only_finds_can_be_named_each_once_and_then_the_sentence_ends(said, allowed):
    assert may_follow(said) == allowed


def test_tokens_that_end_with_a_bracket_open_a_name():
    assert opening_tokens(Letters()) == {ord("["), 1}


def test_the_first_words_are_given_where_the_model_was_not_trained_to_answer_so():
    guide = Guide(Found(("x",), ("Red car",)), Letters(), opening_tokens(Letters()), "Hi: [")
    said: list[int] = []
    while (allowed := guide(said)) != [Letters.eos_token_id]:
        said += allowed or []
    assert "".join(chr(token) for token in said) == "Hi: [1] Red car."
