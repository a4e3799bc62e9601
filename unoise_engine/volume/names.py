"""Names for folders of results, safe on every file system, and paths that a library can take."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

LONGEST = 80
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # what `safe_id` and `distinct` give
FOLDERS = {"private", "viewer"}  # our own, beside the cases
RESERVED = FOLDERS | {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}  # on Windows


def safe_id(name: str) -> str:
    """Letters, digits, dot, dash and underscore only, no leading dot or dash, at most 80 characters.

    Accents go; a name of which too little is left, or that was cut, gets a short digest of the original.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    short = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).lstrip(".-_").rstrip("._-")
    lost = 2 * sum(c.isalnum() for c in short) < sum(c.isalnum() for c in name)
    if not short or lost or len(short) > LONGEST:
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        short = f"{short[: LONGEST - 9] or 'case'}-{digest}"
    if short.split(".")[0].lower() in RESERVED:
        short = f"case-{short}"
    return short


def distinct(ids: Iterable[str]) -> list[str]:
    """The ids in order, with -2, -3 ... behind those that are taken; A and a count as one name."""
    taken: set[str] = set()
    result = []
    for one in ids:
        name, k = one, 2
        while name.lower() in taken:
            name, k = f"{one}-{k}", k + 1
        taken.add(name.lower())
        result.append(name)
    return result


def for_itk(path: Path) -> str:
    """The path as SimpleITK takes it: text of which it makes UTF-8. Anything else ends the process without a word.

    Python decodes file names by the locale, and keeps what it cannot decode in a way of its own. Raises OSError.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "its name is no UTF-8") from None
