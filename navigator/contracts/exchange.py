"""Two folders trade names at once, so that nobody who opens one of them ever finds it missing.

Linux does it in one system call (renameat2 with RENAME_EXCHANGE). Elsewhere, and on file systems without it, it takes
renames one after the other, between which the second name is missing for a moment.
"""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def exchange(first: Path, second: Path) -> None:
    """Give two existing paths of one file system each other's name.

    Raises:
        OSError: one of them is missing, or they lie on different file systems.
    """
    if not _exchange_at_once(first, second):
        aside = first.with_name(first.name + ".aside")
        first.rename(aside)
        second.rename(first)
        aside.rename(second)


def _exchange_at_once(first: Path, second: Path) -> bool:
    """By the system call; False where there is none."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))
