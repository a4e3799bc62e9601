"""NIfTI-1 and NIfTI-2 headers. The standard's frame is RAS; here it becomes LPS."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import Deadline
from unoise_engine.volume.layout import Layout, damaged, open_regular, unpacked

TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
COLOURS = {32: "complex", 128: "colour", 1792: "complex", 2304: "colour"}
UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # of xyzt_units: unknown is taken for mm, as everybody does
AGREE_MM = 0.1  # how far sform and qform may place a corner apart
LONGEST_HEADER = 540

# name: (offset, struct format) in NIfTI-1 and NIfTI-2
FIELDS_1 = {
    "dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"), "vox_offset": (108, "f"),
    "scl": (112, "2f"), "units": (123, "B"), "codes": (252, "2h"), "quatern": (256, "6f"), "srow": (280, "12f"),
}  # fmt: skip
FIELDS_2 = {
    "dim": (16, "8q"), "datatype": (12, "h"), "bitpix": (14, "h"), "pixdim": (104, "8d"), "vox_offset": (168, "q"),
    "scl": (176, "2d"), "units": (500, "i"), "codes": (344, "2i"), "quatern": (352, "6d"), "srow": (400, "12d"),
}  # fmt: skip
ROUNDED = (
    4 * 2.0**-23
)  # of a sum of squares near 1, written in single precision; half a turn then seems up to 0.08 degrees less


def nifti_layout(path: Path, deadline: Deadline) -> Layout:
    """Raises CaseRefused: DAMAGED, DETACHED_DATA, NOT_3D, NOT_SCALAR, NO_ORIENTATION, ORIENTATION_CONFLICT."""
    header, packed = _first_bytes(path, deadline)
    fields = _fields(header, path)
    axes, *dims = (int(n) for n in fields["dim"])
    if not 1 <= axes <= 7 or min(dims[:axes]) < 1:
        raise damaged(path, f"has impossible dimensions {tuple(dims[: max(0, axes)])}")
    if axes < 3 or any(n > 1 for n in dims[3:axes]):
        shape = " x ".join(map(str, dims[:axes]))
        raise CaseRefused("NOT_3D", path, f"has {axes} axes ({shape})", "give one 3-D CT volume")
    (code,), (bits,) = fields["datatype"], fields["bitpix"]
    if code in COLOURS:
        raise CaseRefused("NOT_SCALAR", path, f"holds {COLOURS[code]} voxels", "give a CT in HU")
    if code not in TYPES or np.dtype(TYPES[code]).itemsize * 8 != bits:
        raise damaged(path, f"has voxel type {code} with {bits} bits, which does not exist")
    offset = fields["vox_offset"][0]
    if not np.isfinite(offset) or offset < 348:
        raise damaged(path, "has voxels that begin inside its header")
    slope, intercept = (float(v) for v in fields["scl"])
    if slope == 0 or not np.isfinite(slope):  # the standard: zero means unscaled; NaN is what some writers mean by it
        slope, intercept = 1.0, 0.0
    if not np.isfinite(intercept):
        raise damaged(path, "has an intercept that is no number")
    steps, origin = _geometry(fields, (dims[0], dims[1], dims[2]), path)
    return Layout(
        dtype=np.dtype(fields["order"][0] + TYPES[code]),
        size=(dims[0], dims[1], dims[2]),
        steps_mm=steps,
        origin_mm=origin,
        offset=int(offset),
        packed="file" if packed else "",
        slope=slope,
        intercept=intercept,
    )


def _first_bytes(path: Path, deadline: Deadline) -> tuple[bytes, bool]:
    with open_regular(path) as f:
        start = f.read(LONGEST_HEADER)
        if not start:
            raise CaseRefused("EMPTY_FILE", path, "is empty (0 bytes)", "copy or export the CT again")
        if start[:2] != b"\x1f\x8b":
            return start, False
        f.seek(0)
        header = b""
        try:
            for piece in unpacked(f, path, deadline):
                header += piece
                if len(header) >= LONGEST_HEADER:
                    break
        except (EOFError, zlib.error):
            if len(header) < 348:
                raise CaseRefused("TRUNCATED", path, "is cut off within its header", "copy the CT again") from None
    return header, True


def _fields(header: bytes, path: Path) -> dict[str, tuple[Any, ...]]:
    for order in "<>":
        for length, table, magic_at in ((348, FIELDS_1, 344), (540, FIELDS_2, 4)):
            if len(header) < length or struct.unpack_from(order + "i", header)[0] != length:
                continue
            magic = header[magic_at : magic_at + 3]
            if magic in (b"ni1", b"ni2"):
                raise CaseRefused("DETACHED_DATA", path, "keeps its voxels in another file", "save it as one .nii.gz")
            if magic not in (b"n+1", b"n+2"):
                raise damaged(path, "is an Analyze file or a damaged NIfTI, which leaves its orientation open")
            fields: dict[str, tuple[Any, ...]] = {
                k: struct.unpack_from(order + f, header, at) for k, (at, f) in table.items()
            }
            return fields | {"order": (order,)}
    raise damaged(path, "is not a NIfTI file")


def _geometry(
    fields: dict[str, tuple[Any, ...]], size: tuple[int, int, int], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """(steps in mm a voxel axis, origin), LPS; from the sform if set, checked against the qform if that is set too."""
    unit = UNIT_MM.get(fields["units"][0] & 7)
    if unit is None:
        raise damaged(path, "has an unknown unit of length")
    qform_code, sform_code = fields["codes"]
    found = []
    if sform_code > 0:
        found.append(np.array(fields["srow"], float).reshape(3, 4) * unit)
    if qform_code > 0:
        found.append(_qform(fields) * unit)
    if not found:
        raise unoriented(path)
    if len(found) == 2:
        turned = [found[1], _qform(fields, half_turn=True) * unit] if _may_be_half_turn(fields) else [found[1]]
        check_agreement(found[0], turned, size, path)
    return to_lps(found[0])


def to_lps(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxel to RAS, (3, 4) -> (steps in mm a voxel axis, origin), LPS."""
    lps = np.array([[-1.0], [-1.0], [1.0]]) * affine
    return lps[:, :3], lps[:, 3]


def unoriented(source: object) -> CaseRefused:
    cure = "save it with its orientation (sform or qform), for example from 3D Slicer"
    return CaseRefused("NO_ORIENTATION", source, "does not say which side is up or left", cure)


def check_agreement(
    sform: np.ndarray, qforms: Sequence[np.ndarray], size: tuple[int, int, int], source: object
) -> None:
    """Refuses (3, 4) affines that place a corner apart; of several readings of the qform one has to agree."""
    last = [n - 1 for n in size]
    corners = np.array([[x, y, z, 1] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])], float)
    with np.errstate(all="ignore"):
        apart = min(np.linalg.norm(corners @ (sform - one).T, axis=1).max() for one in qforms)
    if not apart <= AGREE_MM:
        what = f"is placed {apart:.1f} mm apart by its two orientations (sform and qform)"
        raise CaseRefused("ORIENTATION_CONFLICT", source, what, "remove the wrong one, or export the CT again")


def _may_be_half_turn(fields: dict[str, tuple[Any, ...]]) -> bool:
    """Whether a quaternion is one of half a turn but for rounding: its first part, not in the file, is what is left."""
    return bool(abs(1 - sum(float(v) ** 2 for v in fields["quatern"][:3])) < ROUNDED)


def _qform(fields: dict[str, tuple[Any, ...]], half_turn: bool = False) -> np.ndarray:
    b, c, d, *offset = (float(v) for v in fields["quatern"])
    a = np.sqrt(max(0.0, 1 - (b * b + c * c + d * d))) if not half_turn else 0.0
    turn = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    handed, x, y, z = (float(v) for v in fields["pixdim"][:4])
    return np.column_stack([turn * [x, y, z if handed >= 0 else -z], offset])
