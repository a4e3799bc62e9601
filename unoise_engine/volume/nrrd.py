"""NRRD headers. The frame is named by the file: LPS, RAS or LAS become LPS."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.layout import Layout, damaged, open_regular

TYPES = {
    "i1": "signed char, int8, int8_t", "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t", "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float", "f8": "double",
}  # fmt: skip
TYPE_OF = {name: code for code, names in TYPES.items() for name in names.split(", ")}
TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
MOST_LAYERS = 300
HEADER_BYTES = 1 << 20  # a hundred segments take 100 KB of it
BLANK_LINE = re.compile(rb"\r?\n\r?\n")


def nrrd_layout(path: Path, layered: bool = False) -> Layout:
    """A `layered` file, as 3D Slicer saves segments that overlap, may hold several values a voxel: its voxels have a
    field "layers". Raises CaseRefused: EMPTY_FILE, DAMAGED, DETACHED_DATA, UNREADABLE, NOT_3D, NOT_SCALAR,
    NO_ORIENTATION."""
    fields, _, start = _header(path)
    try:
        axes = int(fields["dimension"])
        size = tuple(int(n) for n in fields["sizes"].split())
    except (KeyError, ValueError):
        raise damaged(path, "has no readable size") from None
    kinds = fields.get("kinds", "").lower().split()
    if axes != len(size):
        raise damaged(path, "has a size that does not fit its number of axes")
    layers = 0
    if layered and axes == 4 and kinds[:1] == ["list"]:
        layers, *size_3d = size
        if not 1 <= layers <= MOST_LAYERS:
            raise damaged(path, f"announces {layers} layers of segments")
        axes, size = 3, tuple(size_3d)
    if axes > 3 and any(k not in ("space", "domain", "time", "list", "???", "none") for k in kinds):
        raise CaseRefused("NOT_SCALAR", path, "holds several values a voxel (colour or vector)", "give a CT in HU")
    if axes != 3:
        shape = " x ".join(map(str, size))
        raise CaseRefused("NOT_3D", path, f"has {axes} axes ({shape})", "give one 3-D CT volume")
    code = TYPE_OF.get(fields.get("type", "").lower())
    if code is None:
        raise damaged(path, "has an unknown voxel type")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise CaseRefused("UNREADABLE", path, "is encoded neither raw nor gzip", "save it as a gzip .nrrd")
    if any(fields.get(k, "0") != "0" for k in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise CaseRefused("UNREADABLE", path, "skips bytes before its voxels", "save it as a plain .nrrd")
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big") and np.dtype(code).itemsize > 1:
        raise damaged(path, "does not name its byte order")
    steps, origin = _geometry(fields, path)
    dtype = np.dtype((">" if endian == "big" else "<") + code)
    return Layout(
        dtype=np.dtype([("layers", dtype, (layers,))]) if layers else dtype,
        size=(size[0], size[1], size[2]),
        steps_mm=steps,
        origin_mm=origin,
        offset=start,
        packed="" if encoding == "raw" else "voxels",
    )


def nrrd_notes(path: Path) -> dict[str, str]:
    """The free text of a header, its lines `key:=value`. Raises CaseRefused as `nrrd_layout`."""
    return _header(path)[1]


def _header(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """Fields, free text, and where the voxels begin."""
    with open_regular(path) as f:
        head = f.read(HEADER_BYTES)
    if not head:
        raise CaseRefused("EMPTY_FILE", path, "is empty (0 bytes)", "copy or export the CT again")
    end = BLANK_LINE.search(head)
    text = head[: end.start()] if end else head
    if not head.startswith(b"NRRD000"):
        raise damaged(path, "is not a NRRD file")
    fields: dict[str, str] = {}
    notes: dict[str, str] = {}
    for line in re.split(r"\r?\n", text.decode("utf-8", "replace"))[1:]:
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            if value.startswith("="):
                notes.setdefault(key, value[1:])
            else:
                fields.setdefault(key.strip().lower(), value.strip())
    if "data file" in fields or "datafile" in fields:
        raise CaseRefused("DETACHED_DATA", path, "keeps its voxels in another file", "save it as one .nrrd file")
    if not end:
        raise CaseRefused("TRUNCATED", path, "is cut off within its header", "copy the CT again")
    return fields, notes, end.end()


def _geometry(fields: dict[str, str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    signs = TO_LPS.get(fields.get("space", "").lower())
    if signs is None or "space directions" not in fields:
        cure = "save it with its orientation (space, space directions), for example from 3D Slicer"
        raise CaseRefused("NO_ORIENTATION", path, "does not say which side is up or left", cure)
    try:
        rows = [_vector(v) for v in re.findall(r"\([^)]*\)", fields["space directions"])]
        origin = _vector(fields.get("space origin", "(0,0,0)"))
        steps = np.array(rows, float).T
        if steps.shape != (3, 3) or len(origin) != 3:
            raise ValueError
    except ValueError:
        raise damaged(path, "has an unreadable orientation or origin") from None
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    if any(u not in ("mm", "millimeter", "millimeters", "") for u in units):
        raise CaseRefused("GEOMETRY", path, "is not measured in mm", "export the CT again")
    flip = np.array(signs, float)
    return flip[:, None] * steps, flip * np.array(origin)


def _vector(text: str) -> list[float]:
    return [float(v) for v in text.strip("() ").split(",")]
