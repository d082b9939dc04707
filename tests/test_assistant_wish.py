"""What a person wants by the end of a conversation, turn by turn."""

import pytest

from navigator.assistant.conversation import ItemPart, Turn
from navigator.assistant.english import naming, stem, subjects
from navigator.assistant.small_talk import small_talk
from navigator.assistant.wish import Reader, Wish


def first_with(words: str, items) -> str:
    """Stands for the encoder: the item whose id has the word."""
    return next(item for item in items if words.split()[-1] in item)


def said(*turns: str | Turn, shown: tuple[str, ...] = ()) -> Wish:
    """The wish after these turns; `shown` was shown after each but the last."""
    reader, wish = Reader(first_with), Wish()
    for turn in turns:
        wish = reader.read(turn if isinstance(turn, Turn) else Turn("user", (turn,)))
        reader.shown = list(shown)
    return wish


@pytest.mark.parametrize(
    ("turns", "words", "ruled_out"),
    [
        (("Show me a red car, please.",), "red car", ""),
        (("a red car", "in blue"), "blue car", ""),
        (("a red car", "maybe with a roof"), "roof red car", ""),
        (("a red car", "only ones with doors"), "doors red car", ""),
        (("a red car", "bigger!"), "bigger red car", ""),
        (("a red car", "anything cheaper?"), "red car", ""),
        (("a red car", "now find a dog"), "dog", ""),
        (("a red car", "a dog"), "dog", ""),
        (("a red car", "what about dogs?"), "dogs", ""),
        (("a red car", "forget that, I need dogs instead"), "dogs", ""),
        (("flags of Africa", "without Kenya"), "flags africa", "kenya"),
        (("flags of Africa", "without Kenya", "and no Ghana either"), "flags africa", "kenya ghana"),
        (("flags of Africa without Kenya", "with Kenya please"), "kenya flags africa", ""),
        (("a cat, not a black one",), "cat", "black"),
        (("cat and dog", "no dogs"), "cat", "dogs"),
        (("a skull", "for the other table, mushrooms"), "table mushrooms", ""),
        (("a skull", "for a pirate party"), "pirate party skull", ""),
    ],
)
def test_a_turn_refines_the_wish_or_begins_another(turns, words, ruled_out):
    wish = said(*turns, shown=("a", "b"))
    assert (wish.text, " ".join(wish.ruled_out)) == (words, ruled_out)
    assert not wish.items


@pytest.mark.parametrize(
    ("turn", "items"),
    [
        ("more like the second one", "blue-car"),
        ("something like [3]", "old-car"),
        ("number 1 in green", "red-car"),
        ("the last one but bigger", "old-car"),
        ("similar to the blue one", "blue-car"),
        ("more like this", "red-car"),
        ("like those, but in green", "red-car blue-car old-car"),
        ("the ninth one", ""),
    ],
)
def test_items_that_were_shown_are_pointed_at(turn, items):
    wish = said("cars", turn, shown=("red-car", "blue-car", "old-car"))
    assert " ".join(wish.items) == items
    assert ("green" in wish.words) == ("green" in turn)


def test_nothing_can_be_pointed_at_before_anything_was_shown():
    assert said("more like the second one").items == ()


def test_an_item_of_the_turn_is_what_the_wish_goes_by_and_colours_refine_it():
    wish = said(Turn("user", ("like this", ItemPart("x"))), "in red", shown=("a",))
    assert (wish.items, wish.words) == (("x",), ("red",))


def test_pictures_stay_while_they_are_refined_and_go_with_the_topic():
    shown = Turn("user", ("like this", b"picture"))
    assert said(shown, "in red").pictures == (b"picture",)
    assert said(shown, "show me a dog").pictures == ()


def test_a_question_about_an_item_seeks_nothing():
    wish = said("cars", "what is the second one?", shown=("a", "b"))
    assert (wish.about, wish.items) == (True, ("b",))
    assert said("cars", "what is this?", shown=("a", "b")).items == ("a",)
    assert not said("cars", "what is the second one?", "in red", shown=("a", "b")).about


def test_thanks_and_greetings_leave_the_wish_as_it_was():
    wish = said("a red car", "thank you very much!", shown=("a",))
    assert (wish.small_talk, wish.text) == ("thanks", "red car")
    assert said("a red car", "thanks", "in blue", shown=("a",)).text == "blue car"
    assert [small_talk(words) for words in ("Hello!", "thanks, bye", "hello kitty", "")] == [
        "greeting",
        "thanks",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("How are you?", "greeting"),
        ("Hi! What can you do?", "greeting"),
        ("who made you", "greeting"),
        ("Where do your pictures come from?", "greeting"),
        ("what is the weather like", "greeting"),
        ("Thanks, that's all.", "thanks"),
        ("Great, those are exactly right. Have a nice day!", "thanks"),
        ("Thank you, I love the little boats.", "thanks"),
        ("Thanks! Now a dog.", ""),
        ("Thanks, do you have a dog?", ""),
        ("Hello, I need a boat", ""),
        ("That is too dark.", ""),
        ("Can you draw me a dog?", ""),
        ("What would you put on a birthday card?", ""),
        ("How many dogs do you have?", ""),
        ("a picture of the weather", ""),
        ("a thank you card", ""),
        ("thank you cards", ""),
        ("a card that says how much I love you", ""),
    ],
)
def test_small_talk_is_what_wants_nothing_found_in_any_clause(said, kind):
    assert small_talk(said.casefold()) == kind


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("A skull for a pirate party.", "skull"),
        ("And for the other table, mushrooms.", "mushrooms"),
        ("I am looking for a dog with a bone", "dog"),
        ("the logo of the company", "logo company"),
        ("My board is called music lessons. I need notes and clefs.", "notes clefs"),
        ("Things that a baby drinks from", ""),
        ("Half behind a cloud", "half"),
        ("that zebra", "zebra"),
    ],
)
def test_what_is_wanted_is_told_from_what_it_is_for_and_what_goes_with_it(said, names):
    assert " ".join(naming(said)) == names


def test_names_are_kept_while_a_wish_is_refined_and_go_when_ruled_out():
    assert said("a skull for a party", "with bones").named == ["skull"]
    assert said("a skull", "one hat as well").named[:1] == ["hat"]
    assert said("a skull and a hat", "without a hat").named == ["skull"]
    assert said("a red skull for a party").named == ["skull"]


def test_what_comes_nearest_and_what_else_there_is_keep_the_words():
    assert said("a zebra", "show me the closest anyway").nearest
    more = said("a zebra", "show me more", shown=("a",))
    assert (more.text, more.further, more.nearest) == ("zebra", True, False)
    assert not said("a zebra", "show me more", "in red", shown=("a",)).further


def test_words_that_only_ask_are_no_head():
    assert said("show me a red one").heads == []
    assert said("show me some icons").text  # all words count where no other is left
    assert said("show me some icons").heads == []


def test_plural_endings_fall_and_words_of_other_languages_count():
    assert [stem(word) for word in ("cars", "boxes", "berries", "glass", "bus", "gas")] == [
        "car", "box", "berry", "glass", "bus", "gas",
    ]  # fmt: skip
    assert subjects("zeige mir ein Auto") == ["zeige", "mir", "ein", "auto"]
    assert subjects("犬 の 絵") == ["犬", "の", "絵"]
