"""A lock on an open file. The operating system ends it with its process, however that dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

POLL_SECONDS = 0.05
FAR = 1 << 30  # Windows lets nobody else read or write the byte that is locked, so that is one which no file has


class NoLocks(OSError):
    """The file system knows no locks."""


def take(path: Path, make: bool = True) -> int | None:
    """A handle of the file, which is locked, or None if another process has it. Raises OSError, NoLocks.

    File and folder are made; without `make` FileNotFoundError is raised where there is none.
    """
    while True:
        try:
            if make:
                path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | make * os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except (FileNotFoundError, FileExistsError):
            if make:
                continue  # the folder was tidied away in between
            raise
        except PermissionError:
            if sys.platform == "win32":
                return None  # just being removed by its last holder
            raise
        try:
            if not _lock(handle):
                os.close(handle)
                return None
            if sys.platform == "win32" or _same_file(handle, path):
                return handle
        except OSError as error:
            os.close(handle)
            raise NoLocks(error.errno, error.strerror, str(path)) from None
        os.close(handle)  # its last holder removed it after we had opened it: take the new one


def _lock(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
    else:
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
