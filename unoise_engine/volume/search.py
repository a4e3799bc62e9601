"""Looking through folders: each file below once, never twice round a loop, no more than a bound, and whoever waits is
told how far it has come - also while a network disk does not answer."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unoise_engine.errors import CaseRefused, Signalled

MOST_FILES = 1_000_000  # below one folder that was given; a thousand CTs of a thousand slices
FIRST_SECONDS = 10.0  # of silence; most searches are over by then
EVERY_SECONDS = 30.0
WAITS_SECONDS = 10.0  # for one file, before it is called a disk that does not answer

Watch = Callable[[int, float], None]


def say(files: int, waits: float) -> None:
    """The usual `Watch`, on standard error: how many files were looked at, and for how many seconds none was."""
    still = f"; the disk has not answered for {waits:.0f} s" if waits > WAITS_SECONDS else ""
    print(f"looking for images: {files} files so far{still}", file=sys.stderr, flush=True)


class Search:
    """One search; it counts the files."""

    def __init__(self, folder: Path):
        self.folder, self.files, self.listed, self.last = folder, 0, 0, time.monotonic()

    def walk(
        self, unreadable: Callable[[OSError], None], again: Callable[[Path], None]
    ) -> Iterator[tuple[Path, list[str], list[str]]]:
        """As os.walk: each folder, its folders, which the caller sorts and thins out, and its files.

        A folder that comes again under another name, by a junction or a mount within itself, is told and left out.
        Raises CaseRefused TOO_MANY_FILES.
        """
        left, seen = [self.folder], set[tuple[int, int]]()
        while left:
            home, folders, names = left.pop(), list[str](), list[str]()
            try:
                status = os.stat(home)
                if status.st_ino and (status.st_dev, status.st_ino) in seen:
                    again(home)
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(home) as entries:
                    for entry in entries:
                        (folders if _is_folder(entry) else names).append(entry.name)
                        self._list()
            except OSError as error:
                unreadable(error)
                continue
            yield home, folders, names
            left += [home / name for name in reversed(folders)]

    def count(self) -> None:
        """One more file was looked at."""
        self.files, self.last = self.files + 1, time.monotonic()

    @contextmanager
    def told(self, watch: Watch) -> Iterator[None]:
        """Meanwhile `watch` is called from time to time, from a thread of its own: a disk may hold this one up."""
        over = threading.Event()

        def tell() -> None:
            pause = FIRST_SECONDS
            while not over.wait(pause):
                try:
                    watch(self.files, time.monotonic() - self.last)
                except BaseException:  # nobody reads any more: the search itself will find out
                    return
                pause = EVERY_SECONDS

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        except Signalled as stop:
            stop.what, stop.cure = f"while images were looked for ({self.files} files so far)", "run it again"
            raise
        finally:
            over.set()
            thread.join(timeout=1)

    def _list(self) -> None:
        self.listed, self.last = self.listed + 1, time.monotonic()
        if self.listed > MOST_FILES:
            what = f"holds more than {MOST_FILES} files and folders"
            raise CaseRefused("TOO_MANY_FILES", self.folder, what, "give the folders that hold the CTs, one by one")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
