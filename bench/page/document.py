"""The page around rendered reports: style, script, contents, and a policy under which nothing outside can be loaded."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from bench.page.render import Rendered


def document(title: str, reports: Sequence[Rendered]) -> str:
    """One self-contained HTML document.

    Args:
        title: of the page; shown above the reports where there are several.
        reports: what it holds. Of several, headings must have been moved down a level and carry ids of their own.
    """
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; "
        "form-action 'none'"
    )
    several = len(reports) > 1
    heading = f"<h1>{escape(title)}</h1>\n<p>{len(reports)} reports on one page.</p>\n" if several else ""
    articles = "\n".join(f"<article>\n{report.html}</article>" for report in reports)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n'
        f'<nav aria-label="Contents">\n{_contents(reports)}\n</nav>\n<main>\n{heading}{articles}\n{_FOOTER}\n</main>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


_FOOTER = (
    "<footer>This page is one file and loads nothing from anywhere. A click on a column's head sorts by it; a "
    "difference whose interval holds 0 is grey. The figures are "
    "those of report.json and report.md in the report's folder.</footer>"
)


def _contents(reports: Sequence[Rendered]) -> str:
    lines = ["<ul>"]
    for report in reports:
        lines.append(f'<li><a class="report" href="#{report.anchor}">{escape(report.title)}</a>\n<ul>')
        lines += [f'<li><a href="#{anchor}">{escape(words)}</a></li>' for anchor, words in report.sections]
        lines.append("</ul></li>")
    return "\n".join([*lines, "</ul>"])


def _asset(name: str) -> str:
    return files("bench.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source expression of the content security policy: this very text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
