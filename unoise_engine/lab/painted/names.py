"""Which number of a label map is which structure."""

from __future__ import annotations

import json
from pathlib import Path

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.lab.painted.tissues import tissue_of
from unoise_engine.shipped import shipped

FILE = "labels.json"

Names = dict[int, str]


def read_names(path: Path) -> Names:
    """``{"pancreas": 2}``, ``{"2": "pancreas"}`` or ``{"pancreas": [2, voxels]}`` -> number to structure.

    Raises `Usage`.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict) or not table:
            raise ValueError("no table of names")
        names = dict(_entry(key, value) for key, value in table.items())
    except (OSError, ValueError, TypeError, IndexError) as error:
        cure = 'write it as {"pancreas": 2, "liver": 5, ...}'
        raise Usage(path, f"is no table of label names ({error})", cure) from None
    names.pop(0, None)
    unknown = sorted(name for name in set(names.values()) if tissue_of(name) is None)
    if unknown:
        cure = "use the structure names of TotalSegmentator v2"
        raise Usage(path, f"names structures that are not known: {', '.join(unknown[:6])}", cure)
    if "pancreas" not in names.values():
        raise Usage(path, "names no pancreas", 'add its number as "pancreas"')
    return names


def _entry(key: str, value: object) -> tuple[int, str]:
    if isinstance(value, str):
        return int(key), value
    number = value[0] if isinstance(value, list) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"{key} has no whole number")
    return number, key


def names_file(wanted: str) -> Path:
    """The file behind ``--names``: a table that ships, or a path."""
    known = shipped("label_names", "*.json")
    if wanted in known:
        return known[wanted]
    if not Path(wanted).is_file():
        some = ", ".join(known)
        raise Usage(f"--names {wanted}", "no such table", f"give a JSON file, {FILE}, or one that ships: {some}")
    return Path(wanted)


def names_of(label_map: Path, stem: str, folder_names: Path | None) -> Names:
    """The map's own ``<stem>.json`` wins over the folder's table."""
    own = label_map.with_name(f"{stem}.json")
    if own.is_file():
        return read_names(own)
    if folder_names is None:
        cure = f"add a {FILE} with the numbers of its structures, or give --names"
        raise CaseRefused("NO_NAMES", label_map, "has no table of label names", cure)
    return read_names(folder_names)
