"""An answer names nothing but what was retrieved; what has passed the check is shown, and nothing before it has."""

import numpy as np
import pytest

from navigator.assistant.answering import Gate, answer
from navigator.assistant.assistant import Plan
from navigator.assistant.grounding import Found, Titles, degenerate, named, plain, sentences, strays
from navigator.assistant.requests import Prompt
from navigator.assistant.wish import Wish

TITLES = Titles(["Red Car", "Old Red Car", "Blue Boat", "violin", "The One", "1 2", "", "Map of Finland"])
FOUND = Found(("i1", "i2"), ("Red Car", "violin"), "a car for Anna")


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        ("Both [1] and [2] fit.", []),
        ("The Red Car [1] is the best.", []),
        ("[1] Red Car and [2] violin fit.", []),
        ("You could take [3].", ["[3]"]),
        ("Number 1 or number 0.", ["[0]"]),
        ("A blue boat would fit.", ["blue boat"]),
        ("The old red car would fit.", ["old red car"]),
        ("I like the red car.", []),
        ("There is “Red Car” too.", []),
        ('There is "violins" too.', ["violins"]),
        ("[1] Green Tractor is nice.", ["Green Tractor is nice", "Tractor"]),
        ("[1] fits, as [2] does.", []),
        ("It fits Anna well.", []),
        ("It fits Bertha well.", ["Bertha"]),
        ("It was made in 1912.", ["1912"]),
        ("This is the one.", []),
    ],
)
def test_a_sentence_names_only_what_was_found_or_what_the_user_wrote(sentence, wrong):
    assert sorted(set(strays(sentence, FOUND, TITLES))) == sorted(wrong)


def test_a_title_with_a_comma_of_its_own_is_its_title():
    cats = Found(("i1",), ("Cani e gatti, Cat and dog",))
    assert strays("[1] Cani e gatti, Cat and dog.", cats, Titles(cats.titles)) == []


def test_titles_are_found_in_a_row_the_longest_first():
    assert TITLES.named("An old red car, or a RED car? A map of Finland!") == [
        ("old", "red", "car"), ("red", "car"), ("map", "of", "finland"),
    ]  # fmt: skip


def test_items_are_named_by_number_or_title():
    assert named("Take [2].", FOUND) == ["i2"]
    assert named("A violin, and the red car.", FOUND) == ["i1", "i2"]
    assert named("Nothing.", FOUND) == []


def test_sentences_end_at_points_and_lines_and_lists_are_numbered_as_items():
    assert sentences("One. Two!\nThree") == ["One.", "Two!", "Three"]
    assert plain("Look:\n1. Red Car\n 2) violin\nin 3. place") == "Look: [1] Red Car, [2] violin\nin 3. place"


def test_who_says_the_same_again_and_again_says_nothing():
    assert degenerate("")
    assert degenerate("a car a car a car a car a car")
    assert not degenerate("a car and a boat and a house and a tree")


class Letters:
    """A tokenizer whose tokens are the characters."""

    def decode(self, tokens, skip_special_tokens=False):
        return "".join(chr(token) for token in tokens)


def plan(found: Found = FOUND, prompt: bool = True, reply: str = "I found [1] Red Car and [2] violin.") -> Plan:
    asked = Prompt([1], np.zeros((0, 6), np.float32)) if prompt else None
    return Plan(found, [0.5] * len(found.items), True, False, Wish(), asked, reply, 0, 7)


def told(text: str, finish: str = "stop", of: Plan | None = None):
    return answer(of or plan(), [ord(letter) for letter in text], finish, TITLES, Letters())


def test_sentences_that_name_others_are_removed_and_counted():
    done = told("[1] is a car. A blue boat is there. [9] too. The violin sounds well.")
    assert done.text == "[1] is a car. The violin sounds well."
    assert (done.removed, done.templated, done.grounded, done.named) == (2, False, True, ["i1", "i2"])
    assert (done.completion_tokens, done.prompt_tokens, done.scores) == (68, 7, [0.5, 0.5])


def test_where_nothing_named_is_left_a_plain_sentence_names_the_finds():
    done = told("A blue boat is there.")
    assert (done.text, done.removed, done.templated) == ("I found [1] Red Car and [2] violin.", 1, True)
    polite = told("Here you are.")
    assert polite.text == "Here you are. I found [1] Red Car and [2] violin."
    assert (polite.removed, polite.templated, polite.grounded) == (0, True, True)


def test_what_was_cut_off_is_not_said():
    assert told("[1] fits. [2] is a vio", "length").text == "[1] fits."
    assert told("[1] fits. [1] fits. [1] fits.").text == "[1] fits."


def test_without_a_prompt_the_reply_is_said_as_it_is():
    done = told("", of=plan(Found((), ()), prompt=False, reply="Nothing fits “zebra”."))
    assert (done.text, done.templated, done.grounded, done.removed) == ("Nothing fits “zebra”.", False, True, 0)


def test_where_nothing_was_retrieved_the_model_may_speak_but_name_nothing():
    empty = plan(Found((), (), "hello"), reply="Hello.")
    assert told("Hello, how can I help?", of=empty).text == "Hello, how can I help?"
    assert told("Take the blue boat.", of=empty).text == "Hello."


def test_a_stream_shows_a_sentence_when_the_next_begins_and_in_all_what_the_answer_says():
    text = "[1] fits. A blue boat is there. The violin sounds well. [7] is no"
    gate, shown = Gate(plan(), TITLES, Letters()), []
    for letter in text:
        shown.append(gate.push(ord(letter)))
    assert "".join(shown) == "[1] fits. The violin sounds well."
    assert "".join(shown[: text.index("A blue")]) == ""  # the first sentence may still go on
    rest, done = gate.close("length")
    assert "".join(shown) + rest == done.text
    assert "boat" not in "".join(shown)


def test_a_stream_that_names_nothing_ends_with_the_plain_sentence():
    gate = Gate(plan(), TITLES, Letters())
    shown = "".join(gate.push(ord(letter)) for letter in "Here you are. Well.")
    rest, done = gate.close()
    assert shown + rest == done.text == "Here you are. Well. I found [1] Red Car and [2] violin."
