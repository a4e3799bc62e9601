"""The labelled CTs that are evaluated: found in folders, chosen by a split's part, read one at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.files import sha256
from unoise_engine.models.given import Given, given_of, modality_of
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe
from unoise_engine.results.body import in_body
from unoise_engine.results.greys import Greys
from unoise_engine.volume.labelled import read_labelled
from unoise_engine.volume.pairs import Pair, by_patient, find_pairs, number_of, patient_of
from unoise_engine.volume.split import refuse_overlaps
from unoise_engine.volume.volume import Volume


@dataclass(frozen=True)
class Entry:
    """A case to evaluate. Of several folders it is called ``<folder>/<case>``, as in training."""

    name: str
    patient: str
    pair: Pair
    numbers: tuple[int, ...]  # of the organ in its labels
    names: frozenset[str]  # what a split may call it: with and without the folder
    landmark: tuple[int, ...] = ()  # numbers of what makes the organ the target, where that is known
    decoys: tuple[int, ...] = ()  # numbers of what looks the same and decides nothing


@dataclass(frozen=True)
class Scan:
    """A case read: slices as the model sees them, the truth on the model's and on the CT's own grid."""

    entry: Entry
    ct: Volume
    given: Given
    organ: np.ndarray  # (n, h, w) bool on the planes of the model
    labels: np.ndarray  # (n, rows, columns) on the CT's grid, axial

    @cached_property
    def truth(self) -> np.ndarray:
        """(n, rows, columns) bool on the CT's grid, axial."""
        return np.isin(self.labels, self.entry.numbers)

    def body(self) -> np.ndarray:
        """(n, h, w) bool: where the model's planes show the body."""
        greys = Greys.of(self.ct, modality_of(self.given.recipe))
        return self.given.resampled(in_body(greys(self.given.view.apply(self.ct.voxels)))) > 0.5

    def mask(self, numbers: Sequence[int]) -> np.ndarray:
        """(n, h, w) bool: where the model's planes show these labels."""
        return self.given.resampled(np.isin(self.labels, numbers)) > 0.5


def find_entries(
    folders: Sequence[Path],
    organ: Sequence[str],
    labels: Sequence[int] = (),
    patient: str = "",
    keep: frozenset[str] | None = None,
    landmark: str = "",
    decoys: Sequence[str] = (),
) -> list[Entry]:
    """All cases of these folders, or those of them that `keep` names.

    Raises `Usage` for folders of one name, no case left, names that fit several folders, unknown organ numbers.
    """
    names = [folder.absolute().name for folder in folders]
    if len(set(names)) < len(names):
        raise Usage(", ".join(names), "two data folders have the same name", "rename one, cases are named after it")
    found = []
    for folder, name in zip(folders, names):
        numbers = tuple(labels) or _numbers(folder, organ)
        near, like = _numbers(folder, [landmark] if landmark else []), _numbers(folder, decoys)
        pairs = find_pairs(folder)
        by_patient((pair.case for pair in pairs), patient)  # refuses a pattern that does not fit
        for pair in pairs:
            long = f"{name}/{pair.case}"
            shown = long if len(folders) > 1 else pair.case
            who = patient_of(pair.case, patient)
            who = f"{name}/{who}" if len(folders) > 1 else who
            found.append(Entry(shown, who, pair, numbers, frozenset((long, pair.case)), near, like))
    if keep is None:
        return found
    chosen = [entry for entry in found if entry.names & keep]
    if not chosen:
        where = ", ".join(map(str, folders))
        what = f"holds none of the {len(keep)} cases of the split's part"
        raise Usage(where, what, "give the data that the split was made for")
    here = {name for entry in found for name in entry.names}
    absent = sorted(name for name in keep - here if name.rpartition("/")[0] in ("", *names))
    if absent:
        what = f"lack {len(absent)} of the {len(keep)} cases of the split's part, {absent[0]} first"
        raise Usage(", ".join(map(str, folders)), what, "bring them back, or leave --split out")
    for name in keep:
        if len(twice := [entry.name for entry in chosen if name in entry.names]) > 1:
            raise Usage(
                f"case {name} of the split", f"is in several data folders ({', '.join(twice)})", "give one of them"
            )
    return chosen


def read_part(path: Path, part: str) -> frozenset[str]:
    """The case names of one part of a split.json. Raises `Usage`, for a case in two parts too."""
    path = path / "split.json" if path.is_dir() else path
    try:
        parts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Usage(path, f"cannot be read as a split ({error})", "give a run's split.json") from None
    if not isinstance(parts, dict) or not isinstance(parts.get(part), list):
        known = ", ".join(parts) if isinstance(parts, dict) else "none"
        raise Usage(path, f"has no part {part!r}", f"choose --part from those there: {known}")
    refuse_overlaps({name: list(map(str, cases)) for name, cases in parts.items() if isinstance(cases, list)}, path)
    if not parts[part]:
        raise Usage(path, f"its part {part!r} is empty", "choose another --part")
    return frozenset(map(str, parts[part]))


def read_scan(entry: Entry, recipe: Recipe | Preparation) -> Scan:
    """Raises CaseRefused as `read_labelled` does."""
    ct, labels = read_labelled(entry.pair, entry.numbers, modality_of(recipe))
    given = given_of(ct, recipe)
    axial = given.view.apply(labels.voxels)
    return Scan(entry, ct, given, given.resampled(np.isin(axial, entry.numbers)) > 0.5, axial)


def fingerprint(entries: Sequence[Entry]) -> str:
    """One sha256 for the names and bytes of all CTs and labels."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.name} {sha256(entry.pair.ct)} {sha256(entry.pair.labels)}\n".encode())
    return digest.hexdigest()


def _numbers(folder: Path, wanted: Sequence[str]) -> tuple[int, ...]:
    """The numbers of these names in the folder's labels.json or dataset.json."""
    return tuple(number_of(name, folder, "give the organ's with --labels") for name in wanted)
