"""Every check for leaks passes on what the builder makes and fails on a planted leak."""

import shutil
from pathlib import Path

import pytest

from leak_worlds import (
    add_edge,
    leak_edge,
    leak_impression,
    leak_interest,
    leak_late_impression,
    leak_order,
    leak_pair,
    leak_sequence,
    leak_signal,
    leak_unseen,
    spoil_negative,
)
from stats_worlds import checks


def test_what_the_builder_makes_passes_every_check(home: Path):
    last, cut = checks(home, home / "last"), checks(home, home / "cut")
    assert not [check for check in (*last.values(), *cut.values()) if check.found]
    asked = {name for name, check in last.items() if check.verdict == "pass"}
    asked |= {name for name, check in cut.items() if check.verdict == "pass"}
    assert set(last) == asked
    two = checks(home, home / "last-two")
    assert not [check for check in two.values() if check.found]
    assert two["users whose held-out saves are not their last in time"].checked == 6
    none = checks(home, home / "closed")["co-saves that no training owner made"]
    assert none.verdict == "pass"  # all are looked at, though the purpose may see none of them
    assert last["saves and edges after the cut"].verdict == "nothing to check"


LEAKS = {
    "held-out saves among the training saves of next-item": ("last", leak_sequence),
    "held-out saves among the edges holds": ("last", leak_edge("holds", "board-completion", "board")),
    "held-out saves among the edges saved": ("last", leak_edge("saved", "next-item", "user")),
    "edges saved that are no training save": ("last", lambda folder: add_edge(folder, "saved", (0, 47, 5))),
    "co-saves that no training owner made": ("last", lambda folder: add_edge(folder, "co_saved", (0, 47, 5))),
    "held-out saves that an item's interests tell": ("last", leak_interest),
    "items of signal next-item that are no training save of their owner": ("last", leak_signal("next-item")),
    "items of signal board-completion that are no training save of their owner": (
        "last",
        leak_signal("board-completion"),
    ),
    "items of signal board-title that are no training save of their owner": ("last", leak_signal("board-title")),
    "co-save pairs that no path of training saves joins": ("last", leak_pair),
    "hard negatives that share a training board with their item": ("last", spoil_negative),
    "impressions of an item that the user saved": ("last", leak_impression("test")),
    "impressions not before what is held out of the user": ("last", leak_late_impression),
    "users whose held-out saves are not their last in time": ("last", leak_order),
    "unseen boards in the graph": ("last", leak_unseen),
    "saves and edges after the cut": ("cut", leak_edge("saved", "next-item", "user", at=900_000)),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found(name: str, home: Path, tmp_path: Path):
    built, leak = LEAKS[name]
    shutil.copytree(home / built, tmp_path / "graph")
    leak(tmp_path / "graph")
    found = checks(home, tmp_path / "graph")[name]
    assert found.verdict == "fail" and 1 <= found.found <= found.checked
