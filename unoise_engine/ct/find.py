"""What a path given by the user contains: image files and DICOM series, each one case."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unoise_engine.ct.dicom import Series, find_series, read_series
from unoise_engine.ct.read import check_ct, is_image, read_image
from unoise_engine.ct.volume import Volume
from unoise_engine.errors import Usage


@dataclass(frozen=True)
class Reading:
    """A CT as read: the volume, what had to be corrected (a sentence each), and the DICOM file of each of its slices
    (z order; empty for other formats)."""

    ct: Volume
    notes: tuple[str, ...] = ()
    slice_files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Case:
    """One CT to explain. `id` names its folder of results and is safe on every file system."""

    id: str
    source: Path
    files: int
    read: Callable[[], Reading]


def find_cases(paths: list[Path]) -> list[Case]:
    """Image files and folders -> cases with distinct ids, in the order given.

    A folder is searched for DICOM CT series; one without any DICOM gives its image files. Raises Usage if a path does
    not exist or holds nothing to explain.
    """
    cases: list[Case] = []
    for path in paths:
        if path.is_dir():
            cases += _in_folder(path)
        elif not path.exists():
            raise Usage(f"{path} - does not exist - check the path")
        elif is_image(path):
            cases.append(_of_image(path))
        else:
            kinds = ".nii, .nii.gz, .nrrd, .mha, .mhd or a DICOM folder"
            raise Usage(f"{path} - is not a kind of file that is read here - give {kinds}")
    return _distinct(cases)


def _in_folder(folder: Path) -> list[Case]:
    series, skipped = find_series(folder)
    if series:
        many = len(series) > 1
        return [
            Case(
                id=safe_id(folder.resolve().name) + (f"-series{s.number}" if many else ""),
                source=folder,
                files=len(s.slices),
                read=lambda s=s: _read_dicom(s, folder),  # type: ignore[misc]
            )
            for s in series
        ]
    images = [p for p in sorted(folder.iterdir()) if p.is_file() and is_image(p)]
    if images:
        return [_of_image(p) for p in images]
    if skipped:
        what = f"{len(skipped)} DICOM files but no CT slices ({skipped[0].path.name}: {skipped[0].reason})"
        raise Usage(f"{folder} - holds {what} - give the folder of a CT series")
    raise Usage(f"{folder} - holds no DICOM and no image files - give a folder with a CT")


def _read_dicom(series: Series, folder: Path) -> Reading:
    ct, files = read_series(series, folder)
    return Reading(check_ct(ct, folder), slice_files=files)


def _of_image(path: Path) -> Case:
    name = path.name
    stem = name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else path.stem
    return Case(safe_id(stem), path, 1, lambda: Reading(check_ct(read_image(path), path)))


def safe_id(name: str) -> str:
    """Letters, digits, dot, dash and underscore only, no leading dot or dash, at most 80 characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[:80].rstrip(".") or "case"


def _distinct(cases: list[Case]) -> list[Case]:
    taken: set[str] = set()
    result = []
    for case in cases:
        name, k = case.id, 2
        while name.lower() in taken:  # some file systems take A and a for one name
            name, k = f"{case.id}-{k}", k + 1
        taken.add(name.lower())
        result.append(Case(name, case.source, case.files, case.read))
    return result
