"""kill -9: what was acknowledged is there exactly once, whatever the writer or the compaction was doing."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from event_worlds import QUIET, ids, save, stored
from navigator.events.compact import compact
from navigator.events.event import line_of
from navigator.events.folder import day_files, segments
from navigator.events.store import EventStore

ROOT = Path(__file__).parents[1]
ROUNDS = 12


def world(*arguments: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "event_worlds.py"), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path):
    """Four concurrent clients, compaction every 20 ms, segments of 4 kB, killed twelve times at random moments."""
    done = world("rounds", tmp_path / "store", ROUNDS, 7)
    assert done.returncode == 0, done.stderr[-3000:]
    acknowledged = {line for line in done.stdout.split() if not line.startswith("?")}
    assert len({name.split("-")[0] for name in acknowledged}) == ROUNDS and len(acknowledged) > 5 * ROUNDS
    assert len(day_files(tmp_path / "store")) > 1, "no compaction came in between"
    found = Counter(name for name in ids(tmp_path / "store") if name)
    assert acknowledged <= set(found) and set(found.values()) == {1}
    compact(tmp_path / "store")
    again = Counter(name for name in ids(tmp_path / "store") if name)
    assert again == found and not segments(tmp_path / "store")


def test_a_killed_compaction_neither_loses_nor_doubles(tmp_path):
    """Two days in one segment: when the first Parquet file is written, the other is not."""
    now, steps = 1_700_000_000.0, ["read", "written", "before removal", "removed"]
    for step in steps:
        with EventStore.open(tmp_path / step, limits=QUIET, clock=lambda: now) as store:
            store.append([save("ann", event_id=f"e{n}", at=now - 86_400 * (n % 2)) for n in range(10)])
    done = world("steps", tmp_path, *steps)
    assert done.returncode == 0, done.stderr[-3000:]
    for step in steps:
        folder = tmp_path / step
        assert bool(segments(folder)) == (step != "removed")
        assert len(day_files(folder)) == {"read": 0, "written": 1, "before removal": 2, "removed": 2}[step]
        assert sorted(ids(folder)) == [f"e{n}" for n in range(10)]
        assert compact(folder, now).events == (0 if step == "removed" else 10)
        assert sorted(ids(folder)) == [f"e{n}" for n in range(10)]
        assert len(day_files(folder)) == 2 and not segments(folder)
        with EventStore.open(folder, limits=QUIET, clock=lambda: now) as store:
            assert store.append([save("ann", event_id="e3", at=now)]).duplicates == 1


def test_a_torn_line_is_set_aside_and_counted(tmp_path):
    with EventStore.open(tmp_path / "store", limits=QUIET) as store:
        store.append([save("ann", event_id="a"), save("ben", event_id="b")])
    segment = segments(tmp_path / "store")[0]
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b'"kind"', b"\0\0\0\0\0\0", 1) + line_of({"event_id": "c"})[:-4])
    rows = [(None, "last line torn off"), (None, "line is no event"), ("b", None)]

    def seen() -> list:
        return sorted(((row["event_id"], row["damage"]) for row in stored(tmp_path / "store")), key=str)

    assert seen() == sorted(rows, key=str)
    done = compact(tmp_path / "store")
    assert (done.events, done.torn, done.damaged) == (1, 1, 1) and seen() == sorted(rows, key=str)
    with EventStore.open(tmp_path / "store", limits=QUIET) as store:  # opens, and takes again what was torn
        assert store.append([save("eve", event_id="c"), save("ben", event_id="b")]).accepted == 1
