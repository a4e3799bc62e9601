"""Sentences without names: what was found wrong with a file, fit for reports that are handed on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

HIDDEN = "<file>"


def hider(source: Path, files: Iterable[Path]) -> Callable[[str], str]:
    """A function that takes this case's paths, and every name in them, out of a sentence."""
    whole: set[str] = set()
    for path in (source, source.absolute(), source.resolve(), *files):
        whole |= {str(path), *(str(p) for p in path.parents), *path.parts, path.stem, path.name.removesuffix(".nii.gz")}
    # Longest first, so that a whole path goes before its parts; two letters or fewer name nobody, and "/" is no name.
    names = sorted((n for n in whole if len(n.strip("/\\.")) > 2), key=len, reverse=True)
    if not names:
        return str
    pattern = re.compile("|".join(rf"(?<![A-Za-z0-9]){re.escape(n)}(?![A-Za-z0-9])" for n in names))
    again = re.compile(rf"{re.escape(HIDDEN)}(?:[/\\]?{re.escape(HIDDEN)})+")
    return lambda text: again.sub(HIDDEN, pattern.sub(HIDDEN, text))
