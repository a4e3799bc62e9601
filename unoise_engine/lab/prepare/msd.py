"""Medical Segmentation Decathlon, Task07_Pancreas: dataset.json, imagesTr/, labelsTr/ (Antonelli et al. 2022)."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.lab.prepare.item import Collection, Item, Labelled
from unoise_engine.lab.prepare.read import read_hu
from unoise_engine.volume.labelled import read_labelled
from unoise_engine.volume.pairs import Pair, by_case, find_pairs, label_names

NUMBERS = {"pancreas": 7, "pancreas_tumour": 205}  # written; 7 is TotalSegmentator's, as in every set made here
TUMOUR_NAMES = ("cancer", "tumour", "tumor")


def find_msd(source: Path, merge: bool, trust_hu: bool = False) -> Collection:
    """The training part, whose labels are public. With `merge` the tumour counts as pancreas, as in the paper.

    Raises Usage for a folder that is no such set, or lacks one of the two classes.
    """
    table = _dataset(source)
    path, named = label_names(source)
    organ = named.get("pancreas")
    tumour = next((named[name] for name in TUMOUR_NAMES if name in named), None)
    for number in (organ, tumour):
        if number is not None and number < 1:
            raise Usage(path, f"gives a structure the number {number}, but labels begin at 1", "unpack the set again")
    if organ is None or tumour is None:
        missing = "pancreas" if organ is None else "cancer"
        raise Usage(path, f"names no {missing}: {', '.join(named)}", "give the folder of Task07_Pancreas")
    pairs = _listed(source, table) if table.get("training") else find_pairs(source)
    items = [Item(p.case, (p.ct, p.labels), partial(_read, p, organ, tumour, merge, trust_hu)) for p in pairs]
    labels = {"pancreas": NUMBERS["pancreas"]} if merge else dict(NUMBERS)
    return Collection("msd", tuple(items), labels, "pancreas", {"tumour": "merged" if merge else "apart"})


def _dataset(source: Path) -> dict[str, Any]:
    path = source / "dataset.json"
    if not path.is_file():
        what = "holds no dataset.json" if source.is_dir() else "no such folder"
        raise Usage(source, what, "give the unpacked folder of Task07_Pancreas")
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise Usage(path, f"cannot be read ({e})", "unpack the set again") from None
    if not isinstance(table, dict):
        raise Usage(path, "is no table", "unpack the set again")
    return table


def _listed(source: Path, table: dict[str, Any]) -> list[Pair]:
    try:
        rows = [(str(row["image"]), str(row["label"])) for row in table["training"]]
    except (KeyError, TypeError):
        raise Usage(source / "dataset.json", "its training list is damaged", "unpack the set again") from None
    for name in (name for row in rows for name in row):
        if leaves(name):
            what = f"lists {name}, which lies outside the set"
            raise Usage(source / "dataset.json", what, "unpack the set again, from where it was published")
    labels = {source / ct: source / label for ct, label in rows}
    if len(labels) < len(rows):
        twice = next(ct for ct, _ in rows if [a for a, _ in rows].count(ct) > 1)
        raise Usage(source / "dataset.json", f"lists {twice} twice", "unpack the set again")
    return [Pair(case, ct, labels[ct]) for case, ct in sorted(by_case(labels, "_0000").items())]


def leaves(name: str) -> bool:
    """Whether a relative path leads out of its folder, as POSIX or as Windows reads it."""
    return any(path.anchor or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name)))


def _read(pair: Pair, organ: int, tumour: int, merge: bool, trust_hu: bool) -> Labelled:
    for path in (pair.ct, pair.labels):
        if not path.is_file():
            raise CaseRefused("NOT_FOUND", path, "is listed in dataset.json but not there", "unpack the set again")
    _, stored = read_labelled(pair, (organ, tumour))
    strange = sorted(set(np.unique(stored.voxels).tolist()) - {0, organ, tumour})
    if strange:
        what = f"holds the labels {', '.join(f'{n:g}' for n in strange)}, which dataset.json does not name"
        raise CaseRefused("UNKNOWN_LABEL", pair.labels, what, "unpack the set again")
    labels = np.zeros(stored.voxels.shape, np.uint8)
    labels[stored.voxels == organ] = NUMBERS["pancreas"]
    labels[stored.voxels == tumour] = NUMBERS["pancreas"] if merge else NUMBERS["pancreas_tumour"]
    if not (labels == NUMBERS["pancreas"]).any():
        raise CaseRefused("NO_SUCH_LABEL", pair.labels, "holds tumour but no pancreas", "merge them, or leave it out")
    ct, notes = read_hu(pair.ct, trust_hu)
    return Labelled(ct, ct.with_voxels(labels), {"notes": notes, "tumour": bool((stored.voxels == tumour).any())})
