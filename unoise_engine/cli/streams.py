"""Standard output and error as shells hand them over: read by nobody any more, on a full disk, or not there at all."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from unoise_engine.errors import Environment

# What a pipe says that nobody reads any more; Windows has no word of its own for it.
NOBODY_READS = {errno.EPIPE, errno.EINVAL} if sys.platform == "win32" else {errno.EPIPE}


class NobodyReads(BaseException):
    """`| head -1` has read enough. No Exception, so that it ends the work as Ctrl-C does."""


class _Stream:
    """A stream of text. What goes wrong with it is no OSError, so that nobody takes it for a fault of the results."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._stream, attribute)

    def write(self, text: str) -> int:
        return self._do(lambda: int(self._stream.write(text)))

    def flush(self) -> None:
        self._do(lambda: int(self._stream.flush() or 0))

    def _do(self, act: Callable[[], int]) -> int:
        try:
            return act()
        except OSError as error:
            if error.errno in NOBODY_READS:
                raise NobodyReads from None
            cure = "send it to a terminal, a pipe or a disk with space"
            raise Environment(self._name, f"cannot be written ({error.strerror})", cure) from None


@contextmanager
def own_streams() -> Iterator[None]:
    """Meanwhile `sys.stdout` and `sys.stderr` raise NobodyReads and Environment, never OSError. Lines go at once."""
    _open_all()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding lacks is spelt, and ends no run
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    sys.stdout, sys.stderr = (_Stream(s, f"standard {name}") for s, name in zip(before, ("output", "error")))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            _let_go(stream)


def _open_all() -> None:
    """What the caller closed is opened on nothing, or the next file that is opened would become standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        with suppress(OSError):
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _let_go(stream: Any) -> None:
    """What cannot be said is dropped, or Python would complain about it when it ends."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
