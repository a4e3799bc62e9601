"""A sign of life for the program that started the engine; and an end, should that program be gone.

A program that is killed closes its ends of our pipes. Whoever waits for a question sees that, and whoever tells of
progress does; work that says nothing for hours, or hangs, would go on without anybody knowing.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from unoise_engine.cli.guard import NOBODY_READS
from unoise_engine.cli.streams import NobodyReads
from unoise_engine.errors import Signalled
from unoise_engine.progress import JsonLines

BEAT_SECONDS = 15.0
GRACE_SECONDS = 10.0  # for tidying up


@contextmanager
def heartbeat() -> Iterator[None]:
    """Meanwhile the event "alive" stands on standard output from time to time. Once nobody reads it any more the work
    is ended as by a signal, and if it does not end, this process is, with those that it started."""
    over, gone = threading.Event(), threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            try:
                JsonLines().event("alive")
            except NobodyReads:
                gone.set()
                _thread.interrupt_main(signal.SIGTERM)
                if not over.wait(GRACE_SECONDS):
                    _end()
            except Exception:  # a full disk, say: the work itself will find out
                return

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    except Signalled:
        if gone.is_set():
            raise NobodyReads from None
        raise
    finally:
        over.set()


def _end() -> None:
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():  # as the module for Slicer starts us
        os.killpg(0, signal.SIGKILL)
    os._exit(NOBODY_READS)
