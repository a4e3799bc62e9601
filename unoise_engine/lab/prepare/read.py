"""A CT file in clean HU on its own grid."""

from __future__ import annotations

from pathlib import Path

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.read import read_straight
from unoise_engine.volume.volume import Volume


def read_hu(path: Path, trust_hu: bool = False) -> tuple[Volume, list[str]]:
    """The CT and a sentence for each correction. Raises CaseRefused; SHEARED too, since labels cannot follow."""
    ct, notes, planes = read_straight(path, trust_hu)
    if planes is not None:
        raise CaseRefused("SHEARED", path, "has axes that are not perpendicular", "resample CT and labels alike")
    return ct, notes
