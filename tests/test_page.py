"""Reports as one HTML page: nothing loaded, nothing from a catalogue believed, every report folder has one."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from pydantic import BaseModel

from bench.cli import main
from bench.documents import write_documents
from bench.markdown import literal, numeric, piped
from bench.page.command import page
from bench.page.document import document
from bench.page.render import render
from navigator.contracts import UserError

TEXT = """# Two systems

Asked once; 2026-11-21.

![quality.png](quality.png)

## Figures

| system | NDCG@10 | P50 ms | note |
| --- | --- | ---: | --- |
| ours | 0.1052 (0.0929..0.1195) | 1,234 | new |
| rival | +0.0887 [+0.0767, +0.1019] | - | old |

## Files

- [report.json](report.json)
- [prices](https://example.org/prices)
"""


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of the page."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def picture(colour: str = "red") -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(held, "PNG")
    return held.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "quality.png").write_bytes(picture())
    (tmp_path / "a" / "report.md").write_text(TEXT)
    return tmp_path / "a"


def test_a_picture_of_the_folder_is_inside_the_page(folder: Path) -> None:
    found = render(TEXT, folder)
    assert Tags(found.html).of("img")[0]["src"] == "data:image/png;base64," + base64.b64encode(picture()).decode()
    assert found.title == "Two systems" and found.missing == []
    assert [words for _, words in found.sections] == ["Figures", "Files"]


@pytest.mark.parametrize(
    "source", ["gone.png", "../secret.png", "https://evil.example/x.png", "//evil.example/x.png", "report.md"]
)
def test_no_other_picture_is_shown_and_the_page_says_so(folder: Path, source: str) -> None:
    (folder.parent / "secret.png").write_bytes(picture())
    found = render(f"# A\n\n![x]({source})", folder)
    assert Tags(found.html).of("img") == [] and found.missing == [source]
    assert f"[picture {source} is not in the report's folder]" in Tags(found.html).words


def test_html_of_a_catalogue_is_text(folder: Path) -> None:
    bad = "<script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) <svg onload=alert(1)>"
    html = document("<b>t</b>", [render(f"# {bad}\n\n{bad}\n\n| {bad} |\n| --- |\n| {bad} |\n", folder)])
    tags = Tags(html)
    assert len(tags.of("script")) == 1 and not tags.of("img") and not tags.of("svg") and not tags.of("b")
    assert "<script>alert(1)</script>" in tags.words
    assert not [a for a in tags.of("a") if str(a.get("href")).startswith("javascript")]


def test_catalogue_text_written_as_literal_is_no_markdown() -> None:
    text = "a *b* [c](http://evil.example) ![d](e.png) `f` <g> | h_i_j\n# k \\ & &amp; ~~l~~"
    shown = Tags(render(f"- {literal(text)}", Path()).html)
    assert shown.words.strip() == " ".join(text.split())
    assert {tag for tag, _ in shown.tags} == {"ul", "li"}


def test_the_policy_allows_this_style_and_this_script_and_no_address(folder: Path) -> None:
    html = document("t", [render(TEXT, folder)])
    policy = next(str(m["content"]) for m in Tags(html).of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;") and "http" not in policy and "unsafe" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not [a for _, a in Tags(html).tags if "style" in a or any(name.startswith("on") for name in a)]
    loading = [(tag, a) for tag, a in Tags(html).tags if tag != "a" and ({"src", "href"} & a.keys())]
    assert all(str(a.get("src") or a.get("href")).startswith("data:") for _, a in loading) and len(loading) == 2


def test_columns_of_figures_stand_right_sort_by_their_number_and_show_intervals_apart(folder: Path) -> None:
    tags = Tags(render(TEXT, folder).html)
    assert [a.get("class") for a in tags.of("th")[:4]] == ["short", "num", "num", "short"]
    assert [a.get("data-value") for a in tags.of("td") if a.get("class") == "num"] == [
        "0.1052",
        "1234.0",
        "0.0887",
        None,
    ]
    assert [a for a in tags.of("th") if a.get("scope") == "row"] == [{"class": "short", "scope": "row"}] * 2
    assert tags.of("span") == [{"class": "ci"}] * 2


@pytest.mark.parametrize(
    ("cell", "unclear"),
    [
        ("+0.1 [-0.1, +0.3]", True), ("+0.1 [+0.0000, +0.3]", True), ("-0.2 [-0.3, -0.1]", False), ("1.2 (-0.1..2.0)", False),
        ("0.1 [-1e-05, +2e-05]", True),
    ],
)  # fmt: skip
def test_a_difference_whose_interval_holds_zero_is_marked(cell: str, unclear: bool) -> None:
    shown = Tags(render(piped([("a", "b"), ("x", cell)]), Path()).html).of("td")
    assert shown[0]["class"] == ("num unclear" if unclear else "num")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0.5", "-"], True), (["1,234", "12"], True), (["+0.1 [-0.1, +0.3]"], True), (["0.5 (0.4..0.6)"], True),
        (["99.1%", "0.040%"], True), (["$0.25", "1e-05"], True), (["0.1..0.2"], True), (["-", "-"], False), ([], False),
        (["0.5", "fast"], False), (["2026-11-21"], False), (["3 of 4 systems failed"], False),
    ],
)  # fmt: skip
def test_what_counts_as_a_column_of_figures(cells: list[str], expected: bool) -> None:
    assert numeric(cells) is expected


def test_markdown_tables_set_figures_right() -> None:
    assert piped([("a", "b"), ("x", "1")]).splitlines()[1] == "| --- | ---: |"


def test_the_same_report_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = page([folder], tmp_path / "p.html")
    again = page([folder], tmp_path / "p.html")
    assert (first["unchanged"], again["unchanged"]) == (False, True)
    assert first["bytes"] == (tmp_path / "p.html").stat().st_size


def test_several_reports_on_one_page_have_their_own_ids_and_links(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "b & c"
    other.mkdir()
    (other / "report.md").write_text(TEXT.replace("Two systems", "Others <now>"))
    answer = page([folder, other], tmp_path / "pages" / "all.html", "Swap or not?")
    tags = Tags((tmp_path / "pages" / "all.html").read_text())
    ids = [a["id"] for _, a in tags.tags if "id" in a]
    assert len(ids) == len(set(ids)) == 6
    inside = [str(a["href"])[1:] for a in tags.of("a") if str(a["href"]).startswith("#")]
    assert inside == ids
    assert [a["href"] for a in tags.of("a") if str(a["href"]).endswith(".json")] == [
        "../a/report.json",
        "../b%20%26%20c/report.json",
    ]
    assert [a["rel"] for a in tags.of("a") if str(a["href"]).startswith("https")] == [
        "noopener noreferrer nofollow"
    ] * 2
    assert answer["reports"] == ["Two systems", "Others <now>"] and answer["missing_pictures"] == [
        f"{other}/quality.png"
    ]
    assert len(tags.of("h1")) == 1 and len(tags.of("h2")) == 2 and "Swap or not?" in tags.words


class Figures(BaseModel):
    hits: int | None


def test_the_three_documents_are_written_together(folder: Path) -> None:
    write_documents(folder, Figures(hits=None), TEXT)
    assert json.loads((folder / "report.json").read_text()) == {"hits": None}
    assert (folder / "report.md").read_text() == TEXT
    assert "Two systems" in (folder / "report.html").read_text()


def test_every_writer_of_a_report_goes_through_write_documents() -> None:
    bench = Path(__file__).parents[1] / "bench"
    writing = [p for p in bench.rglob("*.py") if re.search(r"write_text\([^)]*report\.(md|json|html)", p.read_text())]
    assert writing == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["page", "nowhere"], "report nowhere does not exist"),
        (["page", "."], "report . holds no report.md"),
        (["page", "a", "--out", "."], "--out . is a folder"),
        (["page"], "reports"),
    ],
)
def test_bad_input_is_one_line(folder: Path, monkeypatch, capsys, words: list[str], said: str) -> None:
    monkeypatch.chdir(folder.parent)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_reports_are_bare_words_of_the_command(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "b").mkdir()
    (folder.parent / "b" / "report.md").write_text(TEXT)
    assert main(["page", "a", "b", "--out", "all.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reports"] == ["Two systems"] * 2


def test_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one"):
        page([], tmp_path / "x.html")
