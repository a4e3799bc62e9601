"""One case of a data set before it is read, and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unoise_engine.volume.volume import Volume


@dataclass(frozen=True)
class Labelled:
    """A CT in HU and its labels on one grid. `facts` go into the record: what was corrected, and by what evidence."""

    ct: Volume
    labels: Volume  # uint8
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """`read` raises CaseRefused. `files` are all that it reads, for the record's hash."""

    case: str
    files: tuple[Path, ...]
    read: Callable[[], Labelled]


@dataclass(frozen=True)
class Collection:
    """What was found in a source. `patient` is a regular expression: what in a case's name is the patient."""

    kind: str
    items: tuple[Item, ...]
    labels: dict[str, int]  # names of the numbers that will be written
    organ: str
    settings: dict[str, Any] = field(default_factory=dict)  # choices that change what is written
    patient: str = ""
