"""Work that one process at a time may do: a case of a batch, a training in its folder.

The operating system holds the lock, so it ends with its process however that dies: there are no stale locks to find.
Lock files are removed by whoever held them last; one that a killed run left behind is simply taken again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unoise_engine.errors import Environment
from unoise_engine.file_lock import POLL_SECONDS, NoLocks, take
from unoise_engine.files import remove_empty

FOLDER = ".locks"  # in the output folder


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def held(out: Path, name: str, wait_s: float = 0.0) -> Iterator[None]:
    """Holds the lock `name` of the output folder `out`. Raises Busy if another process still has it after `wait_s`.

    Raises Environment where the file system has no locks.
    """
    path = out / FOLDER / name
    deadline = time.monotonic() + wait_s
    while (handle := _taken(path)) is None:
        if time.monotonic() >= deadline:
            raise Busy(name)
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        _drop(handle, path)


def is_held(out: Path, name: str) -> bool:
    try:
        with held(out, name):
            return False
    except Busy:
        return True


def any_held(out: Path, but: str = "") -> bool:
    """Whether another run is at work in this output folder; `but` is the name of a lock of one's own.

    What killed runs left of their locks goes.
    """
    try:
        names = os.listdir(out / FOLDER)
    except OSError:
        return False
    if not names:  # killed before it made the first one
        with suppress(OSError):
            remove_empty(out / FOLDER)
    return any([is_held(out, name) for name in names if name != but])  # each is looked at: that tidies it away


def _taken(path: Path) -> int | None:
    try:
        return take(path)
    except NoLocks as error:
        what = f"its file system has no locks ({error.strerror})"
        raise Environment(path.parent.parent, what, "choose an output folder on another disk") from None


def _drop(handle: int, path: Path) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there
        os.close(handle)
        with suppress(OSError):
            remove_empty(path)
    else:
        with suppress(FileNotFoundError):
            remove_empty(path)  # while it is still ours; whoever waits for it sees that it is gone
        os.close(handle)
    with suppress(OSError):
        remove_empty(path.parent)
