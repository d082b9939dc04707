"""Events are personal: read for a purpose, kept as long as the policy says, forgotten on demand, and all of it audited."""

import threading

import pyarrow.parquet as pq
import pytest

from event_worlds import QUIET, ids, save, stored, write_policy
from graph.audit import audit_path, read_audit, verify_audit
from navigator.cli import main
from navigator.contracts import UserError
from navigator.events.commands import event_stats
from navigator.events.compact import compact
from navigator.events.event import SCHEMA
from navigator.events.folder import day_files, segments
from navigator.events.forget import forget_events
from navigator.events.reading import reading, state_of
from navigator.events.store import EventStore, Limits

DAY = 86_400.0


@pytest.fixture
def now() -> float:
    import time

    return time.time()


def store_of(folder, now: float, events: list[dict], policy=None) -> None:
    with EventStore.open(folder, policy, QUIET, lambda: now) as store:
        assert not store.append(events).refused


def test_a_purpose_reads_what_its_rules_allow(tmp_path, now):
    policy = write_policy(tmp_path / "p.yaml", bench={"edge_types": ["holds"]}, export={"fields": []})
    store_of(tmp_path / "s", now, [save("ann")], policy)
    with reading(tmp_path / "s", "train") as events:
        assert events.counts["rows"] == 1
    for purpose, said in (
        ("bench", "may not read edge type 'saved'"),
        ("export", "may not read"),
        ("sell", "has no purpose"),
    ):
        with pytest.raises(UserError, match=said), reading(tmp_path / "s", purpose):
            pass
        assert read_audit(audit_path(tmp_path / "s"))[-1]["outcome"] == "refused"
    with pytest.raises(UserError, match="made under another policy"):
        EventStore.open(tmp_path / "s", write_policy(tmp_path / "q.yaml"), QUIET)


def test_what_is_older_than_the_policy_keeps_is_not_read_and_then_deleted(tmp_path, now):
    policy = write_policy(tmp_path / "p.yaml", build={"retention_days": 3}, train={"retention_days": 5})
    old = [save("ann", event_id=f"{n}", at=now - n * DAY - 1) for n in range(8)]
    store_of(tmp_path / "s", now, old, policy)
    kept = ["0", "1", "2"]
    assert sorted(ids(tmp_path / "s")) == kept
    assert len(ids(tmp_path / "s", "train")) == len(kept) + 2
    state = state_of(tmp_path / "s", "build")
    done = compact(tmp_path / "s", now)
    days = [path.parent.name for path in day_files(tmp_path / "s")]
    assert (
        done.expired == 8 - len(days) and len(days) == 4
    )  # today and the three before, of which one is partly too old
    assert sorted(ids(tmp_path / "s")) == kept and state != state_of(tmp_path / "s", "build")
    assert compact(tmp_path / "s", now + 10 * DAY).expired == 4 and ids(tmp_path / "s") == []


def test_small_groups_are_withheld_from_statistics(tmp_path, now, capsys):
    few = [save(f"u{n}", system="new") for n in range(4)]
    store_of(tmp_path / "s", now, [save(f"u{n}", system="old") for n in range(5)] + few * 3)
    report = event_stats(tmp_path / "s")
    assert report["events"] == {"old": {"save": 5}} and report["withheld"] == 1
    assert event_stats(tmp_path / "s", "build")["events"] == {"new": {"save": 12}, "old": {"save": 5}}
    assert main(["events", "stats", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err and not audit_path(tmp_path / "none").exists()


def test_forgetting_one_person_leaves_nothing_of_them(tmp_path, now):
    mine = [
        save("ann", session="of ann"),
        {"kind": "board_created", "user_id": "ann", "board_id": "anns", "system": "v1"},
    ]
    others = [save("ben", board_id="anns"), save("eve", "ann"), save("annabel")]
    store_of(tmp_path / "s", now, mine + others)
    compact(tmp_path / "s")
    store_of(tmp_path / "s", now, [save("ann"), save("ben", event_id="last")])
    torn = segments(tmp_path / "s")[0]
    torn.write_bytes(torn.read_bytes() + b'{"user_id":"ann')
    report = forget_events("ann", tmp_path / "s")
    assert (report["removed"], report["boards"], report["board_names_removed"], report["found"]) == (3, 1, 1, {})
    for path in day_files(tmp_path / "s"):
        assert pq.ParquetFile(path).schema_arrow.equals(SCHEMA)
    rows = stored(tmp_path / "s")
    assert sorted((row["user_id"], row["board_id"], row["item_id"]) for row in rows if row["user_id"]) == [
        ("annabel", None, "i1"), ("ben", None, "i1"), ("ben", None, "i1"), ("eve", None, "ann"),  # an item of that name
    ]  # fmt: skip
    everything = b"".join(path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file())
    assert b'"ann' not in everything and b"anns" not in everything and b"of ann" not in everything
    log = audit_path(tmp_path / "s")
    assert b"ann" not in log.read_bytes() and not verify_audit(log)
    with EventStore.open(tmp_path / "s", limits=QUIET) as store:  # nor is anything more of them taken
        answer = store.append([save("ann"), save("ben")])
    assert answer.accepted == 1 and answer.refused[0] == (0, "this user_id was forgotten; nothing more is kept of it")


def test_forgetting_under_a_running_writer(tmp_path):
    """The writer holds a segment with the person in it and learns of the list by itself; nobody else loses anything."""
    stop, sent = threading.Event(), []
    with EventStore.open(tmp_path / "s", limits=Limits(compact_s=0.05)) as store:
        store.append([save("ann")])

        def others() -> None:
            while not stop.wait(0.002):
                sent.append(f"b{len(sent)}")
                store.append([save("ben", event_id=sent[-1])])

        thread = threading.Thread(target=others)
        thread.start()
        report = forget_events("ann", tmp_path / "s")
        stop.set()
        thread.join()
        assert report["removed"] == 1 and report["found"] == {}
        assert store.append([save("ann")]).accepted == 0
    assert sorted(ids(tmp_path / "s")) == sorted(sent)


def test_a_writer_that_does_not_answer_is_said(tmp_path, monkeypatch, capsys):
    from navigator.events import writer

    with EventStore.open(tmp_path / "s", limits=QUIET) as store:
        store.append([save("ann")])
        monkeypatch.setattr(writer.Writer, "_read_forgotten", lambda self: False)
        with pytest.raises(UserError, match="are still written after"):
            forget_events("ann", tmp_path / "s", wait_s=0.3)
        assert ids(tmp_path / "s") == []  # on the list: not handed out any more
    assert main(["events", "forget", "ann", str(tmp_path / "s")]) == 0 and "removed: 1" in capsys.readouterr().out
