"""What is the user's stays the user's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from unoise_engine.errors import Usage


def refuse_overlap(out: Path, inputs: Iterable[Path]) -> None:
    """Raises Usage if `out` is one of the inputs or lies in one of them. Links are followed."""
    here = out.resolve()
    homes = [here, *here.parents]
    for source in dict.fromkeys(inputs):
        if any(home.exists() and source.exists() and home.samefile(source) for home in homes):
            what = f"is the input {source} or lies in it, and what is read is never written to"
            raise Usage(out, what, "choose another output folder")
