"""What an image file's header announces, and the voxels read by that announcement: no more, no fewer.

Headers are parsed here in the project (nifti.py, nrrd.py, metaimage.py), because a reader that fills missing voxels
with 0 HU, drops NaN or follows a header to another file cannot be told apart from a good one afterwards.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unoise_engine import files
from unoise_engine.errors import CaseRefused
from unoise_engine.volume import budget
from unoise_engine.volume.budget import Deadline

DEFLATE_LIMIT = 1032  # a deflate stream cannot unpack to more than this many times its size
CHUNK = 1 << 20
HEADER_BYTES = 1 << 16  # text headers are shorter than this
LONGEST_PROLOGUE = 1 << 26  # bytes before the voxels: a header and what others add to it


@dataclass(frozen=True)
class Layout:
    """Voxel type, grid and place of the voxels. Axis orders follow ITK: x first."""

    dtype: np.dtype
    size: tuple[int, int, int]
    steps_mm: np.ndarray  # (3, 3); column j is the step along voxel axis j, LPS
    origin_mm: np.ndarray  # (3,), LPS
    offset: int  # bytes before the voxels
    packed: str = ""  # "file": the whole file is packed, header and all; "voxels": the voxels alone
    data: Path | None = None  # the file of the voxels, if it is another one
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def bytes(self) -> int:
        return math.prod(self.size) * self.dtype.itemsize


def open_regular(path: Path) -> BinaryIO:
    """Opens a plain file; a pipe, device or folder is refused instead of waited for. Raises CaseRefused."""
    try:
        return files.open_regular(path)
    except OSError as error:
        raise unreadable_file(path, error) from None


def unreadable_file(path: object, error: OSError) -> CaseRefused:
    reason = error.strerror or type(error).__name__
    return CaseRefused("UNREADABLE", path, f"cannot be read ({reason})", "check the path and its permissions")


def damaged(path: object, what: str) -> CaseRefused:
    return CaseRefused("DAMAGED", path, what, "copy or export the CT again")


def check_layout(layout: Layout, path: object) -> None:
    """What a header may ask for at all. Raises CaseRefused: DAMAGED, TOO_LARGE, GEOMETRY."""
    if min(layout.size) < 1 or layout.offset < 0:
        raise damaged(path, f"announces the impossible size {layout.size}")
    if layout.offset > LONGEST_PROLOGUE:
        raise damaged(path, f"has voxels that begin {layout.offset} bytes from its start")
    budget.check_voxels(layout.size, layout.dtype.itemsize, path)
    if not (np.isfinite(layout.steps_mm).all() and np.isfinite(layout.origin_mm).all()):
        raise CaseRefused("GEOMETRY", path, "has a position or spacing that is no number", "export the CT again")
    with np.errstate(over="ignore"):  # 1e308 squared is as impossible as it looks
        spacing = np.linalg.norm(layout.steps_mm, axis=0)
    if not ((spacing >= 0.01) & (spacing <= 100)).all():
        shown = " x ".join(f"{mm:.4g}" for mm in spacing)
        raise CaseRefused("GEOMETRY", path, f"has the impossible spacing {shown} mm", "export the CT again")
    if abs(np.linalg.det(layout.steps_mm / spacing)) < 0.1:
        raise CaseRefused("GEOMETRY", path, "has axes that lie in one plane", "export the CT again")
    if np.abs(layout.origin_mm).max() > 1e5:
        raise CaseRefused("GEOMETRY", path, "lies more than 100 m from the origin", "export the CT again")


def read_voxels(layout: Layout, path: Path, deadline: Deadline, always: int = budget.BOMB_BYTES) -> np.ndarray:
    """The voxels as stored, (z, y, x), in the machine's byte order. `always`: bytes that any file may unpack to.

    Raises CaseRefused: TRUNCATED (fewer than announced), DAMAGED (more by a row, column or slice, or a wrong
    checksum), BOMB, TOO_SLOW.
    """
    source = layout.data or path
    with open_regular(source) as f:
        there = os.fstat(f.fileno()).st_size
        if layout.packed:
            _check_packing(layout, there, source, always)
        elif there - layout.offset < layout.bytes:
            raise _cut(source, there - layout.offset, layout.bytes)
        flat = np.empty(math.prod(layout.size), layout.dtype)
        wanted = flat.view(np.uint8).data
        if layout.packed != "file":
            f.seek(layout.offset)
        pieces = unpacked(f, source, deadline) if layout.packed else iter(lambda: f.read(CHUNK), b"")
        skip = layout.offset if layout.packed == "file" else 0
        too_much = layout.bytes // max(layout.size)  # what one row, column or slice more would add
        got, extra = 0, 0
        try:
            for piece in pieces:
                if skip:
                    piece, skip = piece[skip:], skip - min(skip, len(piece))
                take = min(len(piece), len(wanted) - got)
                wanted[got : got + take] = piece[:take]
                got, extra = got + take, extra + len(piece) - take
                if extra >= too_much:
                    raise damaged(source, "holds more voxels than its header announces")
        except (EOFError, zlib.error) as error:
            what = "the packed voxels end early" if isinstance(error, EOFError) else "the packed voxels are damaged"
            raise _cut(source, got, layout.bytes, what) from None
        if got < layout.bytes:
            raise _cut(source, got, layout.bytes)
    if not layout.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(layout.dtype.newbyteorder())
    return scaled(flat.reshape(layout.size[::-1]), layout.slope, layout.intercept)


def _check_packing(layout: Layout, there: int, source: Path, always: int) -> None:
    if layout.bytes > there * DEFLATE_LIMIT:
        raise _cut(source, there, layout.bytes, "is far too short")
    budget.check_packing(layout.bytes, there, source, always)


def _cut(source: Path, there: int, wanted: int, what: str = "is cut off") -> CaseRefused:
    return CaseRefused("TRUNCATED", source, f"{what} ({there} bytes of {wanted} announced)", "copy the CT again")


def unpacked(f: BinaryIO, source: Path, deadline: Deadline) -> Iterator[bytes]:
    """A gzip or zlib stream in pieces of bounded size.

    Raises EOFError if it stops early, zlib.error if damaged, CaseRefused TOO_SLOW.
    """
    stream = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib by its first bytes, checksum included
    data = b""
    while True:
        deadline.check(source)
        data = data or f.read(CHUNK)
        if not data:
            raise EOFError
        yield stream.decompress(data, CHUNK)
        data = stream.unconsumed_tail
        if stream.eof:
            data = stream.unused_data.lstrip(b"\0") or f.read(CHUNK).lstrip(b"\0")
            if data[:2] != b"\x1f\x8b":
                return
            stream = zlib.decompressobj(wbits=47)  # gzip files may have several members


def scaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """stored * slope + intercept, without a float copy where whole numbers stay whole."""
    if slope == 1 and intercept == 0:
        return stored
    if slope == 1 and float(intercept).is_integer() and stored.dtype.kind in "iu" and abs(intercept) < 1 << 24:
        low, high = int(stored.min()) + int(intercept), int(stored.max()) + int(intercept)
        if low >= -32768 and high <= 32767:
            out = np.empty(stored.shape, np.int16)
            for k, one in enumerate(stored):
                out[k] = one.astype(np.int64) + int(intercept)
            return out
    out = np.empty(stored.shape, np.float32)
    for k, one in enumerate(stored):
        out[k] = one * np.float64(slope) + intercept
    return out
