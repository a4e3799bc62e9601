"""`--log FILE`: what a run says, with the time, in a file that grows. As on the terminal, without names of files."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Annotated

import typer

from unoise_engine import __version__
from unoise_engine.errors import Environment

LOG = logging.getLogger("unoise_engine")
LOG.addHandler(logging.NullHandler())  # without --log nothing is kept, and nothing printed twice
Log = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="Also write what is said to this file, with the time.")
]


def keep_log(path: Path | None) -> None:
    """Raises Environment if it cannot be written."""
    if path is None:
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise Environment(f"--log {path}", f"cannot be written ({error.strerror})", "choose another file") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.info("unoise_engine %s, Python %s, %s", __version__, platform.python_version(), platform.platform())
