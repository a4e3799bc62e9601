"""NIH Pancreas-CT (Roth et al. 2016): a DICOM folder a patient (PANCREAS_0001) and labels (label0001.nii.gz).

The labels' axes are flipped against the images and their headers do not say how; `orientation` finds out for each
patient, and a patient where it cannot is refused.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.lab.prepare.item import Collection, Item, Labelled
from unoise_engine.lab.prepare.orientation import find_lay
from unoise_engine.volume.find import ReadSettings, find_cases
from unoise_engine.volume.read import load_image
from unoise_engine.volume.volume import AxialView

FOLDER = re.compile(r"pancreas[_-]?(\d{4})", re.IGNORECASE)
LABEL = re.compile(r"label[_-]?(\d{4})\.nii(\.gz)?", re.IGNORECASE)
NUMBER = 7  # written; TotalSegmentator's, as in every set made here


def find_pancreas_ct(source: Path, trust_hu: bool = False) -> Collection:
    """Folders and labels are looked for anywhere below `source`. Raises Usage if there is no pair of both."""
    if not source.is_dir():
        raise Usage(source, "no such folder", "give the folder of Pancreas-CT, images and labels below it")
    folders, labels = _look(source)
    if not folders or not labels:
        what = "folders of patients (PANCREAS_0001)" if not folders else "labels (label0001.nii.gz)"
        raise Usage(source, f"holds no {what}", "put images and labels below one folder")
    items = [
        Item(
            f"pancreas-{number}",
            (*_files(folders.get(number)), *((labels[number],) if number in labels else ())),
            partial(_read, number, folders.get(number), labels.get(number), trust_hu),
        )
        for number in sorted(folders.keys() | labels.keys())
    ]
    return Collection("pancreas-ct", tuple(items), {"pancreas": NUMBER}, "pancreas")


def _look(source: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Number -> folder, number -> label file. The outermost folder of a patient counts."""
    folders: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for where, inner, names in os.walk(source):
        inner.sort()
        for name in list(inner):
            if found := FOLDER.fullmatch(name):
                folders.setdefault(found[1], Path(where) / name)
                inner.remove(name)
        for name in sorted(names):
            if found := LABEL.fullmatch(name):
                labels.setdefault(found[1], Path(where) / name)
    return folders, labels


def _files(folder: Path | None) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file()) if folder else []


def _read(number: str, folder: Path | None, label: Path | None, trust_hu: bool) -> Labelled:
    if folder is None:
        raise CaseRefused("NO_CT", label, f"has no folder PANCREAS_{number} beside it", "download that patient again")
    if label is None:
        raise CaseRefused("NO_LABELS", folder, f"has no label{number}.nii.gz", "download the labels again")
    try:
        cases = find_cases([folder], ReadSettings(trust_hu=trust_hu))
    except Usage as error:  # nothing in it can be read
        raise CaseRefused("NO_CT", folder, f"holds no CT ({error})", "download that patient again") from None
    if len(cases) > 1:
        raise CaseRefused("SEVERAL", folder, f"holds {len(cases)} series where one belongs", "keep the labelled one")
    reading = cases[0].read()
    if reading.planes is not None:
        raise CaseRefused("RESAMPLED", folder, "has uneven or tilted slices, which its labels do not follow",
                          "download that patient again")  # fmt: skip
    stored, _ = load_image(label)
    organ = stored > 0
    if not organ.any():
        raise CaseRefused("EMPTY_LABEL", label, "holds no label at all", "download the labels again")
    strange = [n for n in np.unique(stored) if n not in (0, 1)]
    if strange:
        what = f"holds the labels {', '.join(f'{n:g}' for n in strange[:8])} where 1 alone belongs"
        raise CaseRefused("UNKNOWN_LABEL", label, what, "download the labels again")
    view = AxialView.of(reading.ct.grid)
    axial = view.apply(reading.ct.voxels)
    try:
        finding = find_lay(axial, organ)
    except ValueError:
        what = f"has {organ.shape} voxels (slices, rows, columns), the CT {axial.shape}"
        raise CaseRefused("OTHER_GRID", label, what, "download that patient again") from None
    if finding.lay is None:
        raise CaseRefused("ORIENTATION", label, f"does not tell how it lies on the CT: {finding.why}",
                          "look at both, and import it as a pair")  # fmt: skip
    mask = np.ascontiguousarray(view.undo(finding.lay.apply(organ)))
    facts = {"notes": list(reading.notes), "orientation": finding.to_dict()}
    return Labelled(reading.ct, reading.ct.with_voxels(mask.astype(np.uint8) * NUMBER), facts)
