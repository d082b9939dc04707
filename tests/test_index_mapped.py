"""An opened index is a map of its file: the same answers, no copy in the process, undisturbed when another takes its place."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from navigator.contracts import publish
from navigator.contracts.vectors import normalise, write_vectors
from navigator.index import KINDS, ItemIndex, write_index

N, DIM = 4_000, 64


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("mapped") / "vectors", seed=0)


def store(out: Path, seed: int) -> Path:
    values = normalise(np.random.default_rng(seed).normal(size=(N, DIM))).astype(np.float16)
    with publish(out, "vectors", {"encoder": "enc", "normalised": True, "seed": seed}, {}) as work:
        write_vectors(work.path, [f"i{n}" for n in range(N)], values)
    return out


def kilobytes(path: Path) -> dict[str, int]:
    """Size, Anonymous and the like of this process's maps of a file; nothing where it has none."""
    found: dict[str, int] = {}
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if "-" in name.split(" ")[0] and not line.split()[0].endswith(":"):
            inside = line.endswith(str(path))
        elif inside and rest.endswith(" kB"):
            found[name] = found.get(name, 0) + int(rest.split()[0])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_answers_from_a_map_of_the_file(kind: str, vectors: Path, tmp_path: Path):
    write_index(vectors, tmp_path / "index", kind)
    opened, file = ItemIndex.open(tmp_path / "index"), tmp_path / "index" / "index.faiss"
    read: Any = faiss.read_index(str(file))
    queries = normalise(np.random.default_rng(1).normal(size=(16, DIM))).astype(np.float32)
    scores, rows = read.search(queries, 10)
    found = opened.search(queries, 10)
    assert [[item for item, _ in own] for own in found] == [[f"i{row}" for row in own] for own in rows]
    assert np.array_equal([[score for _, score in own] for own in found], scores)
    if kind == "ivf":
        read.make_direct_map()
    assert np.array_equal(opened.vector("i7"), read.reconstruct(7))
    if not Path("/proc/self/smaps").is_file():
        pytest.skip("this system has no /proc/self/smaps")
    mapped = kilobytes(file)
    assert mapped["Size"] >= N * DIM * 4 // 1024 and mapped["Anonymous"] == 0


def test_an_open_index_is_the_old_one_when_another_takes_its_place(vectors: Path, tmp_path: Path):
    home = store(tmp_path / "vectors", seed=0)
    write_index(home, tmp_path / "index", "flat")
    opened = ItemIndex.open(tmp_path / "index")
    before = opened.vector("i7")
    write_index(store(home, seed=9), tmp_path / "index", "flat")
    assert np.array_equal(opened.vector("i7"), before)
    assert not np.array_equal(ItemIndex.open(tmp_path / "index").vector("i7"), before)
