"""A DICOM file as such: its preamble, its meta information, and its header read in bounded memory."""

from __future__ import annotations

import logging
import os
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import BOMB_BYTES, BOMB_RATIO
from unoise_engine.volume.layout import CHUNK, open_regular

PREAMBLE = 132  # bytes, the last four are DICM
LARGEST_INFLATED = 1 << 28  # bytes of one deflated file: 500 slices of 512 x 512


def is_dicom(path: Path) -> bool:
    """Whether the file begins as DICOM files do. Raises CaseRefused if it cannot be read."""
    with open_regular(path) as f:
        return f.read(PREAMBLE)[128:] == b"DICM"


def is_bare(path: Path) -> bool:
    """Whether it begins with a DICOM data set and lacks the preamble before it, as old archives export slices.

    Raises CaseRefused if it cannot be read.
    """
    with open_regular(path) as f:
        group, element, vr, length = (f.read(n) for n in (2, 2, 2, 2))
    known = group in (b"\x08\0", b"\0\x08", b"\x02\0") and b"\0" in element  # the groups that come first
    return known and ((vr.isalpha() and vr.isupper()) or (0 in vr and length == b"\0\0"))


def read_header(path: Path, fields: list[str] | None = None, pixels: bool = False) -> pydicom.Dataset:
    """Some fields, or with `pixels` the whole file. Raises CaseRefused, or whatever pydicom raises."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it would print field values
    with open_regular(path) as f, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _refuse_bomb(f, path)
        f.seek(0)
        return pydicom.dcmread(Clamped(f), stop_before_pixels=not pixels, specific_tags=None if pixels else fields)


class Clamped:
    """A file that is never asked for more bytes than are left: Python sets aside as many as a damaged length says."""

    def __init__(self, file: BinaryIO):
        self.size = os.fstat(file.fileno()).st_size
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        left = max(0, self.size - self.tell())
        return self.file.read(left if count is None or count < 0 else min(count, left))


def _refuse_bomb(f: BinaryIO, path: Path) -> None:
    """Counts how far a deflated file inflates, without keeping it: pydicom inflates all of it at once."""
    if _syntax(f) != DeflatedExplicitVRLittleEndian:
        return
    there = os.fstat(f.fileno()).st_size
    limit = min(LARGEST_INFLATED, max(BOMB_BYTES, BOMB_RATIO * there))
    stream, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while total <= limit and not stream.eof:
            data = stream.unconsumed_tail or f.read(CHUNK)
            if not data:
                return
            total += len(stream.decompress(data, CHUNK))
    except zlib.error:
        return  # not deflated after all, or damaged: reading it says so
    if total > limit:
        what = "inflates to more than any CT slice holds"
        raise CaseRefused("BOMB", path, what, "check where the file comes from")


def _syntax(f: BinaryIO) -> str:
    """The transfer syntax, found as pydicom finds it, wherever it stands; `f` is left where the data set begins."""
    f.seek(PREAMBLE)
    meta = read_dataset(Clamped(f), False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)  # type: ignore[arg-type]
    return str(meta.get("TransferSyntaxUID") or "")
