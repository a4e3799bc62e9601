"""Axial slices as people count them: from 1 at the feet, the last one included."""

from __future__ import annotations

from unoise_engine.errors import Usage


def slice_range(text: str, option: str = "--slices") -> tuple[int, int] | None:
    """A:B as people count -> as arrays do, from 0 and without the last; None for no text. Raises Usage."""
    if not text:
        return None
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        cure = "write it as A:B, the first and the last slice, from 1 at the feet: 10:20, or 10:10 for one"
        raise Usage(f"{option} {text}", "is no range", cure)
    return int(first) - 1, int(last)
