"""matplotlib, first imported here, so that it leaves nothing in the user's home."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from unoise_engine.errors import Environment, MissingExtra


def load_matplotlib() -> ModuleType:
    """Called before anything else of matplotlib is imported. Raises MissingExtra, or Environment without a temporary
    folder."""
    if "MPLCONFIGDIR" not in os.environ and "matplotlib.font_manager" not in sys.modules:
        with _nowhere():
            return _imported()
    return _imported()  # the user says where its files go, or the calling program has loaded it before


def _imported() -> ModuleType:
    try:
        import matplotlib.font_manager
    except ImportError:
        raise MissingExtra("matplotlib", "plot") from None
    return matplotlib


@contextmanager
def _nowhere() -> Iterator[None]:
    """Meanwhile matplotlib's own folder, for settings and its list of fonts, is an empty one that is then removed; and
    no program is found, so that those which list the system's fonts (and keep caches of their own) do not run. Our
    pictures use the fonts inside matplotlib."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="unoise-", ignore_cleanup_errors=True)
    except OSError as error:
        cure = "set TMPDIR to a folder that can be written"
        raise Environment("the temporary folder", f"cannot be used ({error.strerror})", cure) from None
    before = {name: os.environ.get(name) for name in ("MPLCONFIGDIR", "PATH")}
    with folder as path:
        os.environ.update(dict.fromkeys(before, path))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
