"""Which numbers in the labels are the organ, as the recipe or the data say."""

from __future__ import annotations

from pathlib import Path

from unoise_engine.training.recipes import Data
from unoise_engine.volume.pairs import Pair, find_pairs, label_names, number_of

__all__ = ["Pair", "find_pairs", "organ_numbers"]


def organ_numbers(folder: Path, data: Data) -> tuple[int, ...]:
    """The label numbers of the organ: the recipe's, or else those of its name in labels.json or dataset.json."""
    if data.labels:
        return data.labels
    return (number_of(data.organ, folder, "set [data] labels in the recipe"),)


def other_numbers(folder: Path, data: Data) -> tuple[int | None, ...]:
    """The numbers of the recipe's other structures; None for those that this folder's labels do not name."""
    _, named = label_names(folder) if data.others else (None, {})
    return tuple(number_of(name, folder, "leave it out") if name in named else None for name in data.others)
