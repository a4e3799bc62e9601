"""Whether a file was opened by anybody, on Linux (inotify)."""

import ctypes
import os
from pathlib import Path

OPENED = 0x20


class Watch:
    """`opened()` is true if one of the files was opened since it was last asked."""

    def __init__(self, *files: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK)
        for file in files:
            if libc.inotify_add_watch(self._events, os.fsencode(file), OPENED) < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), file)

    def opened(self) -> bool:
        try:
            return bool(os.read(self._events, 4096))
        except BlockingIOError:
            return False
