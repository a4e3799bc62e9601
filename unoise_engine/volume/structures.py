"""Structures of a CT from a file or folder: a label map, one mask a file, or a segmentation of 3D Slicer.

TotalSegmentator writes the first and the second. Structures are laid on the CT's own voxels, whatever grid they lie on.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.errors import CaseRefused, Usage, printable
from unoise_engine.strict_json import read_json
from unoise_engine.volume.budget import MASK_BYTES, Deadline
from unoise_engine.volume.labelled import SAME_MM, apart_mm, describe, in_order_of, whole
from unoise_engine.volume.layout import open_regular, read_voxels, unpacked
from unoise_engine.volume.nrrd import nrrd_layout, nrrd_notes
from unoise_engine.volume.pairs import images_in, stem
from unoise_engine.volume.read import image_layout
from unoise_engine.volume.straighten import Planes, rigid_grid
from unoise_engine.volume.volume import Grid, Volume

MOST = 300  # structures at a time
LONGEST_NAME = 80
LARGEST_TABLE = 1 << 20  # bytes of names
IN_NIFTI = re.compile(rb'<Label Key="(\d+)"[^>]*>\s*(?:<!\[CDATA\[)?([^<\]]+)')  # as TotalSegmentator names its labels
IN_SLICER = re.compile(r"(\d+)\s+(\S+)(?:\s+\d+){4}")  # a line of a colour table
SEGMENT = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")


@dataclass(frozen=True, eq=False)
class Structure:
    """`mask` makes (z, y, x) bool on the CT's voxels, each time it is asked."""

    name: str
    mask: Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False)
class Structures:
    """`notes` says what had to be done to them, a sentence each."""

    found: tuple[Structure, ...]
    notes: tuple[str, ...] = ()


def find_structures(path: Path, grid: Grid, names: Path | None = None, only: Sequence[str] = ()) -> Structures:
    """All structures of a file or folder, or `only` those of these names. `names` is a table: JSON, name to number or
    number to name, or a colour table of 3D Slicer; without it the file's own or those of a table beside it hold.

    Raises Usage, and CaseRefused: NO_STRUCTURE, TOO_MANY_STRUCTURES, UNKNOWN_LABEL, and what `image_layout` refuses.
    """
    table = read_names(names) if names else {}
    if path.is_dir():
        made, notes = _masks(path, grid)
    elif path.name.lower().endswith(".nrrd") and _segments(path):
        made, notes = _slicer(path, grid)
    else:
        made, notes = _label_map(path, grid, table)
    if only:
        known = {one.name for one in made}
        for name in only:
            if name not in known:
                some = ", ".join(sorted(known)[:12]) + (", ..." if len(known) > 12 else "")
                raise Usage(f"--only {printable(name)[:60]}", f"is no structure of {path.name}", f"choose from {some}")
        made = [one for one in made if one.name in only]
    if not made:
        what = "holds no structure that lies in the CT"
        raise CaseRefused("NO_STRUCTURE", path, what, "give a label map of this CT that is not empty")
    if len(made) > MOST:
        what = f"holds {len(made)} structures, and {MOST} are hidden at a time at most"
        raise CaseRefused("TOO_MANY_STRUCTURES", path, what, "name some with --only")
    return Structures(tuple(made), tuple(dict.fromkeys(notes)))


def read_names(path: Path) -> dict[int, str]:
    """Number -> name. Raises Usage."""
    try:
        with open_regular(path) as f:
            content = f.read(LARGEST_TABLE + 1)
        if path.suffix.lower() == ".json":
            return dict(_of_json(read_json(content, LARGEST_TABLE)))
        lines = [line for line in content.decode("utf-8").splitlines() if line.strip() and not line.startswith("#")]
        rows = [IN_SLICER.fullmatch(line.strip()) for line in lines]
        if lines and all(rows):
            return {int(row[1]): _name(row[2]) for row in rows if row}
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        pass
    cure = 'give JSON such as {"liver": 5}, or a colour table of 3D Slicer'
    raise Usage(path, "is no table of names and numbers", cure)


def _of_json(body: Any) -> Iterator[tuple[int, str]]:
    """{"liver": 5}, {"5": "liver"}, {"liver": [5, voxels]}, or any of them as "labels" of a dataset.json."""
    if isinstance(body.get("labels"), dict):
        body = body["labels"]
    for key, value in body.items():
        number = value[0] if isinstance(value, list) else value
        if isinstance(number, str):
            yield int(key), _name(number)
        else:
            yield int(number), _name(key)


def _name(text: str) -> str:
    return printable(" ".join(text.split()))[:LONGEST_NAME]


def _masks(folder: Path, grid: Grid) -> tuple[list[Structure], list[str]]:
    """One file a structure: what is not 0. Read when it is needed, since a folder may hold a hundred."""
    files = images_in([folder])
    if not files:
        raise Usage(folder, "holds no masks", "give a folder of <structure>.nii.gz, or one label map")

    def mask(path: Path) -> Callable[[], np.ndarray]:
        return lambda: _laid(whole(_read(path), path), grid)[0] != 0

    notes = [note] if (note := _laid_note(files[0], grid)) else []
    return [Structure(_name(stem(path)), mask(path)) for path in files], notes


def _label_map(path: Path, grid: Grid, table: dict[int, str]) -> tuple[list[Structure], list[str]]:
    labels, note = _laid(whole(_read(path), path), grid, path)
    table = table or _own_names(path)

    def mask(number: int) -> Callable[[], np.ndarray]:
        return lambda: labels == number

    made = [Structure(table.get(n, f"label {n}"), mask(n)) for n in _numbers(labels)]
    return _told_apart(made), [note] if note else []


def _slicer(path: Path, grid: Grid) -> tuple[list[Structure], list[str]]:
    """Segments by name; those that overlap lie in layers of their own."""
    layout = nrrd_layout(path, layered=True)
    voxels = read_voxels(layout, path, Deadline(), MASK_BYTES)
    layers = np.moveaxis(voxels["layers"], -1, 0) if voxels.dtype.names else voxels[None]
    placed = _rigid(path, layout.size, layout.steps_mm, layout.origin_mm)
    laid = [_laid(Volume(layer, placed), grid, path) for layer in layers]

    def mask(layer: int, number: int) -> Callable[[], np.ndarray]:
        return lambda: laid[layer][0] == number

    made = []
    for told in _segments(path).values():
        layer = int(told.get("Layer", 0))
        if layer < len(laid):
            made.append(Structure(_name(told.get("Name", "")) or "segment", mask(layer, int(told["LabelValue"]))))
    return _told_apart(made), [note for _, note in laid if note]


def _segments(path: Path) -> dict[int, dict[str, str]]:
    """What the header of a .seg.nrrd says of each segment; nothing of other files."""
    found: dict[int, dict[str, str]] = {}
    for key, value in nrrd_notes(path).items():
        if named := SEGMENT.fullmatch(key):
            found.setdefault(int(named[1]), {})[named[2]] = value
    numbers = ("LabelValue", "Layer")
    good = all(
        "LabelValue" in one and all(one.get(n, "0").strip().isdecimal() for n in numbers) for one in found.values()
    )
    return dict(sorted(found.items())) if good else {}


def _told_apart(made: list[Structure]) -> list[Structure]:
    seen: dict[str, int] = {}
    result = []
    for one in made:
        seen[one.name] = k = seen.get(one.name, 0) + 1
        result.append(one if k == 1 else Structure(f"{one.name} ({k})", one.mask))
    return result


def _read(path: Path) -> Volume:
    deadline = Deadline()
    layout = image_layout(path, deadline)
    grid = _rigid(path, layout.size, layout.steps_mm, layout.origin_mm)
    return Volume(read_voxels(layout, path, deadline, MASK_BYTES), grid)


def _rigid(path: Path, size: tuple[int, int, int], steps_mm: np.ndarray, origin_mm: np.ndarray) -> Grid:
    grid = rigid_grid(size, steps_mm, origin_mm)
    if grid is None:
        raise CaseRefused("SHEARED", path, "has axes that are not perpendicular", "resample it to an upright grid")
    return grid


def _laid(labels: Volume, grid: Grid, path: Path | None = None) -> tuple[np.ndarray, str]:
    """The labels on the CT's voxels, and a sentence if they had to be resampled for that."""
    apart = apart_mm(grid, labels.grid)
    if apart <= SAME_MM:
        return labels.voxels, ""
    if (turned := in_order_of(grid, labels)) is not None:
        return turned.voxels, ""
    steps = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
    planes = Planes.of_affine(grid.size, steps, np.array(grid.origin_mm))
    name = path.name if path else "the region"
    said = f"{printable(name)} lies on another grid than the CT ({describe(apart)}): resampled, nearest voxel"
    return np.stack([*planes.bring_back(labels, labels=True)]), said


def _laid_note(path: Path, grid: Grid) -> str:
    layout = image_layout(path, Deadline())
    there = _rigid(path, layout.size, layout.steps_mm, layout.origin_mm)
    empty = Volume(np.zeros(there.shape, bool), there)
    apart = apart_mm(grid, there)
    if apart <= SAME_MM or in_order_of(grid, empty) is not None:
        return ""
    return f"the masks lie on another grid than the CT ({describe(apart)}): resampled, nearest voxel"


def _numbers(labels: np.ndarray) -> list[int]:
    """All but 0."""
    found = set[int]()
    for plane in labels:
        found.update(np.unique(plane).tolist())
    return sorted(found - {0})


def _own_names(path: Path) -> dict[int, str]:
    """Of a NIfTI file itself, or of a table beside it: <name>.json, labels.json, dataset.json."""
    if path.name.lower().endswith((".nii", ".nii.gz")) and (named := dict(_in_nifti(path))):
        return named
    for beside in (f"{stem(path)}.json", "labels.json", "dataset.json"):
        if (path.parent / beside).is_file():
            return read_names(path.parent / beside)
    return {}


def _in_nifti(path: Path) -> Iterator[tuple[int, str]]:
    layout = image_layout(path, Deadline())
    most, head = min(layout.offset, LARGEST_TABLE), b""
    with open_regular(path) as f:
        if not layout.packed:
            head = f.read(most)
        else:
            try:
                for piece in unpacked(f, path, Deadline()):
                    head += piece
                    if len(head) >= most:
                        break
            except (EOFError, zlib.error):
                return
    for number, name in IN_NIFTI.findall(head[:most]):
        yield int(number), _name(name.decode("utf-8", "replace"))
