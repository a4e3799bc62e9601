"""OUT/private/messages.txt: what was said of inputs that were skipped, refused or failed, with names of files.

Terminals, and logs of a cluster's jobs, are read by many; they get the same sentences without names.
"""

from __future__ import annotations

import os
from pathlib import Path

from unoise_engine.errors import printable
from unoise_engine.files import grow

MESSAGES = Path("private", "messages.txt")


def keep(out: Path, sentence: str) -> None:
    """Adds a line. The folder `private` is there. Raises OSError, and Environment for a file that is not ours."""
    handle = grow(out / MESSAGES, 0o600)
    try:
        os.write(handle, f"{printable(sentence)}\n".encode())
    finally:
        os.close(handle)
