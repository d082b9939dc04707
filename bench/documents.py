"""The three documents of every report folder, written together so that none can be forgotten.

report.json   the figures, for programs
report.md     the same as words and tables, beside its pictures
report.html   report.md as one page that opens anywhere: pictures inside, tables that sort, nothing loaded
"""

from pathlib import Path

from pydantic import BaseModel

from bench.page.document import document
from bench.page.render import render
from navigator.contracts.manifest import write_text

JSON, MARKDOWN, HTML = "report.json", "report.md", "report.html"
DOCUMENTS = (JSON, HTML)  # what report.md names beside itself


def write_documents(folder: Path, report: BaseModel, text: str) -> None:
    """Write report.json, report.md and report.html; the report's pictures must lie in `folder` already.

    Args:
        folder: the (work) folder of the report.
        report: the figures.
        text: the report in Markdown.
    """
    write_text(folder / MARKDOWN, text)
    page = render(text, folder)
    write_text(folder / HTML, document(page.title, [page]))
    write_text(folder / JSON, report.model_dump_json(indent=2))


def where(out: Path, unchanged: bool) -> str:
    """The last line of a command's answer."""
    return f"report: {out / MARKDOWN}, {HTML}{' (unchanged)' if unchanged else ''}"
