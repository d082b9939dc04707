"""A browser that visits the page, and everything that it should not have said, asked for or failed at on the way."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from page_server import served
from page_worlds import World

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

PATIENCE_S = 20  # no bar: other work may have the cores

# A drop or paste of a picture of 1600 x 400 pixels, or of a file of another type; the sides of a picture in a data URL.
DROP = """async ([how, type, text]) => {
  const canvas = new OffscreenCanvas(1600, 400);
  canvas.getContext("2d").fillRect(0, 0, 800, 400);
  const blob = type === "image/png" ? await canvas.convertToBlob({ type }) : new Blob([text], { type });
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], "a", { type }));
  if (how === "paste")
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: dataTransfer, bubbles: true, cancelable: true }));
  else {
    const init = { dataTransfer, bubbles: true, cancelable: true };
    const dispatch = (kind) => document.body.dispatchEvent(new DragEvent(kind, init));
    while (dispatch("dragover")) await new Promise(requestAnimationFrame); // until the page's listener has come
    await new Promise(requestAnimationFrame);
    dispatch("drop");
  }
}"""
SIDES = (
    "async (url) => { const i = new Image(); i.src = url; await i.decode(); return [i.naturalWidth, i.naturalHeight]; }"
)


@contextmanager
def launched() -> Iterator[Any]:
    """Headless Chromium; a test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright; the page is visited by nobody")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; the page is visited by nobody")
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGS, *root])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for the tests of a file."""
    with launched() as opened:
        yield opened


@dataclass
class Visit:
    """A page that is open on a world.

    Attributes:
        noise: what the console said (errors and warnings), requests that failed or went elsewhere, dialogs.
        expected: pieces of noise that this visit is about.
        cancelled: requests that the page or the visitor gave up.
    """

    world: World
    page: Any
    noise: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def open(self, address: str = "") -> None:
        """Go to the page at an address after the #, as a new visitor would."""
        self.page.goto("about:blank")
        self.page.goto(self.world.url + (f"#{address}" if address else ""))

    def cards(self, label: str) -> Any:
        """The cards of the grid with this label."""
        return self.page.get_by_role("list", name=label, exact=True).locator("> li")

    def focused(self) -> str:
        """The accessible name, or else the text, of what has the focus."""
        return self.page.evaluate(
            "(({ariaLabel, textContent}) => ariaLabel ?? textContent.trim())(document.activeElement)"
        )

    def until(self, true: Callable[[], Any], why: str = "it did not happen", seconds: float = PATIENCE_S) -> None:
        """Wait for something that no locator can wait for; the policy forbids Playwright's wait_for_function."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, why
            self.page.wait_for_timeout(20)

    def unexpected(self) -> list[str]:
        return [line for line in self.noise if not any(piece in line for piece in self.expected)]


@contextmanager
def visiting(opened: Any, world: World, **options: Any) -> Iterator[Visit]:
    """A fresh profile in which nothing unexpected may happen; `options` are those of Playwright's new_context."""
    with served(world):
        context = opened.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        context.set_default_timeout(PATIENCE_S * 1000)
        visit = Visit(world, context.new_page())
        listen(visit)
        yield visit
        context.close()
    assert not visit.unexpected(), visit.unexpected()


def listen(visit: Visit) -> None:
    """Note from now on what the visit must not leave behind."""
    page, noise, own = visit.page, visit.noise, ("data:", "blob:", "about:", visit.world.url)

    def failed(url: str, why: str) -> None:
        (visit.cancelled if "ERR_ABORTED" in why else noise).append(f"failed: {url} {why}")

    page.on("console", lambda said: said.type in ("error", "warning") and noise.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: noise.append(f"uncaught: {error}"))
    page.on("requestfailed", lambda request: failed(request.url, request.failure))
    page.on("request", lambda request: request.url.startswith(own) or noise.append(f"elsewhere: {request.url}"))
    page.on("dialog", lambda dialog: (noise.append(f"dialog: {dialog.message}"), dialog.dismiss()))


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visit]:
    """A visit to a world as it is by default."""
    with visiting(chromium, World()) as visit:
        yield visit
