"""Which CT belongs to which label file, what the numbers in it mean, and whose CT it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.read import IMAGE_SUFFIXES, is_image

LAYOUTS = "<name>-ct.nii.gz and <name>-labels.nii.gz in one folder, or images*/ and labels*/ with equal names"


@dataclass(frozen=True)
class Pair:
    """The two files of a case that teaches: a CT and the labels on its grid."""

    case: str
    ct: Path
    labels: Path


def stem(path: Path) -> str:
    """The file's name without its image suffix: ``case-1.nii.gz`` -> ``case-1``."""
    name = path.name
    for suffix in sorted(IMAGE_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def find_pairs(folder: Path) -> list[Pair]:
    """Pairs sorted by case. Raises `Usage` if there are none, for two files of one case and for a link that leads
    nowhere, CaseRefused NO_LABELS for a CT without its labels."""
    if not folder.is_dir():
        raise Usage(folder, "no such folder", f"give a folder that holds {LAYOUTS}")
    cts = by_case((p for p in images_in([folder]) if stem(p).endswith("-ct")), "-ct")
    labels = by_case((p for p in images_in([folder]) if stem(p).endswith("-labels")), "-labels")
    if not cts:
        inner = sorted(p for p in folder.iterdir() if p.is_dir())
        scans = images_in([p for p in inner if p.name.lower() in ("images", "imagestr")])
        cts = by_case(scans, "_0000")  # nnU-Net numbers its input channels
        labels = by_case(images_in([p for p in inner if p.name.lower() in ("labels", "labelstr")]), "")
    if not cts:
        raise Usage(folder, "holds no CTs with labels", f"it must hold {LAYOUTS}")
    for case, ct in cts.items():
        if case not in labels:
            raise CaseRefused("NO_LABELS", ct, "no label file belongs to it", "add the labels or move the CT away")
    return [Pair(case, cts[case], labels[case]) for case in sorted(cts)]


def by_case(paths: Iterable[Path], suffix: str) -> dict[str, Path]:
    """Case -> its file. Raises `Usage` where two files are of one case."""
    found: dict[str, Path] = {}
    for path in paths:
        case = stem(path).removesuffix(suffix)
        if case in found:
            raise Usage(path, f"is of the same case as {found[case]}", "remove or rename one of them")
        found[case] = path
    return found


def images_in(folders: Sequence[Path]) -> list[Path]:
    """Image files in these folders; what starts with a dot is left out (macOS puts ``._`` shadows in archives).

    Raises `Usage` for one that is no regular file, such as a link that leads nowhere: its case would be missing.
    """
    named = sorted(p for f in folders for p in f.iterdir() if is_image(p) and not p.name.startswith("."))
    for path in named:
        if not path.is_file() and not path.is_dir():
            what = "is a link to nothing" if path.is_symlink() else "is no regular file"
            raise Usage(path, what, "bring back what it stands for, or remove it")
    return [path for path in named if path.is_file()]


def label_names(folder: Path) -> tuple[Path | None, dict[str, int]]:
    """The folder's names file and what it says, name -> number; (None, {}) if it has none.

    Both ``{"pancreas": 7}`` and the Decathlon's ``{"7": "pancreas"}`` are read. Raises `Usage` for another table.
    """
    path = next((p for p in (folder / "labels.json", folder / "dataset.json") if p.is_file()), None)
    if path is None:
        return None, {}
    try:
        table = json.loads(path.read_text("utf-8"))
        table = table["labels"] if path.name == "dataset.json" else table
        if all(isinstance(number, int) for number in table.values()):
            return path, dict(table)
        return path, {str(name): int(number) for number, name in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Usage(path, "is no table of label names", "correct it, or give the organ's numbers") from None


def number_of(organ: str, folder: Path, cure: str) -> int:
    """The number of a structure in the folder's labels. Raises `Usage`, with this cure, where none is given for it."""
    path, named = label_names(folder)
    if path is None:
        raise Usage(folder, f"no labels.json says which number is {organ}", cure)
    if organ not in named:
        raise Usage(path, f"gives no number for {organ!r}", f"correct it, or {cure}")
    if named[organ] < 1:
        raise Usage(path, f"gives {organ!r} the number {named[organ]}, but labels begin at 1", f"correct it, or {cure}")
    return named[organ]


def by_patient(cases: Iterable[str], pattern: str) -> dict[str, list[str]]:
    """Patient -> cases, both sorted; without a pattern a case is a patient.

    Raises `Usage` for a pattern that is none, or finds nothing in a case's name: whose scan that is would be a guess.
    """
    where = f"patient pattern {pattern!r}"
    try:
        re.compile(pattern)
    except re.error as error:
        raise Usage(where, f"is no regular expression ({error})", "correct it") from None
    found: dict[str, list[str]] = {}
    for case in sorted(cases):
        patient = patient_of(case, pattern)
        if pattern and not (re.search(pattern, case) and patient):
            cure = "correct it: it must find the patient in every case's name"
            raise Usage(where, f"finds nothing in the name {case!r}", cure)
        found.setdefault(patient, []).append(case)
    return dict(sorted(found.items()))


def patient_of(case: str, pattern: str) -> str:
    """The part of a case's name that names the patient; all of it where the pattern is empty or does not match."""
    found = re.search(pattern, case) if pattern else None
    return found.group() if found else case
