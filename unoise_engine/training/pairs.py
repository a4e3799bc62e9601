"""Which numbers in the labels are the organ, as the recipe or the data say."""

from __future__ import annotations

import json
from pathlib import Path

from unoise_engine.ct.pairs import Pair, find_pairs
from unoise_engine.errors import Usage
from unoise_engine.training.recipes import Data

__all__ = ["Pair", "find_pairs", "organ_numbers"]


def organ_numbers(folder: Path, data: Data) -> tuple[int, ...]:
    """The label numbers of the organ: the recipe's, or else those of its name in labels.json or dataset.json.

    Both ``{"pancreas": 7}`` and the Decathlon's ``{"7": "pancreas"}`` are read.
    """
    if data.labels:
        return data.labels
    path = next((p for p in (folder / "labels.json", folder / "dataset.json") if p.is_file()), None)
    if path is None:
        raise Usage(f"{folder} - no labels.json says which number is {data.organ} - set [data] labels in the recipe")
    try:
        table = json.loads(path.read_text("utf-8"))
        table = table["labels"] if path.name == "dataset.json" else table
        named = {k: int(v) for k, v in table.items()} if data.organ in table else {v: int(k) for k, v in table.items()}
        return (named[data.organ],)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        cure = "correct it, or set [data] labels in the recipe"
        raise Usage(f"{path} - gives no number for {data.organ!r} - {cure}") from None
