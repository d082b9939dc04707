"""The annotation page in a real browser: keys grade, grades come back after a restart, nothing is ever requested."""

import csv
import http.server
import json
import re
import shutil
import subprocess
import threading
from html import unescape
from pathlib import Path

import pytest

from bench.gold.annotate import COLUMNS, Shown, Things, page

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome to open the page with")

TITLE = 'a "quoted", <b>bold</b> title'
ASKED = [Shown("board", TITLE, ["h"], [("p1", "i"), ("p2", "j")]), Shown("text", "hat", [], [("p3", "i")])]
THINGS = Things({"h": "shown", "i": "one,\ntwo", "j": "<img src=x onerror=alert(1)>"}, {})


def opened(file: Path, profile: Path, script: str) -> dict:
    """What `script` leaves in the object `seen` after the page has loaded."""
    probe = "<script>const seen = {}; const press = key => document.dispatchEvent(new KeyboardEvent('keydown', {key}));"
    probe += f"\n{script}\n"
    probe += "const out = document.createElement('pre'); out.id = 'seen'; out.textContent = JSON.stringify(seen);"
    probe += "document.body.append(out);</script></body>"
    copy = file.with_name(f"probe-{file.name}")
    copy.write_text(file.read_text().replace("</body>", probe))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [str(BROWSER), *flags, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(unescape(found.group(1)))


def test_keys_grade_and_grades_come_back_and_nothing_is_requested(tmp_path):
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *given: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    file = tmp_path / "ann.html"
    file.write_text(page("ann", "task", ASKED, THINGS))
    first = opened(
        file, tmp_path / "profile",
        f"""
        seen.title = $("title").textContent; seen.bold = document.querySelectorAll("h1 b").length;
        seen.counts = [$("count").textContent];
        press("4"); press("9"); press("1"); seen.counts.push($("count").textContent); seen.images = document.images.length;
        press("ArrowLeft"); press("0"); seen.counts.push($("count").textContent); seen.csv = csv();
        new Image().src = "{url}picture"; fetch("{url}data").catch(() => 0);
        """,
    )  # fmt: skip
    assert first["title"] == TITLE and first["bold"] == 0 and first["images"] == 0
    assert [count.split(" graded")[0] for count in first["counts"]] == ["0 of 3", "2 of 3", "1 of 3"]
    rows = list(csv.DictReader(first["csv"].splitlines()))
    assert tuple(rows[0]) == COLUMNS and [(row["pair"], row["grade"]) for row in rows] == [
        ("p1", "4"),
        ("p2", ""),
        ("p3", ""),
    ]
    assert rows[0]["item"] == "one, two" and rows[0]["query"] == f"{TITLE} | shown"
    again = opened(
        file, tmp_path / "profile",
        'seen.count = $("count").textContent; seen.on = [...document.querySelectorAll(".on")].length; press("n"); press("5"); '
        'press("n"); press("2"); press("n"); seen.warning = $("warning").textContent; seen.csv = csv();',
    )  # fmt: skip
    server.shutdown()
    assert again["count"] == "1 of 3 graded, this is 2" and again["on"] == 0  # goes on where it stopped
    grades = {row["pair"]: row["grade"] for row in csv.DictReader(again["csv"].splitlines())}
    assert (
        set(grades.values()) == {"4", "5", "2"} and grades["p1"] == "4" and "Everything is graded" in again["warning"]
    )
    assert asked == []
