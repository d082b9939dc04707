"""Pictures of the page on a running server, and how it loads on a slow line.

    python tests/page_screenshots.py http://127.0.0.1:8000/ docs/pictures

writes page-VIEW-desktop.png (1280 x 800) and page-VIEW-phone.png (390 x 844), 256 colours each. Prints as JSON what should
not have happened on the way (lines on the console, failed requests, requests to other places), and the bytes and seconds of
a first visit with an empty cache on Chromium's "slow 3G" (400 kbit/s down and up, 2 s of latency): until one can type, until
the boards to start from are there, and from the press of Enter until the results and then their first pictures are. Needs
playwright and chromium.
"""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from page_visits import Visit, launched, listen
from page_worlds import World

WIDTHS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
SLOW = {"offline": False, "latency": 2000, "downloadThroughput": 50_000, "uploadThroughput": 50_000}  # bytes a second
WORDS, QUESTION = "red flower", "Show me a boat on the sea"
LOADED = "() => [...document.images].every((i) => i.complete || i.getBoundingClientRect().top > innerHeight)"


def main(url: str, folder: Path) -> dict[str, Any]:
    """Write the pictures; what should not have happened, and what the slow line needed."""
    noise: list[str] = []
    with launched() as browser:
        for name, viewport in WIDTHS.items():
            page = browser.new_context(viewport=viewport).new_page()
            page.set_default_timeout(120_000)
            listen(Visit(World(url=url), page, noise))
            for view, prepare in (("search", search), ("board", board), ("chat", chat), ("compare", compare)):
                prepare(page, url)
                shoot(page, folder / f"page-{view}-{name}.png")
        return {"noise": noise, "slow 3G": slow(browser, url)}


def search(page: Any, url: str) -> None:
    page.goto(url)
    page.get_by_label("Search in words").fill(WORDS)
    page.keyboard.press("Enter")
    page.get_by_role("list", name=f"Pictures for {WORDS}").wait_for()


def board(page: Any, url: str) -> None:
    page.goto(url)
    smaller = page.evaluate("fetch('v1/boards?limit=100').then((all) => all.json()).then((all) => all.at(-1).board)")
    page.goto(f"{url}#board={quote(smaller, safe='')}")
    page.get_by_role("button", name="Make it mine").click()
    page.get_by_text("Why this").first.click()
    page.locator("details[open]").evaluate(
        "(why) => scrollBy(0, why.getBoundingClientRect().bottom - innerHeight + 16)"
    )


def chat(page: Any, url: str) -> None:
    page.goto(url + "#chat=")
    page.get_by_label("Your message").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Send").wait_for()
    page.locator(".turn .note").wait_for()


def compare(page: Any, url: str) -> None:
    page.goto(url + "#compare=")
    page.get_by_role("button", name="Measure").click()
    page.locator(".sides").wait_for()


def shoot(page: Any, path: Path) -> None:
    """What the window shows, once its pictures are there and nothing moves."""
    end = time.monotonic() + 30
    while not page.evaluate(LOADED) and time.monotonic() < end:
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").quantize(256).save(path, optimize=True)


def slow(browser: Any, url: str) -> dict[str, Any]:
    """Bytes over the line and seconds until the first view, and from the press of Enter until the first pictures."""
    page = browser.new_context(viewport=WIDTHS["phone"]).new_page()
    page.set_default_timeout(120_000)
    line, sent = page.context.new_cdp_session(page), {"bytes": 0, "requests": 0}

    def count(event: dict[str, Any]) -> None:
        sent["bytes"] += event["encodedDataLength"]
        sent["requests"] += 1

    line.on("Network.loadingFinished", count)
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", SLOW)
    steps, begun = {}, time.monotonic()

    def step(name: str) -> None:
        nonlocal begun
        steps[name] = {"seconds": round(time.monotonic() - begun, 1), **sent}
        begun = time.monotonic()
        sent.update(bytes=0, requests=0)

    page.goto(url, wait_until="commit")
    page.get_by_label("Search in words").wait_for()
    step("search field")
    page.locator(".title").first.wait_for()
    step("boards")
    page.get_by_label("Search in words").fill(WORDS)
    page.keyboard.press("Enter")
    results = page.get_by_role("list", name=f"Pictures for {WORDS}")
    results.wait_for()
    step("results")
    while not page.evaluate("() => [...document.querySelectorAll('.card img')].slice(0, 4).every((i) => i.complete)"):
        page.wait_for_timeout(50)
    step("first four pictures")
    return steps


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(json.dumps(main(sys.argv[1].rstrip("/") + "/", Path(sys.argv[2])), indent=1))
