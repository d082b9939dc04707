"""The gold set of conversations: its form, its pictures, what an answer names, and NDCG@10 against ir_measures."""

import base64
import io
import json
from collections import Counter
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from PIL import Image

from bench.assistant.client import Reply
from bench.assistant.gold import GOLD, Conversation, Drawing, Picture, read_gold
from bench.assistant.grounding import Titles
from bench.assistant.pictures import data_url
from bench.assistant.replay import Asked
from bench.assistant.score import Facts, judged, ndcg, violations
from navigator.contracts import UserError

TITLES = Titles(
    {
        "oca-1": "Apple (B and W)", "oca-2": "Apple", "oca-3": "Soviet shuttle", "oca-4": "flower", "oca-5": "flower",
        "oca-6": "R15 General - bottle", "oca-7": "",
    }
)  # fmt: skip


def conversation(**turn: object) -> Conversation:
    """One turn to ask, then a turn that is never asked here."""
    asked = {"role": "user", "content": "an apple", "expect": "items", "grades": {"oca-1": 2}} | turn
    last = {"role": "user", "content": "hi", "expect": "talk"}
    return Conversation.model_validate({"id": "c", "split": "dev", "stratum": "s", "turns": [asked, last]})


def asked(*items: str, seen: tuple[str, ...] = (), **turn: object) -> Asked:
    return Asked("assistant", conversation(**turn), 0, Reply(items=list(items)), seen, (), "an apple")


def test_the_set_is_what_its_card_says() -> None:
    gold = read_gold(GOLD)
    assert len(gold) == 60 and Counter(own.split for own in gold) == {"dev": 20, "test": 40}
    asked = [turn for own in gold for _, turn in own.asked()]
    assert Counter(turn.expect for turn in asked) == {"items": 101, "refuse": 15, "talk": 6}
    assert all(own.last is not None for own in gold)
    assert all(2 <= sum(turn.role == "user" for turn in own.turns) <= 4 for own in gold)
    strata = Counter((own.stratum, own.split) for own in gold)
    assert {stratum for stratum, _ in strata} == {s for s, split in strata if split == "dev"}


def test_every_graded_turn_was_judged_from_a_pool() -> None:
    turns = [turn for own in read_gold(GOLD) for _, turn in own.asked() if turn.expect == "items"]
    assert min(len(turn.grades) for turn in turns) >= 15
    assert np.median([len(turn.grades) for turn in turns]) >= 25


@pytest.mark.parametrize(
    ("turn", "says"),
    [
        ({"grades": {"oca-1": 1}}, "items are expected exactly where one is graded 2"),
        ({"expect": "refuse", "grades": {}}, "exactly where `why` is said"),
        ({"expect": None}, "expects something"), ({"never": ["oca-1"]}, "graded and forbidden"),
        ({"grades": {"oca-1": 3}}, "Input should be 0, 1 or 2"), ({"colour": "red"}, "Extra inputs"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, turn: dict[str, object], says: str) -> None:
    good = conversation().model_dump()
    bad = json.loads(json.dumps(good)) | {"id": "d"}
    bad["turns"][0] |= turn
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(bad))
    with pytest.raises(UserError, match="line 2") as error:
        read_gold(path)
    assert says in str(error.value)


def test_two_conversations_of_one_id_and_no_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text("\n".join([conversation().model_dump_json()] * 2))
    with pytest.raises(UserError, match="line 2: a second conversation 'c'"):
        read_gold(path)
    with pytest.raises(UserError, match="does not exist"):
        read_gold(tmp_path / "none.jsonl")


def decoded(url: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))) as opened:
        return np.asarray(opened.convert("RGB"))


def test_pictures_are_changed_in_order_and_drawn_the_same_every_time() -> None:
    buffer = io.BytesIO()
    two = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    two.putpixel((1, 0), (0, 0, 0, 0))  # transparent: white when shown
    two.save(buffer, "PNG")
    images = {"a": buffer.getvalue()}

    def shown(*steps: str) -> list:
        part = Picture.model_validate({"type": "picture", "item": "a", "transform": steps})
        return decoded(data_url(part, images)).tolist()

    assert shown("mirror") == [[[255, 255, 255], [255, 0, 0]]]
    assert shown("grey") == [[[76] * 3, [255] * 3]]
    assert shown("rotate90", "grey") == [[[255] * 3], [[76] * 3]]  # anticlockwise: the right end is on top
    shapes = [
        {"kind": "rectangle", "colour": "#00ff00", "points": [0, 0, 99, 99]},
        {"kind": "line", "colour": "#0000ff", "points": [0, 200, 255, 200], "width": 3},
    ]
    drawing = Drawing.model_validate({"type": "drawing", "shapes": shapes})
    pixels = decoded(data_url(drawing, {}))
    assert pixels.shape == (256, 256, 3) and pixels[50, 50].tolist() == [0, 255, 0]
    assert pixels[200, 128].tolist() == [0, 0, 255] and pixels[250, 250].tolist() == [255] * 3
    assert data_url(drawing, {}) == data_url(drawing, {})


@pytest.mark.parametrize(
    ("text", "allowed", "elsewhere", "invented"),
    [
        ('I found "Apple" for you.', ["apple"], [], []),
        ('I found "Soviet shuttle".', [], ["soviet shuttle"], []),
        ("I found **Golden Pear**.", [], [], ["golden pear"]),
        ("I found **Golden soviet shuttle**.", [], [], ["golden soviet shuttle"]),  # one name, not two
        ("You asked for “an apple”.", [], [], []),  # the user's own words
        ("A nice flower, see the picture.", [], [], []),  # a plain word, not the item of that title
        ("The soviet shuttle is nice.", [], ["soviet shuttle"], []),
        ("1. Apple (B and W): for colouring\n2. Apple", ["apple b and w", "apple"], [], []),
        ("- flower\n- tell me more", [], ["flower"], []),
        ("- Apple B and W", ["apple b and w"], [], []),  # the longest title, and no other
        ("See oca-2, and oca-3.", ["oca-2"], ["oca-3"], []),
        ("`R15 General - bottle` and [Apple](http://x)", ["apple"], ["r15 general bottle"], []),
        ("I found [1] Apple (B and W), [2] flower and [3] R15 General - bottle.",
         ["[1]", "[2]", "apple b and w"], ["flower", "r15 general bottle"], ["[3]"]),
        ("[2] fits, [0] does not.", ["[2]"], [], ["[0]"]),
        ("", [], [], []),
    ],
)  # fmt: skip
def test_names_are_read_from_the_text(text: str, allowed: list[str], elsewhere: list[str], invented: list[str]) -> None:
    named = TITLES.named(text, {"oca-1", "oca-2"}, "I want an apple", shown=2)
    assert (sorted(named.allowed), list(named.elsewhere), list(named.invented)) == (
        sorted(allowed),
        elsewhere,
        invented,
    )
    assert named.grounded == (not elsewhere and not invented)


def test_a_title_of_several_items_may_be_named_when_any_of_them_was_shown() -> None:
    assert TITLES.named('"flower"', {"oca-5"}, "").grounded and not TITLES.named('"flower"', {"oca-1"}, "").grounded


def test_what_the_user_said_in_running_text_names_nothing_but_set_off_it_does() -> None:
    said = "do you have a Soviet shuttle"
    assert TITLES.named("I have no soviet shuttle.", set(), said).grounded
    assert TITLES.named('Here is "Soviet shuttle".', set(), said, shown=1).elsewhere == ("soviet shuttle",)
    assert TITLES.named(
        "Nothing fits “Soviet shuttle”.", set(), said
    ).grounded  # nothing is shown: the user's own words
    assert TITLES.named("Nothing fits “shuttle Soviet”.", set(), said).grounded
    assert TITLES.named("Nothing fits “Soviet train”.", set(), said).invented == ("soviet train",)


def test_ndcg_is_that_of_ir_measures() -> None:
    rng = np.random.default_rng(3)
    items = [f"i{n}" for n in range(30)]
    for query in range(20):
        grades = {item: int(g) for item, g in zip(items[:20], rng.integers(0, 3, 20), strict=True)}
        ranked = list(rng.permutation(items)[: rng.integers(0, 15)])
        qrels = [ir_measures.Qrel("q", item, grade) for item, grade in grades.items()]
        run = [ir_measures.ScoredDoc("q", item, -float(place)) for place, item in enumerate(ranked)]
        theirs = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10] if run else 0.0
        assert ndcg(ranked, grades) == pytest.approx(theirs), query
    assert np.isnan(ndcg(["a"], {"a": 0}))


def test_what_was_seen_leaves_the_judgements_only_where_it_is_not_wanted_again() -> None:
    grades = {"oca-1": 2, "oca-2": 1}
    assert judged(asked(seen=("oca-1",), grades=grades)) == grades
    again = {"retrieval": {"exclude_seen": True}, "never": ["oca-4"]}
    assert judged(asked(seen=("oca-1",), grades=grades, **again)) == {"oca-2": 1, "oca-4": 0}


def test_items_against_the_request_are_counted_by_filter() -> None:
    facts = Facts({"oca-1": ["fruit"], "oca-2": []}, {"b": frozenset(["oca-2"])}, TITLES)
    own = asked("oca-1", "oca-2", "oca-3", seen=("oca-3",), retrieval={"exclude_seen": True, "keyword": "fruit"})
    assert violations(own, facts) == {"seen": 1, "keyword": 2, "board": 0, "never": 0}
    own = asked("oca-2", "oca-2", "oca-3", seen=("oca-3",), retrieval={"board": "b"}, never=["oca-2"])
    assert violations(own, facts) == {"seen": 0, "keyword": 0, "board": 1, "never": 2}
