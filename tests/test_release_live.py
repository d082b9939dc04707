"""What is live changes only with a passing report or a reason, at once, one at a time, and every try is written down."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from navigator.contracts import UserError
from navigator.release.history import alone, done, history_file, problems, switches
from navigator.release.live import CURRENT, promote_release, read_live, roll_back
from navigator.release.overview import overview
from navigator.release.store import Release
from release_worlds import shadow_report


def live_name(root: Path) -> str:
    live = read_live(root)
    assert live is not None
    return live.name


def refused(root: Path) -> list[str]:
    lines = [json.loads(line) for line in history_file(root).read_bytes().splitlines()]
    return [line["reason"] for line in lines if line["outcome"] == "refused"]


def report(root: Path, old: str, new: str, **options) -> Path:
    out = root.parent / f"shadow-{old}-{new}-{len(options)}"
    return shadow_report(out, Release.read(root, old), Release.read(root, new), **options)


def test_the_first_release_needs_no_report_and_says_so(root: Path):
    live = read_live(root)
    assert live is not None and (live.name, live.change, live.before, live.shadow) == ("r1", 1, [], None)
    assert "nothing was live" in live.why and switches(root)[0]["why"] == live.why


@pytest.mark.parametrize(
    ("old", "new", "options", "told"),
    [
        ("r1", "r2", {"verdict": "fail"}, "says fail .rbo is 0.1."),
        ("r1", "r3", {}, "compares as new .* but the release that shall go live is"),
        ("r3", "r2", {}, "compares as old .* but what is live now is"),
        ("r1", "r2", {"days_old": 8.0}, "is 8.0 days old, --max_age_days is 7"),
    ],
)
def test_a_report_that_does_not_speak_for_it_is_refused_and_the_refusal_is_written(
    root: Path, old: str, new: str, options: dict, told: str
):
    with pytest.raises(UserError, match=told):
        promote_release(root, "r2", report(root, old, new, **options))
    assert live_name(root) == "r1" and len(refused(root)) == 1 and "r2 stays away" in refused(root)[0]


def test_no_report_is_refused_and_force_says_what_it_overruled(root: Path):
    with pytest.raises(UserError, match="no shadow report was given"):
        promote_release(root, "r2")
    with pytest.raises(UserError, match="--force is empty"):
        promote_release(root, "r2", force=" ")
    answer = promote_release(root, "r2", report(root, "r1", "r2", verdict="fail"), force="the old one leaks")
    assert answer["live"] == "r2" and answer["why"] == "the old one leaks" and "rbo is 0.1" in answer["overruled"]
    assert "shadow" not in answer and len(refused(root)) == 2
    assert "forced against: shadow report" in overview(root)["text"]


def test_a_report_of_another_model_over_the_same_vectors_is_not_enough(root: Path):
    """A report of vectors alone compared no model."""
    path = report(root, "r1", "r2")
    said = json.loads((path / "report.json").read_text())
    for side in ("old", "new"):
        del said["verdict"][side]["fingerprints"]["model"]
    from navigator.contracts import publish

    with publish(path, "shadow-report", {}, {}) as work:
        (work.path / "report.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="compares as new vectors"):
        promote_release(root, "r2", path)


def test_promote_and_walk_back(root: Path):
    answer = promote_release(root, "r2", report(root, "r1", "r2"))
    assert (answer["live"], answer["came_from"], answer["change"], answer["shadow"]["verdict"]) == (
        "r2",
        "r1",
        2,
        "pass",
    )
    promote_release(root, "r3", report(root, "r2", "r3"))
    assert promote_release(root, "r3")["unchanged"] is True
    states = {row["name"]: row["state"] for row in overview(root)["releases"]}
    assert states == {"r1": "", "r2": "previous", "r3": "live"}
    assert roll_back(root, "slow")["live"] == "r2" and roll_back(root, "slow too")["live"] == "r1"
    with pytest.raises(UserError, match="nothing was live before r1"):
        roll_back(root, "again")
    assert [(told["change"], told["name"], told["what"]) for told in switches(root)] == [
        (1, "r1", "promote"), (2, "r2", "promote"), (3, "r3", "promote"), (4, "r2", "rollback"), (5, "r1", "rollback")
    ]  # fmt: skip
    assert promote_release(root, "r2", report(root, "r1", "r2"))["change"] == 6
    assert problems(root) == []


def test_roll_back_to_a_given_one(root: Path):
    promote_release(root, "r2", force="x")
    promote_release(root, "r3", force="x")
    with pytest.raises(UserError, match=r"'r9' was not live before r3; allowed are r1, r2"):
        roll_back(root, "w", "r9")
    assert roll_back(root, "w", "r1")["live"] == "r1"
    with pytest.raises(UserError, match="nothing was live before r1"):
        roll_back(root, "w")
    with pytest.raises(UserError, match="--why is empty"):
        roll_back(root, "")


def test_a_changed_release_does_not_go_live_even_by_force(root: Path):
    data = root / "r2" / "vectors" / "data"
    data.write_text(data.read_text().upper())
    with pytest.raises(UserError, match="was changed after it was made"):
        promote_release(root, "r2", force="now")
    assert live_name(root) == "r1"


def test_one_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("navigator.release.history.PATIENCE_S", 0.05)
    with alone(root, "switch"), pytest.raises(UserError, match="another process promotes or rolls back"):
        promote_release(root, "r2", force="x")
    assert live_name(root) == "r1" and "right now" in refused(root)[0]
    promote_release(root, "r2", force="x")


def test_two_promotions_with_valid_reports_end_with_one(root: Path):
    """The second one's report compared with what is no longer live."""
    second = report(root, "r1", "r3")
    promote_release(root, "r2", report(root, "r1", "r2"))
    with pytest.raises(UserError, match="compares as old"):
        promote_release(root, "r3", second)


def test_unknown_names_and_places_leave_nothing_behind(root: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no release 'r9' .* there are: r1, r2, r3"):
        promote_release(root, "r9")
    with pytest.raises(UserError, match=r"release name '\.\./r1'"):
        promote_release(root, "../r1")
    with pytest.raises(UserError, match="is not a folder of releases"):
        promote_release(tmp_path / "typo", "r1")
    assert not (tmp_path / "typo").exists()
    (root / CURRENT).write_text("{}")
    with pytest.raises(UserError, match="does not say what is live"):
        promote_release(root, "r2")


def killed_at(step: int, root: Path, shadow: Path) -> bool:
    """Promote r2 in a process that dies before its `step`-th change of the disk; whether it died."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = [step]

    def counted(real):
        def before(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return before

    for name in ("fsync", "write", "replace", "rename"):
        setattr(os, name, counted(getattr(os, name)))
    promote_release(root, "r2", shadow)
    os._exit(0)


def test_killed_at_any_step_the_old_or_the_new_is_live_and_nothing_is_in_the_way(three_releases: Path, tmp_path: Path):
    ends, step = [], 0
    shadow = shadow_report(tmp_path / "s", Release.read(three_releases, "r1"), Release.read(three_releases, "r2"))
    while not ends or ends[-1] != "done":
        step += 1
        root = shutil.copytree(three_releases, tmp_path / str(step) / "root")
        died = killed_at(step, root, shadow)
        now = live_name(root)
        assert now in ("r1", "r2") and (died or now == "r2")
        if now == "r1":
            promote_release(root, "r2", shadow)
        roll_back(root, "after the kill")  # what was not written of the switch is written by the next
        assert [told["change"] for told in switches(root)] == [1, 2, 3] and problems(root) == []
        assert len(done(root, "promote")) == 2
        ends.append(now if died else "done")
    assert {"r1", "r2"} <= set(ends), ends
