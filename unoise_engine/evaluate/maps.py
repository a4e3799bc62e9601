"""Importance volumes from files: anyone's method, on each CT's own grid.

Two layouts are read: ``FOLDER/<method>/<case>.nii.gz``, and what `unoise_engine explain --keep-names` writes,
``FOLDER/<case>/importance-<method>.nii.gz``. A case of several data folders may also lie under ``<data folder>/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.evaluate.data import Entry, Scan
from unoise_engine.explanation.part import Part
from unoise_engine.volume.labelled import SAME_MM, apart_mm, describe
from unoise_engine.volume.pairs import images_in, stem
from unoise_engine.volume.read import read_image

PREFIX = "importance-"


def find_maps(folder: Path, entries: Sequence[Entry]) -> dict[str, dict[str, Path]]:
    """Method -> case -> file. Raises `Usage` if a method lacks a case, or nothing is there."""
    if not folder.is_dir():
        raise Usage(folder, "no such folder", "give one with <method>/<case>.nii.gz")
    found: dict[str, dict[str, Path]] = {}
    for entry in entries:
        for home in (folder, *(folder / name for name in sorted(_homes(entry)))):
            for method, path in _of_case(home, entry.pair.case):
                found.setdefault(method, {})[entry.name] = path
    if not found:
        example = f"METHOD/{entries[0].pair.case}.nii.gz"
        raise Usage(folder, "holds no importance maps of these cases", f"it must hold files such as {example}")
    for method, files in found.items():
        for entry in entries:
            if entry.name not in files:
                raise Usage(folder, f"{method} has no map of case {entry.name}", "add it, or leave the case out")
    return dict(sorted(found.items()))


def _homes(entry: Entry) -> set[str]:
    return {name.rpartition("/")[0] for name in entry.names} - {""}


def _of_case(home: Path, case: str) -> list[tuple[str, Path]]:
    if not home.is_dir():
        return []
    found = []
    for inner in sorted(p for p in home.iterdir() if p.is_dir() and not p.name.startswith(".")):
        for path in images_in([inner]):
            name = stem(path)
            if name == case and inner.name != case:
                found.append((inner.name, path))
            elif inner.name in (case, f"{case}-ct") and name.startswith(PREFIX):
                found.append((name.removeprefix(PREFIX), path))
    return found


def read_map(path: Path, scan: Scan, parts: Sequence[Part]) -> list[np.ndarray]:
    """The parts (*s) float32 on the model's grid; what lies beyond the CT is as unimportant as the least within.

    Raises CaseRefused: OTHER_GRID, NOT_FINITE, and whatever `read_image` refuses.
    """
    volume = read_image(path)
    apart = apart_mm(volume.grid, scan.ct.grid)
    if apart > SAME_MM:
        what = f"lies on another grid than {scan.entry.pair.ct.name} ({describe(apart)})"
        raise CaseRefused("OTHER_GRID", path, what, "resample the map to the CT's grid")
    axial = scan.given.view.apply(volume.voxels).astype(np.float32)
    if not np.isfinite(axial).all():
        raise CaseRefused("NOT_FINITE", path, "holds NaN or infinity", "write finite importances")
    least = axial.min()
    planes = scan.given.resampled(axial - least) + least
    return [part.of(planes) for part in parts]
