"""What training reads again and again, computed once and memory-mapped: features, token ids, decoded pictures.

A store is filled block by block, with a note of how far it got, so that an interrupted run goes on; only a full store gets
its final name.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm


def filled(
    path: Path, n: int, dtype: np.dtype, blocks: Callable[[int], Iterator[np.ndarray]], label: str
) -> np.ndarray:
    """A memory-mapped (n,) array of records at `path`, computed if it is not there.

    Args:
        path: the .npy file.
        n: number of rows.
        dtype: type of a row; a structured type keeps what belongs together in one file.
        blocks: from a row number, the rows from there on, block after block.
        label: of the progress bar.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside, note = path.with_suffix(".part"), path.with_suffix(".rows")
        done = int(note.read_text()) if beside.is_file() and note.is_file() else 0
        store = np.lib.format.open_memmap(beside, "r+" if done else "w+", dtype, (n,))
        with tqdm(total=n, initial=done, desc=label, unit="row", smoothing=0, mininterval=2) as bar:
            for block in blocks(done):
                store[done : done + len(block)] = block
                store.flush()
                done += len(block)
                note.write_text(str(done))
                bar.update(len(block))
        beside.replace(path)
        note.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)
