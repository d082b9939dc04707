"""The command `navigator-bench page`: several reports on one page, for the people who decide."""

import os
from pathlib import Path
from typing import Any

from navigator.contracts.errors import UserError
from navigator.contracts.manifest import write_text

PICTURES_OF = "report.md"


def page(reports: list[Path], out: Path = Path("runs/page.html"), title: str = "") -> dict[str, Any]:
    """Put one or more reports on one self-contained HTML page, with navigation.

    Args:
        reports: report folders of any navigator-bench command (or the report.md in them), in the order to be read; several
            are separated by spaces or commas.
        out: HTML file to write. It carries its pictures and loads nothing, so it can be mailed as it is.
        title: of the page; default is the report's own, or "Reports" for several.

    Returns:
        Where the page is, its size, which reports it holds, and pictures that a report names but does not have.

    Raises:
        UserError: no report given, a folder without report.md, or `out` is a folder.
    """
    if not reports:
        raise UserError("page needs at least one report folder; give one that navigator-bench wrote")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; give the name of an HTML file, such as {out / 'page.html'}")
    from bench.page.document import document
    from bench.page.render import render

    texts = [_markdown(path) for path in reports]
    several = len(texts) > 1
    rendered = [
        render(
            text.read_text(encoding="utf-8"), text.parent, f"r{number}-" if several else "",
            _relative(text.parent, out.parent), int(several),
        )
        for number, text in enumerate(texts, 1)
    ]  # fmt: skip
    name = title or ("Reports" if several else rendered[0].title)
    html = document(name, rendered)
    unchanged = out.is_file() and out.read_bytes() == html.encode()
    if not unchanged:
        write_text(out, html)
    missing = [f"{text.parent}/{name}" for text, one in zip(texts, rendered, strict=True) for name in one.missing]
    return {
        "out": str(out), "unchanged": unchanged, "bytes": len(html.encode()), "reports": [one.title for one in rendered],
        "missing_pictures": missing,
    }  # fmt: skip


def _markdown(path: Path) -> Path:
    """The report.md of a report.

    Raises:
        UserError: there is none.
    """
    text = path / PICTURES_OF if path.is_dir() else path
    if text.suffix == ".md" and text.is_file():
        return text
    missing = "does not exist" if not path.exists() else "holds no report.md" if path.is_dir() else "is not a report.md"
    raise UserError(f"report {path} {missing}; give a folder that navigator-bench wrote")


def _relative(folder: Path, start: Path) -> str:
    """The way from the page's folder to a report's, with a slash at its end; empty where they are the same."""
    way = Path(os.path.relpath(folder, start)).as_posix()
    return "" if way == "." else f"{way}/"
