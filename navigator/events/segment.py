"""The one file that a writer appends to: whole groups of lines, each on the disk before anybody is told so."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from navigator.events.folder import SEGMENTS, lock_file, sync_folder


class Segment:
    """A new file with a name of its own, held for as long as it is open, so that no two processes share one.

    Args:
        folder: of the store.
        listed: bytes of the list of forgotten people that the writer knows; the end of the name.

    Attributes:
        path: of the file.
        size: bytes that are on the disk.
        begun: time.monotonic() of its making.
    """

    def __init__(self, folder: Path, listed: int):
        self.path, self._descriptor = _new_file(Path(folder) / SEGMENTS, listed)
        self.size, self.begun = 0, time.monotonic()

    def append(self, lines: bytes) -> None:
        """Write and flush to the disk.

        Raises:
            OSError: the disk is full, read-only or broken. The file is cut back and closed then: what of a failed flush
                is on the disk cannot be known, so nothing may follow it.
        """
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            self.close()
            raise
        self.size += len(lines)

    def close(self) -> None:
        """Let go of the file, which may be compacted now; an empty one is removed. Twice is once."""
        if self._descriptor < 0:
            return
        with suppress(OSError):  # a disk that is read-only keeps an empty file, which hurts nobody
            if os.fstat(self._descriptor).st_size == 0:
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def _new_file(folder: Path, listed: int) -> tuple[Path, int]:
    """A file that is ours: made, held, and still there once it is held (who compacts may have come between)."""
    while True:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = folder / f"{stamp}-{os.getpid()}-{secrets.token_hex(4)}-{listed}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            if lock_file(descriptor, shared=False, wait=False) and os.fstat(descriptor).st_nlink:
                sync_folder(folder)
                return path, descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
