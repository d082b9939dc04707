"""The page in a real browser, against a small server that keeps the contract: search, boards, comparison, keyboard, phone.

No visit may leave an error or warning on the console, a failed request, a request to another place or a dialog behind.
"""

import re
from typing import Any

from page_visits import DROP, SIDES, Visit, visiting
from page_worlds import BOARDS, HOSTILE, TITLES, World, drawn


def test_a_search_by_keyboard_alone_to_an_item_and_back(visit: Visit) -> None:
    visit.open()
    press = visit.page.keyboard.press
    visit.page.get_by_role("link", name="Warm").wait_for()
    press("Tab")
    assert visit.focused() == "Skip to the content"
    press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "main"
    press("/")
    visit.page.keyboard.type("round & <b>red</b>")
    press("Enter")
    visit.cards("Pictures for round & <b>red</b>").first.wait_for()
    assert visit.world.bodies("/v1/search") == [{"text": "round & <b>red</b>", "k": 24}]
    visit.page.get_by_role("heading", name="Search").and_(visit.page.locator(":focus")).wait_for()
    for _ in range(4):
        press("Tab")
    assert visit.focused() == "Crimson thing"
    press("ArrowRight")
    press("ArrowDown")
    across = visit.page.evaluate(
        "getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length"
    )
    assert visit.focused() == list(TITLES.values())[1 + across]
    press("End")
    press("Tab")
    assert visit.focused() == "Similar to Skyblue thing"
    press("Enter")
    visit.page.get_by_role("heading", name="Skyblue thing").wait_for()
    visit.cards("More like this").first.wait_for()
    assert visit.world.bodies("/v1/search")[1:] == [{"item": "i11", "k": 24}]
    visit.page.go_back()
    visit.cards("Pictures for round & <b>red</b>").first.wait_for()
    assert visit.page.get_by_label("Search in words").input_value() == "round & <b>red</b>"
    assert len(visit.world.bodies("/v1/search")) == 2, "going back asks nothing again"


def test_a_dropped_pasted_or_chosen_picture_is_made_small_and_searched_by(visit: Visit) -> None:
    visit.open()
    visit.page.get_by_role("link", name="Warm").wait_for()
    visit.page.evaluate(DROP, ["drop", "image/png", ""])
    visit.cards("Pictures like yours").first.wait_for()
    [asked] = visit.world.bodies("/v1/search")
    assert asked["image"].startswith("data:image/jpeg;base64,") and len(asked["image"]) < 20_000
    assert visit.page.evaluate(SIDES, asked["image"]) == [512, 128]
    visit.page.evaluate(DROP, ["paste", "image/png", ""])
    visit.until(lambda: len(visit.world.bodies("/v1/search")) == 2)
    with visit.page.expect_file_chooser() as chosen:
        visit.page.get_by_role("button", name="Picture").click()
    chosen.value.set_files({"name": "a.webp", "mimeType": "image/webp", "buffer": drawn("i0", 300)})
    visit.until(lambda: len(visit.world.bodies("/v1/search")) == 3)
    assert visit.page.evaluate(SIDES, visit.world.bodies("/v1/search")[2]["image"]) == [300, 300]
    visit.page.reload()
    visit.page.get_by_alt_text("Your picture").wait_for()
    visit.cards("Pictures like yours").first.wait_for()
    visit.page.evaluate(DROP, ["drop", "image/png2", "no picture"])
    visit.page.get_by_text("not a picture which this browser can read").first.wait_for()


def test_titles_are_text_and_nothing_of_them_runs(visit: Visit) -> None:
    for address in ("search=a", "item=i3", "board=ann%2Fwarm"):
        visit.open(address)
        visit.page.get_by_text(HOSTILE).first.wait_for()
    assert visit.page.locator("img[src=x]").count() == 0
    assert (
        len({*visit.page.locator(".card img").evaluate_all("all => all.map((i) => i.width && i.height ? 1 : 0)")}) == 1
    )


def test_a_board_of_the_catalogue_becomes_ones_own_and_completes_itself(visit: Visit) -> None:
    page, asked = visit.page, lambda: visit.world.bodies("/v1/recommend")[-1]
    visit.open()
    page.get_by_role("link", name="Warm").click()
    visit.cards("Suggestions").first.wait_for()
    assert asked() == {"history": ["i0", "i1", "i2"], "title": "Warm", "k": 12, "exclude": []}
    page.get_by_text("Why this").first.click()
    said = visit.cards("Suggestions").first.locator("details").inner_text()
    assert "Nearest on this board: Gold thing. To the model they are very similar (cosine 0.83)." in said
    assert "The board Cold holds it with 2 pictures of this one." in said
    assert "Found by the model (1st), looks alone (4th)." in said and "ranked it 1st of 12 candidates" in said
    page.get_by_role("button", name="Make it mine").click()
    page.wait_for_url(re.compile("#board=own-"))
    page.get_by_role("button", name="Add Teal thing to this board").click()
    visit.cards("On this board").nth(3).wait_for()
    visit.until(lambda: visit.focused() == "Add <img src=x onerror=alert(1)> to this board", "the focus is lost")
    assert asked()["history"] == ["i0", "i1", "i2", "i4"]
    page.get_by_role("button", name="Not this: Navy thing").click()
    page.get_by_role("button", name="Add Navy thing to this board").wait_for(state="detached")
    assert asked()["exclude"] == ["i5"]
    page.reload()
    assert visit.cards("On this board").nth(3).inner_text().startswith("Teal thing")


def test_boards_are_created_renamed_removed_and_restored(visit: Visit) -> None:
    page = visit.page
    visit.open("boards=")
    page.get_by_label("Title of a new board").fill("Mine")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("Nothing is on it yet").wait_for()
    visit.cards("Suggestions").first.wait_for()
    assert visit.world.bodies("/v1/recommend") == [
        {"history": [], "title": "Mine", "k": 12, "text": "Mine", "exclude": []}
    ]
    page.get_by_role("button", name="Add Crimson thing to this board").click()
    visit.cards("On this board").first.wait_for()
    page.get_by_role("button", name="Remove Crimson thing from this board").click()
    page.get_by_role("button", name="Undo").click()
    visit.cards("On this board").first.wait_for()
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Title of the board").fill("Ours")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Ours").wait_for()
    page.get_by_role("button", name="Remove this board").click()
    page.get_by_text("You have no boards yet").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("heading", name="Ours").wait_for()


def test_a_picture_is_saved_from_a_search_to_a_new_board_by_keyboard(visit: Visit) -> None:
    visit.open("search=a")
    visit.page.get_by_role("button", name="Save Gold thing to a board").click()
    visit.page.get_by_role("dialog").wait_for()
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("dialog").wait_for(state="detached")
    assert visit.focused() == "Save Gold thing to a board"
    visit.page.keyboard.press("Enter")
    visit.page.get_by_label("Title of a new board").fill("Shiny")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("button", name="Open it").click()
    visit.cards("On this board").first.wait_for()
    assert visit.cards("On this board").all_inner_texts() == ["Gold thing\nRemove"]


def test_swapped_and_native_are_measured_and_the_factor_is_theirs(visit: Visit) -> None:
    visit.open("compare=bob%2Fcold")
    visit.page.get_by_role("button", name="Measure").click()
    visit.page.get_by_text("Swapped answered 46 times faster and costs 40 times less.").wait_for()
    assert visit.world.bodies("/v1/compare") == [{"history": BOARDS["bob/cold"][1], "k": 6}]
    native = visit.page.get_by_role("region", name="Native").inner_text()
    assert "1.84 s" in native and "US$ 0.16" in native and "980" in native
    assert "6 of the 6 first are the same" in visit.page.locator("main").inner_text()


def test_without_a_native_model_the_page_says_how_to_serve_one(chromium: Any) -> None:
    with visiting(chromium, World(native=False)) as visit:
        visit.open("compare=")
        visit.page.get_by_role("button", name="Measure").click()
        visit.page.get_by_text("navigator serve --native").wait_for()
        assert visit.page.get_by_role("region", name="Native").count() == 0
        assert "faster" not in visit.page.locator("main").inner_text()


def test_every_view_fits_a_phone_of_360_pixels(chromium: Any) -> None:
    with visiting(chromium, World(), viewport={"width": 360, "height": 740}, color_scheme="dark") as visit:
        for address, text in (
            ("", "Warm"), ("search=a", HOSTILE), ("item=i3", HOSTILE), ("board=ann%2Fwarm", "Why this"), ("boards=", "Cold"),
            ("chat=", "Send"), ("compare=", "Measure"),
        ):  # fmt: skip
            visit.open(address)
            visit.page.get_by_text(text).first.wait_for()
            if address == "compare=":
                visit.page.get_by_role("button", name="Measure").click()
                visit.page.get_by_text("times faster").first.wait_for()
            assert visit.page.evaluate("document.documentElement.scrollWidth") == 360, address


def test_the_first_view_is_below_50_kb(visit: Visit) -> None:
    visit.open()
    visit.page.get_by_role("link", name="Warm").wait_for()
    code = """performance.getEntries().filter((e) => e.decodedBodySize && !e.name.includes("/v1/"))
        .reduce((sum, e) => sum + e.decodedBodySize, 0)"""
    assert 20_000 < visit.page.evaluate(code) < 50_000
