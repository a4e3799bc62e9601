"""The command line: a file a group of commands; every failure is one line (guard.py lists the exit codes)."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Entry point: runs a command, prints any failure as one line, and exits with its code."""
    from unoise_engine.cli.app import app
    from unoise_engine.cli.guard import guarded

    arguments = [a for a in sys.argv[1:] if a != "--debug"]  # accepted anywhere on the line
    text = " ".join(arguments)
    sys.exit(
        guarded(
            lambda: app(args=arguments, prog_name="unoise_engine", standalone_mode=False),
            json_lines="--progress json" in text or "--progress=json" in text,
            debug=len(arguments) < len(sys.argv) - 1,
        )
    )
