"""The audit log of a graph: a line for whatever is done, which cannot be altered or thinned unseen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from graph.audit import NOTHING, audit_path, audited, read_audit, verify_audit
from navigator.contracts import UserError

ROOT = Path(__file__).parents[1]
APPEND = """
import sys
from pathlib import Path
from graph.audit import audited
for n in range(int(sys.argv[2])):
    with audited(Path(sys.argv[1]), "graph stats", "stats", {"writer": sys.argv[3], "n": n, "long": "x" * 5000}):
        pass
"""


def test_a_block_leaves_one_line_however_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NAVIGATOR_ACTOR", "ada")
    out, source = tmp_path / "out", tmp_path / "source"
    source.mkdir()
    with audited(out, "refine", "export", {"dim": 8}, also=source) as entry:
        entry.policy, entry.artefacts["graph"] = "p1", "f1"
    with pytest.raises(UserError), audited(out, "refine", "export") as entry:
        entry.secret["u7"] = "(the user)"
        raise UserError("user 'u7' is unknown")
    with pytest.raises(ZeroDivisionError), audited(out, "refine", "export"):
        _ = 1 / 0
    done, refused, failed = read_audit(audit_path(out))
    assert {key: done[key] for key in ("who", "purpose", "what", "outcome", "policy", "artefacts", "parameters")} == {
        "who": "ada", "purpose": "export", "what": "refine", "outcome": "done", "policy": "p1", "artefacts": {"graph": "f1"},
        "parameters": {"dim": 8},
    }  # fmt: skip
    assert (refused["outcome"], refused["reason"]) == ("refused", "user '(the user)' is unknown")
    assert failed["outcome"] == "failed" and failed["reason"].startswith("ZeroDivisionError: ")
    assert done["when"].endswith("+00:00") and [line["line"] for line in (done, refused, failed)] == [1, 2, 3]
    assert [line["what"] for line in read_audit(audit_path(source))] == ["refine"]


def test_the_login_name_stands_in_for_an_actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NAVIGATOR_ACTOR", " ")
    monkeypatch.setenv("LOGNAME", "grace")
    with audited(tmp_path / "out", "refine", "export"):
        pass
    assert read_audit(audit_path(tmp_path / "out"))[0]["who"] == "grace"


def test_nothing_is_done_without_a_log(tmp_path: Path):
    (tmp_path / "file").write_text("")
    ran = False
    with pytest.raises(UserError, match="cannot be written"), audited(tmp_path / "file" / "out", "refine", "export"):
        ran = True
    assert not ran


def log_of(folder: Path, n: int = 4) -> tuple[Path, list[str]]:
    """A log of n lines, and the heads after each."""
    heads = []
    for number in range(n):
        with audited(folder / "out", "graph stats", "stats", {"n": number}) as entry:
            pass
        heads.append(entry.head)
    return audit_path(folder / "out"), heads


def test_altered_and_removed_lines_are_found(tmp_path: Path):
    log, heads = log_of(tmp_path)
    whole = log.read_text().splitlines(keepends=True)
    assert json.loads(whole[0])["previous"] == NOTHING and verify_audit(log, heads[1]) == []

    def problems(lines: list[str], head: str = "") -> list[str]:
        log.write_text("".join(lines))
        return verify_audit(log, head)

    broken = "does not follow the line before it: one was altered or removed"
    assert problems([whole[0], whole[2], whole[3]])[0] == f"line 2 {broken}"
    assert problems(whole[1:])[0].startswith("line 1 does not follow")
    altered = whole[1].replace('"n": 1', '"n": 7')
    assert altered != whole[1]
    assert problems([whole[0], altered, *whole[2:]]) == [f"line 3 {broken}"]
    assert problems([whole[0], whole[2], whole[1], whole[3]])[0].startswith("line 2 ")
    assert problems(whole[:3]) == []  # the end alone is not held by anything in the file,
    assert problems(whole[:3], heads[3])[0].endswith("the end was cut off, or the log was rewritten")  # but by a head
    assert problems([*whole[:2], "{}\n", *whole[2:]])[0] == "line 3 is not an audit line (torn or overwritten)"


def test_a_torn_line_stays_visible_and_does_not_swallow_the_next(tmp_path: Path):
    log, _ = log_of(tmp_path, 2)
    log.write_bytes(log.read_bytes() + b'{"line": 3, "wh')
    with audited(tmp_path / "out", "graph stats", "stats"):
        pass
    assert json.loads(log.read_text().splitlines()[-1])["line"] == 4
    assert verify_audit(log) == ["line 3 is not an audit line (torn or overwritten)"]


def test_writers_at_the_same_time_neither_tear_nor_fork_the_chain(tmp_path: Path):
    out, writers, lines = tmp_path / "out", 4, 20
    running = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(out), str(lines), str(w)], cwd=ROOT) for w in range(writers)
    ]
    assert [process.wait() for process in running] == [0] * writers
    said = read_audit(audit_path(out))
    assert [line["line"] for line in said] == list(range(1, writers * lines + 1)) and verify_audit(
        audit_path(out)
    ) == []
    assert {(line["parameters"]["writer"], line["parameters"]["n"]) for line in said} == {
        (str(w), n) for w in range(writers) for n in range(lines)
    }
