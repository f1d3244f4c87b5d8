"""A lock between processes, held on a file and let go by the operating system when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

POLL_SECONDS = 0.1


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock file ``path``, waiting while another process or thread holds it; the file is removed afterwards.

    Arguments:
        path: the lock file; its directory must exist.
        on_wait: called once, if there is a wait.

    Yields:
        True, or False where the file system has no locks; the caller is then not alone.
    """
    waited = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _try_lock(descriptor)
            # The holder before may have removed the file after it was opened here: then this lock guards nothing.
            if locked is None or (locked and _is_at(descriptor, path)):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not locked:
            if not waited:
                on_wait()
            waited = True
            time.sleep(POLL_SECONDS)
    try:
        yield bool(locked)
    finally:
        # POSIX removes the file first, while still alone. Windows refuses to remove an open one.
        with suppress(OSError):
            os.unlink(path)
        os.close(descriptor)
        if sys.platform == "win32":
            with suppress(OSError):
                os.unlink(path)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool | None:
    """True: locked. False: someone else holds it. None: this file system has no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK):
            return False
        return None
    return True
