"""What a path given by the user contains: image files and DICOM series, each one case."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom

from unoise_engine.ct.dicom import HEADER, Series, Slice, find_series, read_series
from unoise_engine.ct.read import beside, check_ct, is_image, read_image
from unoise_engine.ct.volume import Volume
from unoise_engine.errors import CaseRefused, Usage


@dataclass(frozen=True)
class Reading:
    """A CT as read: the volume, what had to be corrected (a sentence each), and the DICOM file of each of its slices
    (z order; empty for other formats)."""

    ct: Volume
    notes: tuple[str, ...] = ()
    slice_files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Case:
    """One CT to explain: the path that the user gave, and the files that hold it. `id` is safe on every file system."""

    id: str
    source: Path
    paths: tuple[Path, ...]
    read: Callable[[], Reading]

    @property
    def files(self) -> int:
        return len(self.paths)


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
                paths=tuple(one.path for one in s.slices),
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


def find_again(source: Path, paths: Sequence[Path]) -> Case:
    """The case of exactly these files, in another process than the one that found it. Raises CaseRefused."""
    if is_image(paths[0]):
        return replace(_of_image(paths[0]), source=source)
    try:
        slices = tuple(Slice(p, pydicom.dcmread(p, stop_before_pixels=True, specific_tags=HEADER)) for p in paths)
    except Exception as error:  # whatever a file that changed meanwhile may hold
        what = f"cannot be read any more ({type(error).__name__})"
        raise CaseRefused("UNREADABLE", source, what, "leave the files as they are while a run lasts") from None
    return Case(safe_id(source.resolve().name), source, tuple(paths), lambda: _read_dicom(Series(slices), source))


def _read_dicom(series: Series, folder: Path) -> Reading:
    ct, files = read_series(series, folder)
    return Reading(check_ct(ct, folder), slice_files=files)


def _of_image(path: Path) -> Case:
    name = path.name
    stem = name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else path.stem
    return Case(safe_id(stem), path, (path, *beside(path)), lambda: Reading(check_ct(read_image(path), path)))


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
        result.append(replace(case, id=name))
    return result
