"""The page in a real browser: no line on its console, pictures painted, columns ready to sort. Skipped without chromium."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from bench.documents import write_documents
from bench.page.command import page
from navigator.contracts.report import Device, Provenance

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAINT = (250, 0, 250)
TEXT = """# A report

![plot](plot.png)

| system | NDCG@10 |
| --- | --- |
| <b>rival</b> | 0.2 (0.1..0.3) |
| ours | 0.3 (0.2..0.4) |
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH; the page is checked in none")


def browse(html: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """The page's DOM (with --dump-dom) and what the browser said on its console."""
    flags = [
        "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--hide-scrollbars", "--window-size=1000,800", "--enable-logging=stderr",
        f"--user-data-dir={profile}", *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]  # fmt: skip
    command = [str(CHROMIUM), *flags, *options, html.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "report"
    folder.mkdir()
    Image.new("RGB", (400, 200), PAINT).save(folder / "plot.png")
    made = Provenance(
        seed=0, device=Device(cpu="any", cores=1), commit=None, versions={}, created_at="2026-11-21", command="", config={},
        inputs={}, protocol=[],
    )  # fmt: skip
    write_documents(folder, made, TEXT)
    return folder


def test_the_page_paints_its_picture_and_says_nothing_on_the_console(report: Path, tmp_path: Path) -> None:
    _, console = browse(report / "report.html", tmp_path / "profile", f"--screenshot={tmp_path / 'shot.png'}")
    assert console == []
    with Image.open(tmp_path / "shot.png") as shot:
        painted = sum(count for count, colour in shot.convert("RGB").getcolors(1 << 24) or [] if colour == PAINT)
    assert painted > 0.9 * 400 * 200


def test_the_script_runs_under_the_policy_and_several_reports_fit_one_page(report: Path, tmp_path: Path) -> None:
    page([report, report], tmp_path / "all.html")
    dom, console = browse(tmp_path / "all.html", tmp_path / "profile", "--dump-dom")
    assert console == []
    assert re.findall(r'<button type="button">([^<]*)</button>', dom) == ["system", "NDCG@10"] * 2
    assert "&lt;b&gt;rival&lt;/b&gt;" in dom


def test_a_console_error_would_be_seen(report: Path, tmp_path: Path) -> None:
    broken = (report / "report.html").read_text().replace("</style>", " </style>")
    (tmp_path / "broken.html").write_text(broken)
    assert "Content Security Policy" in browse(tmp_path / "broken.html", tmp_path / "profile", "--dump-dom")[1][0]
