"""A Python process of our own code: how it is started, and with what around it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DEBUG = "UNOISE_DEBUG"  # set for --debug


def usable_cores() -> int:
    """Those that this process may use: a cluster's scheduler often grants only some of a machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def debugging() -> bool:
    """Whether tracebacks are shown."""
    return bool(os.environ.get(DEBUG))


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs `module.main()`. -P: a folder named numpy in the working directory is not run."""
    return [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments]


def environment() -> dict[str, str]:
    """Ours, with the place of this very package first, so that the process runs the same code."""
    home = str(Path(__file__).parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
