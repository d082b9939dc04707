"""The page's files without a browser: small, no markup from data, readable colours."""

import re

import pytest

from page_server import PAGE

STYLE = (PAGE / "style.css").read_text()
SCRIPTS = sorted(PAGE.glob("*.js"))


def palettes() -> list[dict[str, str]]:
    """The colours by light and by dark, as the style sheet names them."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    return [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in blocks]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colours", palettes(), ids=["light", "dark"])
def test_words_have_a_contrast_of_4_5_and_edges_of_3(colours: dict[str, str]) -> None:
    for ground in ("paper", "panel", "shade"):
        for ink in ("ink", "muted", "accent", "warn"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["on"], colours["accent"]) >= 4.5
    for ground in ("paper", "panel"):
        assert contrast(colours["edge"], colours[ground]) >= 3


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_data_or_is_long(script) -> None:
    text = script.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
    assert not re.search(r"https?://", text), "the page talks to its own server alone"
    assert len(text.splitlines()) < 200


def test_the_document_has_nothing_that_the_policy_forbids() -> None:
    document = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=", document)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", document) == [""]


def test_modules_that_are_loaded_ahead_are_those_of_the_first_view() -> None:
    ahead = set(re.findall(r'modulepreload" href="static/(\w+\.js)"', (PAGE / "index.html").read_text()))
    wanted, seen = ["app.js"], set()
    while wanted:
        name = wanted.pop()
        seen.add(name)
        wanted += set(re.findall(r'^import .*from "\./(\w+\.js)"', (PAGE / name).read_text(), re.M)) - seen
    assert ahead == seen - {"app.js"}
