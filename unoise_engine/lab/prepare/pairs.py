"""Plain pairs of CT and label files, as `ct.pairs.find_pairs` finds them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.lab.prepare.item import Collection, Item, Labelled
from unoise_engine.lab.prepare.read import read_hu
from unoise_engine.volume.labelled import read_labelled
from unoise_engine.volume.pairs import Pair, find_pairs, label_names, number_of


def find_plain(
    source: Path, organ: str, numbers: tuple[int, ...] = (), patient: str = "", trust_hu: bool = False
) -> Collection:
    """All labels are kept. `numbers` are the organ's where the source does not name it; several become the first.

    Raises Usage, and CaseRefused NO_LABELS.
    """
    pairs = find_pairs(source)
    _, named = label_names(source)
    named = {name: number for name, number in named.items() if number}
    if not numbers:
        numbers = (number_of(organ, source, "give it with --labels"),)
    named = {name: number for name, number in named.items() if number not in numbers} | {organ: numbers[0]}
    items = [Item(p.case, (p.ct, p.labels), partial(_read, p, numbers, trust_hu)) for p in pairs]
    return Collection("pairs", tuple(items), named, organ, {"labels": list(numbers)}, patient)


def _read(pair: Pair, numbers: tuple[int, ...], trust_hu: bool) -> Labelled:
    _, stored = read_labelled(pair, numbers)
    found = np.unique(stored.voxels)
    if found.min() < 0 or found.max() > 255:
        what = f"holds {found.min():g} .. {found.max():g}, which are no labels from 0 to 255"
        raise CaseRefused("UNKNOWN_LABEL", pair.labels, what, "save the labels as whole numbers up to 255")
    labels = stored.voxels.astype(np.uint8)
    labels[np.isin(labels, numbers)] = numbers[0]
    ct, notes = read_hu(pair.ct, trust_hu)
    return Labelled(ct, ct.with_voxels(labels), {"notes": notes})
