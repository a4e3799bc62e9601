"""The temporary folder of one run. It holds a patient's CT, so it goes with the run - and, if Slicer was killed, at the
next start.

A lock on a file inside tells a folder in use from one left behind: the system opens it when the process dies, however
it dies. A number of a process would not do, for it is given out again. No Slicer and no Qt here.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

PREFIX = "unoise-slicer-"
NAME = re.compile(re.escape(PREFIX) + r"\w{8}")  # as tempfile makes them
LOCK = "in-use"
MARK = b"temporary folder of the U-Noise module\n"  # written once the lock is held


class Workspace:
    """A new folder that only this user can read. Raises OSError."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            self._lock = (self.folder / LOCK).open("xb")
            if _locked(self._lock):  # some network drives have no locks: a folder there is never swept
                self._lock.write(MARK)
                self._lock.flush()
        except OSError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def remove(self) -> None:
        """With everything in it. May be called twice."""
        self._lock.close()  # Windows removes no open file
        shutil.rmtree(self.folder, ignore_errors=True)


def sweep() -> list[Path]:
    """Removes the folders that runs of Slicers which are gone left in the temporary folder, and returns them.

    Ours alone: by name, by what the lock's file says, and only if the lock is free.
    """
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # of another user, or just gone
            if NAME.fullmatch(folder.name) and not folder.is_symlink() and _is_left_behind(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _is_left_behind(lock: Path) -> bool:
    if lock.is_symlink() or not lock.is_file():
        return False
    with lock.open("r+b") as file:  # closed before the folder is removed, see above
        return _locked(file) and file.read(len(MARK) + 1) == MARK


# The only lines that differ between systems. Tried on Linux; the branch for Windows has not run yet.


def _locked(file: IO[bytes]) -> bool:
    """Takes the lock, which lasts until the file is closed; False if another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 20)  # a byte that nobody reads: locked bytes cannot be read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
