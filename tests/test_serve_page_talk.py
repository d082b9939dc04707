"""The page in a real browser, continued: the chat as it streams, what is counted, and every way a server can say no."""

import time
from typing import Any

from page_visits import DROP, Visit, visiting
from page_worlds import HOSTILE, World


def texts(visit: Visit) -> list[str]:
    return [turn.split("\n")[0] for turn in visit.page.locator(".turn").all_inner_texts()]


def test_an_answer_is_shown_while_it_is_written_and_its_items_below(chromium: Any) -> None:
    with visiting(chromium, World(pause_s=0.15)) as visit:
        visit.open("chat=")
        visit.page.get_by_role("textbox", name="Your message").and_(visit.page.locator(":focus")).wait_for()
        visit.page.keyboard.type("two")
        visit.page.keyboard.press("Shift+Enter")
        visit.page.keyboard.type("lines")
        visit.page.keyboard.press("Enter")
        visit.page.get_by_text("I found two things").wait_for()
        assert (
            visit.page.get_by_role("button", name="Stop").is_visible()
            and visit.cards("Found in the catalogue").count() == 0
        )
        visit.cards("Found in the catalogue").first.wait_for()
        assert texts(visit)[1] == "I found two things like that: " + HOSTILE
        assert "release v1" in visit.page.locator(".turn").last.inner_text()
        visit.page.keyboard.type("and then?")
        visit.page.keyboard.press("Enter")
        visit.cards("Found in the catalogue").nth(3).wait_for()
        asked = visit.world.bodies("/v1/chat/completions")[1]
        assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant", "user"]
        said, *items = asked["messages"][1]["content"]
        assert said["text"].endswith(HOSTILE) and [part["item"] for part in items] == ["i3", "i4"]
        assert (
            asked["messages"][0]["content"] == "two\nlines"
            and asked["stream"] is True
            and asked["model"] == "navigator"
        )
        assert visit.cancelled == []


def test_escape_stops_an_answer_and_the_next_question_works(chromium: Any) -> None:
    with visiting(chromium, World(pause_s=0.5)) as visit:
        visit.open("chat=")
        visit.page.get_by_role("textbox", name="Your message").and_(visit.page.locator(":focus")).wait_for()
        visit.page.keyboard.type("a")
        visit.page.keyboard.press("Enter")
        visit.page.get_by_text("I found").wait_for()
        visit.page.keyboard.press("Escape")
        visit.page.get_by_text("Stopped.").wait_for()
        visit.until(lambda: visit.cancelled)  # the browser tells of it a moment later
        assert len(visit.cancelled) == 1
        visit.world.pause_s = 0
        visit.page.keyboard.type("b")
        visit.page.keyboard.press("Enter")
        visit.cards("Found in the catalogue").first.wait_for()
        assert visit.world.bodies("/v1/chat/completions")[1]["messages"][1]["content"].startswith("I found")


def test_a_refused_question_is_told_calmly_and_does_not_spoil_the_next(visit: Visit) -> None:
    visit.expected = ["400"]
    visit.open("chat=")
    for question in ("poison", "flowers"):
        visit.page.get_by_role("textbox", name="Your message").fill(question)
        visit.page.keyboard.press("Enter")
        visit.page.get_by_role("button", name="Send").wait_for()
    visit.cards("Found in the catalogue").first.wait_for()
    assert visit.page.get_by_role("alert").inner_text() == "This shop does not answer that."
    assert visit.world.bodies("/v1/chat/completions")[1]["messages"] == [{"role": "user", "content": "flowers"}]


def test_a_picture_and_an_item_go_along_with_a_question(visit: Visit) -> None:
    visit.open("search=a")
    visit.page.get_by_role("button", name="Ask about Gold thing in the chat").click()
    visit.page.get_by_role("textbox", name="Your message").wait_for()
    visit.page.evaluate(DROP, ["drop", "image/png", ""])
    visit.page.get_by_alt_text("Your picture").wait_for()
    visit.page.get_by_role("textbox", name="Your message").fill("like these")
    visit.page.get_by_role("button", name="Send").click()
    visit.cards("Found in the catalogue").first.wait_for()
    [asked] = visit.world.bodies("/v1/chat/completions")
    words, item, picture = asked["messages"][0]["content"]
    assert words == {"type": "text", "text": "like these"} and item == {"type": "item", "item": "i2"}
    assert picture["type"] == "image_url" and picture["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_what_was_seen_opened_and_saved_is_counted_once_by_the_release_that_showed_it(visit: Visit) -> None:
    events = visit.world.events
    visit.open("search=a")
    visit.cards("Pictures for a").first.wait_for()
    visit.page.wait_for_timeout(1300)  # half of a card for a second is an impression
    visit.page.get_by_role("button", name="Save Gold thing to a board").click()
    visit.page.get_by_label("Title of a new board").fill("Shiny")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("link", name="Similar to Teal thing").click()
    visit.page.get_by_role("heading", name="Teal thing").wait_for()
    visit.page.go_back()
    visit.cards("Pictures for a").first.wait_for()
    visit.page.wait_for_timeout(1300)  # long enough to be seen a second time
    visit.page.get_by_role("link", name="Similar to Navy thing").click()
    visit.page.get_by_role("heading", name="Navy thing").wait_for()
    visit.page.goto("about:blank")  # leaving sends what waits
    visit.until(lambda: any(e.get("item_id") == "i5" and e["kind"] == "click" for e in events))
    kinds = [e["kind"] for e in events]
    assert {kind: kinds.count(kind) for kind in kinds} == {"impression": 12, "board_created": 1, "save": 1, "click": 2}
    assert len({e["event_id"] for e in events}) == 16 and len({e["user_id"] for e in events}) == 1
    assert {e["system"] for e in events} == {"v1"} and visit.world.batches <= 4
    saved = next(e for e in events if e["kind"] == "save")
    assert saved["item_id"] == "i2" and saved["board_id"].startswith("own-") and abs(saved["at"] - time.time()) < 30


def test_events_that_the_server_could_not_take_come_again_under_the_same_id(chromium: Any) -> None:
    with visiting(chromium, World(full=1)) as visit:
        visit.expected = ["503"]
        visit.open("search=a")
        visit.page.get_by_role("link", name="Similar to Teal thing").click()
        visit.until(lambda: visit.world.events)
        [refused] = visit.world.turned
        assert refused["events"][0]["kind"] == "click" and refused["events"][0] == visit.world.events[0]


def test_events_on_their_way_when_the_page_is_left_count_once(chromium: Any) -> None:
    with visiting(chromium, World(slow_s=2)) as visit:
        visit.open("search=a")
        visit.page.get_by_role("link", name="Similar to Teal thing").click()
        visit.until(lambda: visit.world.events)
        visit.page.goto("about:blank")  # the answer is still on its way: the browser gives it up, the page sends again
        visit.page.wait_for_timeout(500)
        assert [event["item_id"] for event in visit.world.events if event["kind"] == "click"] == ["i4"]


def test_a_server_that_keeps_no_events_is_sent_none(chromium: Any) -> None:
    with visiting(chromium, World(keeps=False)) as visit:
        visit.open("search=a")
        visit.page.get_by_role("link", name="Similar to Teal thing").click()
        visit.page.get_by_title("This server keeps no counts").wait_for()
        assert visit.world.events == []


def test_nothing_is_counted_once_the_switch_is_off(visit: Visit) -> None:
    visit.open("search=a")
    visit.cards("Pictures for a").first.wait_for()
    visit.page.get_by_role("checkbox", name="Count what I see", checked=True).uncheck()
    visit.page.get_by_role("link", name="Similar to Teal thing").click()
    visit.page.get_by_role("heading", name="Teal thing").wait_for()
    visit.page.wait_for_timeout(1200)
    visit.page.goto("about:blank")
    visit.page.wait_for_timeout(200)
    assert visit.world.events == []
    visit.open()
    assert visit.page.evaluate("localStorage.getItem('navigator.user')") is None
    assert not visit.page.get_by_label("Count what I see").is_checked()


def test_a_busy_server_is_asked_again_when_it_said_and_not_before(chromium: Any) -> None:
    with visiting(chromium, World(busy=1)) as visit:
        visit.expected = ["429"]
        visit.open("search=a")
        visit.page.get_by_role("button", name="Try again in 1 s").wait_for()
        assert "as much to do as it can take" in visit.page.get_by_role("alert").inner_text()
        visit.page.get_by_role("button", name="Try again", exact=True).click()
        visit.cards("Pictures for a").first.wait_for()


def test_a_key_is_asked_for_once_and_pictures_come_with_it(chromium: Any) -> None:
    with visiting(chromium, World(key="nav_secret")) as visit:
        visit.expected = ["401"]
        visit.open("search=a")
        visit.page.get_by_label("API key", exact=True).fill("wrong")
        visit.page.keyboard.press("Enter")
        visit.page.get_by_text("That key was refused").wait_for()
        visit.page.get_by_label("API key", exact=True).fill("nav_secret")
        visit.page.keyboard.press("Enter")
        visit.cards("Pictures for a").first.wait_for()
        painted = (
            "() => [...document.querySelectorAll('.card img')].some((i) => i.src.startsWith('blob:') && i.naturalWidth)"
        )
        visit.until(lambda: visit.page.evaluate(painted))
        assert visit.page.evaluate("JSON.stringify(localStorage)").count("nav_secret") == 0
        visit.page.get_by_role("button", name="Forget the API key").click()
        assert visit.page.evaluate("sessionStorage.getItem('navigator.key')") is None


def test_who_is_offline_is_told_so_and_goes_on_afterwards(visit: Visit) -> None:
    visit.expected = ["ERR_INTERNET_DISCONNECTED"]
    visit.open()
    visit.page.get_by_role("link", name="Warm").wait_for()
    visit.page.context.set_offline(True)
    visit.page.get_by_label("Search in words").fill("a")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("You are offline.").wait_for()
    visit.page.context.set_offline(False)
    visit.page.get_by_role("button", name="Try again").click()
    visit.cards("Pictures for a").first.wait_for()
