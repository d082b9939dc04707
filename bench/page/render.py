"""report.md -> HTML without a reference to anything outside: pictures as data, raw HTML as text, links kept apart.

A report quotes catalogues, so nothing in it is trusted: HTML is escaped by the parser, a picture is shown only when it is a
file of the report's folder, and what cannot be shown is said in its place.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bench.markdown import FIGURE, numeric

_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
_SHORT = 24  # characters of a cell that is kept on one line


@dataclass(frozen=True)
class Rendered:
    """One report as HTML.

    Attributes:
        title: its first heading, plain text.
        anchor: id of that heading.
        sections: (id, plain text) of the headings below.
        html: the body.
        missing: pictures that the text names and the folder does not hold.
    """

    title: str
    anchor: str
    sections: list[tuple[str, str]]
    html: str
    missing: list[str]


def render(text: str, folder: Path, prefix: str = "", links: str = "", below: int = 0) -> Rendered:
    """Markdown of a report as HTML.

    Args:
        text: report.md.
        folder: where its pictures lie.
        prefix: of the headings' ids, so that several reports fit on one page.
        links: what relative links are relative to, such as ``../report/``.
        below: by how many levels headings are moved down.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    missing: list[str] = []
    for token in tokens:
        if token.children:
            token.children = [_inline(child, folder, links, missing) for child in token.children]
    headings = _headings(tokens, prefix, below)
    title = headings[0] if headings else (f"{prefix}report", "Report")
    html = parser.renderer.render(list(_framed(tokens)), parser.options, {})
    return Rendered(title[1], title[0], headings[1:], html, missing)


def _headings(tokens: Sequence[Token], prefix: str, below: int) -> list[tuple[str, str]]:
    """Give every heading an id; returns the ids and texts of the first two levels."""
    found: list[tuple[str, str]] = []
    for number, token in enumerate(tokens):
        if token.type not in ("heading_open", "heading_close"):
            continue
        level = int(token.tag[1])
        token.tag = f"h{min(level + below, 6)}"
        if token.type == "heading_open" and level <= 2:
            words = "".join(c.content for c in tokens[number + 1].children or [] if c.type in ("text", "code_inline"))
            anchor = f"{prefix}{len(found)}-{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}"
            token.attrSet("id", anchor)
            found.append((anchor, words))
    return found


def _inline(token: Token, folder: Path, links: str, missing: list[str]) -> Token:
    """A picture becomes data or a sentence, a link is re-based or marked as leading outside."""
    if token.type == "image":
        source = str(token.attrs.get("src", ""))
        data = _picture(folder, source)
        if data is None:
            missing.append(source)
            return Token("text", "", 0, content=f"[picture {source} is not in the report's folder]")
        token.attrs["src"] = data
    elif token.type == "link_open":
        href = str(token.attrs.get("href", ""))
        if urlsplit(href).scheme or href.startswith("//"):
            token.attrs["rel"] = "noopener noreferrer nofollow"
        elif not href.startswith("#"):
            token.attrs["href"] = quote(links, safe="/.-_~") + href
    return token


def _picture(folder: Path, source: str) -> str | None:
    """A data URI; None for what is not a picture file inside the folder."""
    kind = _TYPES.get(Path(source).suffix.lower())
    if kind is None or urlsplit(source).scheme or source.startswith("//"):
        return None
    path = (folder / unquote(source)).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _framed(tokens: Sequence[Token]) -> Iterator[Token]:
    """Tables dressed, and each in a box of its own that scrolls."""
    table: list[Token] = []
    for token in tokens:
        if token.type != "table_open" and not table:
            yield token
            continue
        table.append(token)
        if token.type == "table_close":
            yield Token(
                "scroll_open", "div", 1, attrs={"class": "scroll", "role": "region", "tabindex": "0"}, block=True
            )
            yield from _dressed(table)
            yield Token("scroll_close", "div", -1, block=True)
            table = []


def _dressed(table: Sequence[Token]) -> Sequence[Token]:
    """Columns of figures to the right with a value to sort by, intervals apart, the first column as heads of its rows."""
    rows = _cells(table)
    for number, (head, *body) in enumerate(zip(*rows, strict=True)):
        figures = numeric([inline.content for _, inline, _ in body])
        short = all(len(inline.content) <= _SHORT for _, inline, _ in body)
        for opening, _, closing in (head, *body):
            opening.attrs.pop("style", None)  # the page's policy allows no style attributes
            if figures or short:
                opening.attrs["class"] = "num" if figures else "short"
            if opening is head[0]:
                opening.attrs["scope"] = "col"
            elif number == 0:
                opening.tag = closing.tag = "th"
                opening.attrs["scope"] = "row"
        if figures:
            for opening, inline, _ in body:
                if match := FIGURE.fullmatch(inline.content):
                    opening.attrs["data-value"] = repr(float(re.sub(r"[,$]", "", match[1])))
                    _set_interval_apart(inline, match[2])
                    if match[2] and _holds_zero(match[2]):
                        opening.attrs["class"] = "num unclear"
    return table


def _cells(table: Sequence[Token]) -> list[list[tuple[Token, Token, Token]]]:
    """Row by row the opening, content and closing of every cell."""
    rows: list[list[tuple[Token, Token, Token]]] = []
    for number, token in enumerate(table):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append((token, table[number + 1], table[number + 2]))
    return rows


def _set_interval_apart(inline: Token, interval: str | None) -> None:
    """``0.5 (0.4..0.6)``: what is in brackets becomes a span of its own."""
    if interval is None or not inline.children or len(inline.children) != 1:
        return
    text = inline.children[0]
    text.content = text.content.removesuffix(interval)
    inline.children += [
        Token("text", "", 0, content=" "), Token("ci_open", "span", 1, attrs={"class": "ci"}),
        Token("text", "", 0, content=interval.strip()), Token("ci_close", "span", -1),
    ]  # fmt: skip


def _holds_zero(interval: str) -> bool:
    """Whether this is the interval of a difference, as [-0.1, +0.2], and 0 lies in it."""
    ends = re.fullmatch(r"\s*\[([-+][\d.e+-]+), ([-+][\d.e+-]+)\]", interval)
    return ends is not None and float(ends[1]) <= 0 <= float(ends[2])
