"""What the tests of the event store share: events in few words, and a writer that is killed while it acknowledges."""

import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import yaml

from graph.policy import DEFAULT
from navigator.events.compact import compact
from navigator.events.reading import reading
from navigator.events.store import EventStore, Limits

QUIET = Limits(compact_s=0)  # nothing happens by itself


def save(user: str, item: str = "i1", **more: Any) -> dict[str, Any]:
    return {"kind": "save", "user_id": user, "item_id": item, "system": "v1", **more}


def stored(store: Path, purpose: str = "build") -> list[dict[str, Any]]:
    """Every row, in the order of arrival."""
    with reading(store, purpose) as events:
        return events.db.sql("SELECT * FROM stored ORDER BY number").to_arrow_table().to_pylist()


def ids(store: Path, purpose: str = "build") -> list[str]:
    return [row["event_id"] for row in stored(store, purpose)]


def write_policy(path: Path, **changes: dict[str, Any]) -> Path:
    """The default policy with some rules of some purposes changed."""
    said = yaml.safe_load(DEFAULT.read_text())
    for purpose, rules in changes.items():
        said["purposes"][purpose] |= rules
    path.write_text(yaml.safe_dump(said))
    return path


def _write(folder: Path, told: int, known: list[str], number: int) -> None:
    """Four threads append events of one to three and tell which were acknowledged, until somebody kills the process."""
    store = EventStore.open(folder, limits=Limits(segment_bytes=4_000, compact_s=0.02))

    def client(name: str) -> None:
        again = known if name.endswith("-0") else []
        for event_id in again:  # what was never answered is sent again
            store.append([save(name, event_id=event_id)])
            os.write(told, f"{event_id}\n".encode())
        for turn in range(1_000_000):
            mine = [f"{name}-{turn}-{part}" for part in range(1 + turn % 3)]
            os.write(told, "".join(f"?{event_id}\n" for event_id in mine).encode())
            store.append([save(name, event_id=event_id, session="s" * 50) for event_id in mine])
            os.write(told, "".join(f"{event_id}\n" for event_id in mine).encode())

    clients = [threading.Thread(target=client, args=(f"k{number}-{n}",)) for n in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()


def kill_rounds(folder: Path, rounds: int, seed: int) -> None:
    """Writers one after another, each killed soon after its first answer; prints what they told on stdout."""
    chance, open_ids = random.Random(seed), list[str]()
    with EventStore.open(folder, limits=QUIET) as store:
        store.append([save("ann", event_id="first")])
    compact(folder)  # once before forking: what Parquet imports takes longer than a round
    for number in range(rounds):
        reader, told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _write(folder, told, open_ids, number)
            finally:
                os._exit(1)
        os.close(told)
        with os.fdopen(reader, "rb") as handle:
            said = handle.readline()
            threading.Timer(0.05 + chance.random() * 0.3, os.kill, (child, signal.SIGKILL)).start()
            said += handle.read()
        assert _ended(child) == -signal.SIGKILL, "the writer ended by itself"
        lines = said.decode().splitlines()
        whole = {line for line in lines if not line.startswith("?")}
        open_ids = [line[1:] for line in lines if line.startswith("?") and line[1:] not in whole]
        print(*sorted(whole), sep="\n", flush=True)


def kill_steps(folder: Path, steps: list[str]) -> None:
    """Compact FOLDER/STEP for each step, and be killed at that step of it."""
    for step in steps:

        def at_step(name: str, step: str = step) -> None:
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            try:
                compact(folder / step, at_step=at_step)
            finally:
                os._exit(1)
        assert _ended(child) == -signal.SIGKILL, f"the compaction did not come to {step}"


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if sys.argv[1] == "rounds":
        kill_rounds(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        kill_steps(Path(sys.argv[2]), sys.argv[3:])
