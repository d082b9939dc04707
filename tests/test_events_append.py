"""Appending to the event store: what is taken, what is refused and why, and what happens when the disk does not take it."""

import asyncio
import errno
import json
import os
import resource
import threading

import pytest

from event_worlds import QUIET, ids, save, stored
from navigator.contracts import UserError, publish
from navigator.events import segment as segment_module
from navigator.events.compact import compact
from navigator.events.event import AHEAD_S, BEHIND_S
from navigator.events.folder import segments
from navigator.events.store import EventStore, Limits
from navigator.refusal import Refusal

NOW = 1_700_000_000.0


def opened(folder, **limits) -> EventStore:
    return EventStore.open(folder, limits=Limits(**{"compact_s": 0, **limits}), clock=lambda: NOW)


def test_events_are_lines_on_the_disk_when_the_answer_is_there(tmp_path):
    with opened(tmp_path / "s") as store:
        answer = store.append(
            [{"kind": "save", "user_id": "ann", "item_id": "i1", "board_id": "b"}], system="v1", request_id="r"
        )
        line = json.loads(segments(tmp_path / "s")[0].read_text())
    assert (answer.accepted, answer.duplicates, answer.refused) == (1, 0, ())
    assert line == {
        "event_id": answer.ids[0], "user_id": "ann", "system": "v1", "kind": "save", "item_id": "i1", "board_id": "b",
        "request_id": "r", "at": NOW, "received_at": NOW,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("save", "an event is an object"),
        (save("ann", price=3), "unknown field 'price'"),
        ({"kind": "save", "item_id": "i", "system": "v1"}, "user_id is missing"),
        ({"kind": "save", "item_id": "i", "user_id": "ann"}, "system is missing"),
        (save("ann", kind="like"), "kind is 'like'; allowed are impression, click, save, board_created"),
        ({"kind": "click", "user_id": "ann", "system": "v1"}, "item_id is missing; a click names one"),
        ({"kind": "board_created", "user_id": "ann", "system": "v1", "item_id": "i"}, "board_id is missing"),
        (save(""), "user_id has 0 characters"),
        (save("a" * 257), "user_id has 257 characters; allowed are 1 to 256"),
        (save("ann", event_id="e" * 129), "event_id has 129 characters"),
        (save("ann\n"), "user_id has control characters"),
        (save("ann", session="\ud800"), "session has control characters"),
        (save("ann") | {"user_id": 7}, "user_id is not text"),
        (save("ann", at="yesterday"), "at is not a number"),
        (save("ann", at=True), "at is not a number"),
        (save("ann", at=float("nan")), "at is not a number"),
        (save("ann", at=NOW + AHEAD_S + 1), "at is more than 10 minutes ahead"),
        (save("ann", at=NOW - BEHIND_S - 1), "at is more than 31 days ago"),
        (save("ann", received_at=NOW), "unknown field 'received_at'"),
    ],
)
def test_what_is_no_event_is_refused_by_index_and_the_rest_is_kept(tmp_path, event, reason):
    with opened(tmp_path / "s") as store:
        answer = store.append([save("ben", event_id="x"), event, save("ben", event_id="y", at=NOW + AHEAD_S)])
    assert answer.accepted == 2 and [index for index, _ in answer.refused] == [1]
    assert answer.refused[0][1].startswith(reason) and answer.ids == ("x", None, "y")
    assert ids(tmp_path / "s") == ["x", "y"]


def test_an_event_id_counts_once(tmp_path):
    """In one append, in later ones, after a restart and after compaction; another process's repeat is found on reading."""
    with opened(tmp_path / "s") as store:
        first = store.append([save("ann", event_id="a"), save("ben", event_id="a"), save("ann", event_id="b")])
        assert (first.accepted, first.duplicates) == (2, 1)
        other = opened(tmp_path / "s")  # as a second replica, which knows what was there when it was opened
        assert (
            store.append([save("ann", event_id="c")]).accepted
            == other.append([save("ann", event_id="c")]).accepted
            == 1
        )
        other.close()
    for prepare in (lambda folder: None, compact):
        prepare(tmp_path / "s")
        with opened(tmp_path / "s") as store:
            assert store.append([save("ann", event_id=name) for name in "abc"]).duplicates == 3
    assert sorted(ids(tmp_path / "s")) == ["a", "b", "c", "c"]  # each line is there
    rows = stored(tmp_path / "s")
    assert [row["user_id"] for row in rows if row["event_id"] == "a"] == ["ann"]


def test_ids_are_remembered_up_to_a_number_of_them(tmp_path):
    with opened(tmp_path / "s", remember=3) as store:
        store.append([save("ann", event_id=name) for name in "abcde"])
        assert store.append([save("ann", event_id=name) for name in "cde"]).duplicates == 3
        assert store.append([save("ann", event_id="b")]).accepted == 1
    with opened(tmp_path / "s", remember=2) as store:  # the latest two of the store: e, b
        assert store.append([save("ann", event_id=name) for name in "eb"]).duplicates == 2
        assert store.append([save("ann", event_id="d")]).accepted == 1


def test_appends_that_wait_share_a_flush(tmp_path, monkeypatch):
    flush, began, go = os.fdatasync, threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        began.set()
        go.wait(10)
        flush(descriptor)

    with opened(tmp_path / "s") as store:
        monkeypatch.setattr(segment_module.os, "fdatasync", slow)
        first = store.submit([save("ann")])
        assert began.wait(10)
        rest = [store.submit([save("ann")]) for _ in range(40)]
        assert not first.done() and not any(future.done() for future in rest)
        go.set()
        assert [future.result(10).accepted for future in (first, *rest)] == [1] * 41
        assert store.figures["groups"] == 2 and store.figures["accepted"] == 41


def test_a_full_disk_acknowledges_nothing_and_is_overcome(tmp_path):
    """A limit of the kernel on the size of files: the write that goes over it is cut short, then fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path / "s") as store:
        store.append([save("ann", event_id="before")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
        try:
            for _ in range(3):
                with pytest.raises(Refusal, match="none of these was kept, send them again") as refusal:
                    store.append([save("ann", event_id=f"e{n}", session="s" * 100) for n in range(50)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (refusal.value.status, refusal.value.code) == (503, "events_unavailable")
        assert refusal.value.headers["Retry-After"] and ids(tmp_path / "s") == ["before"]
        assert len(segments(tmp_path / "s")) == 1 and store.figures["failed"] == 150
        assert store.append([save("ann", event_id=f"e{n}") for n in range(50)]).accepted == 50
    assert len(ids(tmp_path / "s")) == 51


def test_a_failed_flush_acknowledges_nothing(tmp_path, monkeypatch):
    """What of it is on the disk is unknown: the file is left, and what is sent again goes into a new one."""
    with opened(tmp_path / "s") as store:
        store.append([save("ann", event_id="a")])

        def fails(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(segment_module.os, "fdatasync", fails)
        with pytest.raises(Refusal, match="Input/output error"):
            store.append([save("ann", event_id="b")])
        monkeypatch.undo()
        assert store.append([save("ann", event_id="b")]).accepted == 1 and len(segments(tmp_path / "s")) == 2
    assert sorted(ids(tmp_path / "s")) == ["a", "b"]


def test_too_many_at_once_too_many_waiting_and_a_closed_store(tmp_path):
    store = opened(tmp_path / "s", most=3, waiting=2)
    with pytest.raises(Refusal) as refusal:
        store.append([save("ann")] * 4)
    assert (refusal.value.status, refusal.value.code) == (400, "too_many_events")
    with pytest.raises(Refusal) as refusal:
        store.append([save("ann")] * 3)
    assert (refusal.value.status, refusal.value.code) == (429, "events_busy")
    assert store.append([save("ann")] * 2).accepted == 2 and store.append([]).accepted == 0
    store.close()
    with pytest.raises(Refusal) as refusal:
        store.append([save("ann")])
    assert (refusal.value.status, refusal.value.code) == (503, "events_unavailable")


def test_closing_writes_what_waits(tmp_path):
    store = opened(tmp_path / "s")
    futures = [store.submit([save("ann")]) for _ in range(100)]
    store.close()
    assert sum(future.result(0).accepted for future in futures) == 100 == len(ids(tmp_path / "s"))


def test_an_event_loop_may_stop_waiting(tmp_path):
    """A cancelled request does not stop the writer."""

    async def clients() -> int:
        waiting = [asyncio.ensure_future(store.append_async([save("ann")])) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[3].cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        return sum(not isinstance(answer, BaseException) and answer.accepted for answer in answers)

    with opened(tmp_path / "s") as store:
        assert asyncio.run(clients()) == 19
        assert store.append([save("ann")]).accepted == 1
    assert len(ids(tmp_path / "s")) == 21


def test_a_store_does_not_take_the_place_of_other_things(tmp_path):
    with publish(tmp_path / "catalog", "catalog", {}, {}):
        pass
    with pytest.raises(UserError, match="holds a catalog"):
        EventStore.open(tmp_path / "catalog", limits=QUIET)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        EventStore.open(tmp_path / "file", limits=QUIET)
