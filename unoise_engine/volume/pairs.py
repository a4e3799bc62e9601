"""Which CT belongs to which label file, what the numbers in it mean, and whose CT it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
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
    """Pairs sorted by case. Raises `Usage` if there are none, CaseRefused NO_LABELS for a CT without its labels."""
    if not folder.is_dir():
        raise Usage(folder, "no such folder", f"give a folder that holds {LAYOUTS}")
    cts = {stem(p).removesuffix("-ct"): p for p in images_in([folder]) if stem(p).endswith("-ct")}
    labels = {stem(p).removesuffix("-labels"): p for p in images_in([folder]) if stem(p).endswith("-labels")}
    if not cts:
        inner = sorted(p for p in folder.iterdir() if p.is_dir())
        scans = images_in([p for p in inner if p.name.lower() in ("images", "imagestr")])
        cts = {stem(p).removesuffix("_0000"): p for p in scans}  # nnU-Net numbers its input channels
        labels = {stem(p): p for p in images_in([p for p in inner if p.name.lower() in ("labels", "labelstr")])}
    if not cts:
        raise Usage(folder, "holds no CTs with labels", f"it must hold {LAYOUTS}")
    for case, ct in cts.items():
        if case not in labels:
            raise CaseRefused("NO_LABELS", ct, "no label file belongs to it", "add the labels or move the CT away")
    return [Pair(case, cts[case], labels[case]) for case in sorted(cts)]


def images_in(folders: Sequence[Path]) -> list[Path]:
    """Image files in these folders; what starts with a dot is left out (macOS puts ``._`` shadows in archives)."""
    return sorted(p for f in folders for p in f.iterdir() if is_image(p) and p.is_file() and not p.name.startswith("."))


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


def patient_of(case: str, pattern: str) -> str:
    """The part of a case's name that names the patient; all of it where the pattern is empty or does not match."""
    found = re.search(pattern, case) if pattern else None
    return found.group() if found else case
