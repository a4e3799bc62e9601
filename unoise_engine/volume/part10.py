"""A DICOM file as such: its preamble, its meta information, and its header read in bounded memory."""

from __future__ import annotations

import logging
import os
import re
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.filereader import read_dataset
from pydicom.tag import TagListType
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import VR

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import BOMB_BYTES, BOMB_RATIO
from unoise_engine.volume.layout import CHUNK, open_regular

PREAMBLE = 132  # bytes, the last four are DICM
STANDARD = "1.2.840.10008."  # how the standard's own UIDs begin
EXPLICIT_VR = {kind.value for kind in VR if len(kind.value) == 2}  # the types of elements, as they are spelt in a file
LARGEST_INFLATED = 1 << 28  # bytes of one deflated file: 500 slices of 512 x 512


def is_dicom(path: Path) -> bool:
    """Whether it is a DICOM file, with or without the preamble. Raises CaseRefused if it cannot be read."""
    with open_regular(path) as f:
        return _has_preamble(f) or _bare_start(f) is not None


def read_header(path: Path, fields: list[str] | None = None, pixels: bool = False) -> pydicom.Dataset:
    """Some fields, or with `pixels` the whole file. Raises CaseRefused, or whatever pydicom raises."""
    with open_regular(path) as f:
        return read_open(f, path, None if pixels else fields, pixels)


def read_open(f: BinaryIO, path: Path, fields: TagListType | None, pixels: bool = False) -> pydicom.Dataset:
    """The same of an open file, which is left where the pixels begin. The file's meta information names a transfer
    syntax, in any case. `preamble` of what comes back is None if the file has none, or names no transfer syntax."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it would print field values
    start = None if _has_preamble(f) else _bare_start(f)
    file = Clamped(f, start or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _refuse_bomb(file, path, PREAMBLE if start is None else 0)
        file.seek(0)
        force = start is not None
        dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=force, specific_tags=fields)
    if not dataset.file_meta.get("TransferSyntaxUID"):  # pydicom told it by the first element
        implicit, little = dataset.original_encoding
        told = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else told
        dataset.preamble = None
    return dataset


class Clamped:
    """A file from `start` on that is never asked for more bytes than are left: Python sets aside as many as a damaged
    length says."""

    def __init__(self, file: BinaryIO, start: int = 0):
        self.size, self.start = os.fstat(file.fileno()).st_size, start
        self.file = file
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset + (self.start if whence == os.SEEK_SET else 0), whence) - self.start

    def tell(self) -> int:
        return self.file.tell() - self.start

    def read(self, count: int = -1) -> bytes:
        left = max(0, self.size - self.file.tell())
        return self.file.read(left if count is None or count < 0 else min(count, left))


def _has_preamble(f: BinaryIO) -> bool:
    f.seek(0)
    return f.read(PREAMBLE)[128:] == b"DICM"


def _bare_start(f: BinaryIO) -> int | None:
    """Where a DICOM data set begins that lacks the preamble before it, or a part of it, as old archives and some
    exports write them; None where none does."""
    f.seek(0)
    head = f.read(PREAMBLE + 8)
    for start in (0, 128, *([4] if head.startswith(b"DICM") else [])):
        if _is_element(head[start : start + 8]) and _says_its_kind(Clamped(f, start)):
            return start
    return None


def _is_element(head: bytes) -> bool:
    """Whether these 8 bytes begin an element of the groups that come first: its tag, its type or its length."""
    group, element, vr, length = (head[k : k + 2] for k in (0, 2, 4, 6))
    known = group in (b"\x08\0", b"\0\x08", b"\x02\0") and b"\0" in element
    explicit = vr.decode("latin-1") in EXPLICIT_VR
    return known and (explicit or (group[1:] == b"\0" and 0 in vr and length == b"\0\0"))


def _says_its_kind(file: Clamped) -> bool:
    """Whether the data set names the kind of its object as the standard has it: what no other file does by chance."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first = _read_until(file, 2)
            if first:
                return str(first.get("MediaStorageSOPClassUID") or first.get("TransferSyntaxUID")).startswith(STANDARD)
            first = _read_until(file, 8)
            modality = re.fullmatch("[A-Z]{2,16}", str(first.get("Modality")))
            return str(first.get("SOPClassUID")).startswith(STANDARD) or modality is not None
    except Exception:  # no element after all: pydicom raises whatever it leads to
        return False


def _read_until(file: Clamped, group: int) -> pydicom.Dataset:
    """The elements of the groups up to this one."""
    file.seek(0)
    first, kind = file.read(4), file.read(2)
    file.seek(0)
    return read_dataset(
        file,  # type: ignore[arg-type]
        is_implicit_VR=kind.decode("latin-1") not in EXPLICIT_VR,
        is_little_endian=first[0] != 0,
        stop_when=lambda tag, vr, length: tag.group > group,
    )


def _refuse_bomb(f: Clamped, path: Path, start: int) -> None:
    """Counts how far a deflated file inflates, without keeping it: pydicom inflates all of it at once."""
    if _syntax(f, start) != DeflatedExplicitVRLittleEndian:
        return
    there = f.size
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


def _syntax(f: Clamped, start: int) -> str:
    """The transfer syntax, found as pydicom finds it, wherever it stands; `f` is left where the data set begins."""
    f.seek(start)
    meta = read_dataset(f, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)  # type: ignore[arg-type]
    return str(meta.get("TransferSyntaxUID") or "")
