"""A server that follows: it switches once, keeps the old release where the new one fails, and lets go of what it left."""

import gc
import shutil
import threading
import time
import weakref
from pathlib import Path

import pytest

from navigator.contracts import UserError
from navigator.release.live import promote_release, roll_back
from navigator.release.watch import LiveRelease, Watcher, current_release


class Engine:
    """Answers with its release's name, as it was when it was opened."""

    def __init__(self, release: LiveRelease):
        self.name, self.words = release.name, (release.model / "data").read_text()


def until(true, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_current_release_names_the_folders(root: Path):
    live = current_release(root)
    assert (live.name, live.change, live.encoder, live.model) == ("r1", 1, None, root / "r1" / "model")
    assert live.vectors.is_dir() and live.index.is_dir() and live.catalog == Path("c")


def test_nothing_live_and_another_release_than_was_promoted_are_said(root: Path):
    shutil.rmtree(root / "r1")
    shutil.move(root / "r2", root / "r1")
    with pytest.raises(UserError, match=r"release .*r1 is \w+, but \w+ went live"):
        current_release(root)
    (root / "current.json").unlink()
    with pytest.raises(UserError, match="nothing is live in"):
        current_release(root)


def test_it_follows_without_being_asked(root: Path):
    watcher, used = Watcher(root, Engine, poll_s=0.005), []
    watcher.start(lambda engine: used.append(engine.name))
    promote_release(root, "r2", force="x")
    until(lambda: watcher.current.engine.name == "r2")
    assert watcher.current.engine.words == "model of r2" and watcher.current.release.change == 2
    roll_back(root, "y")
    until(lambda: watcher.current.release.change == 3)
    watcher.close()
    assert used == ["r2", "r1"] and watcher.failed is None


def test_an_unchanged_pointer_costs_no_reading(root: Path, monkeypatch: pytest.MonkeyPatch):
    watcher, read = Watcher(root, Engine, poll_s=0.001), []
    monkeypatch.setattr("navigator.release.watch.read_live", lambda root: read.append(root))
    watcher.start(lambda engine: None)
    time.sleep(0.05)
    watcher.close()
    assert read == []


def test_what_cannot_be_opened_leaves_the_old_one_and_is_tried_again(root: Path, caplog: pytest.LogCaptureFixture):
    broken, tried = {"r2"}, []

    def open_release(release: LiveRelease) -> Engine:
        tried.append(release.name)
        if release.name in broken:
            raise RuntimeError("out of memory")
        return Engine(release)

    watcher = Watcher(root, open_release, poll_s=0.002)
    watcher.start(lambda engine: None)
    promote_release(root, "r2", force="x")
    until(lambda: watcher.failed is not None)
    assert watcher.current.engine.name == "r1" and "out of memory" in caplog.text
    assert watcher.failed is not None and watcher.failed.reason == "RuntimeError: out of memory"
    time.sleep(0.03)
    assert tried == ["r1", "r2"], "once, until the pointer changes"
    broken.clear()
    assert watcher.look().engine.name == "r2" and watcher.failed is None
    watcher.close()


def test_a_missing_pointer_leaves_the_old_one(root: Path):
    watcher = Watcher(root, Engine)
    (root / "current.json").unlink()
    assert watcher.look().engine.name == "r1" and watcher.failed is not None


def test_what_was_rolled_back_while_it_was_opened_never_answers(root: Path):
    used, opened = [], []

    def open_release(release: LiveRelease) -> Engine:
        opened.append(release.name)
        if opened == ["r1", "r2"]:
            roll_back(root, "found out")
        return Engine(release)

    watcher = Watcher(root, open_release, poll_s=0.002)
    watcher.start(lambda engine: used.append(engine.name))
    promote_release(root, "r2", force="x")
    until(lambda: watcher.current.release.change == 3)
    watcher.close()
    assert opened == ["r1", "r2"] and used == [] and watcher.current.engine.name == "r1"


def test_requests_in_flight_keep_the_old_engine_and_the_last_one_lets_it_go(root: Path):
    watcher = Watcher(root, Engine)
    begun, end, answers = threading.Event(), threading.Event(), []

    def request() -> None:
        held = watcher.current
        begun.set()
        end.wait()
        answers.append((held.release.name, held.engine.name))

    asking = threading.Thread(target=request)
    asking.start()
    begun.wait()
    old = weakref.ref(watcher.current.engine)
    gc.disable()
    try:
        promote_release(root, "r2", force="x")
        assert watcher.look().engine.name == "r2" and old() is not None
        end.set()
        asking.join()
        until(lambda: old() is None)
    finally:
        gc.enable()
    assert answers == [("r1", "r1")]
