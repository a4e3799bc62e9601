"""The pixels of a multi-frame DICOM file, frame by frame: the file is never in memory as a whole."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pydicom
from pydicom.encaps import encapsulate, get_frame
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.layout import open_regular
from unoise_engine.volume.part10 import read_header, read_open

# Besides the pixels: what decoding needs, and where overlays are said to lie within the pixels' bits.
FIELDS = [Tag(name) for name in (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation",
)] + [Tag(0x6000 + group, 0x0102) for group in range(0, 0x20, 2)]  # fmt: skip
PIXEL_DATA = (0x7FE0, 0x0010)
UNDEFINED = 0xFFFFFFFF  # the length of packed pixels


def unsaid_packing(source: object) -> CaseRefused:
    what = "packs its pixels, and no preamble says how"
    return CaseRefused("UNDECODABLE", source, what, "export it again, as DICOM files with their preamble (Part 10)")


class Frames:
    """One file, open. `frame` gives a dataset that holds one frame, until the next one is asked for. `length` is
    that of the pixels in bytes, as they are stored."""

    def __init__(self, path: Path):
        """Raises CaseRefused, or whatever pydicom raises."""
        self.file = open_regular(path)
        self.start, self.length = 0, 0
        try:
            self.dataset = read_open(self.file, path, FIELDS)
            self.syntax = UID(str(self.dataset.file_meta.TransferSyntaxUID))
            self.whole = (
                read_header(path, pixels=True).get("PixelData")
                if self.syntax == DeflatedExplicitVRLittleEndian
                else None
            )
            if self.whole is None:
                self._find_pixels(path)
            else:
                self.length = len(self.whole)
        except BaseException:
            self.file.close()
            raise

    def _find_pixels(self, path: Path) -> None:
        """Where the value of the pixel data begins, and how many bytes of it are there."""
        order = "<" if self.syntax.is_little_endian else ">"
        tag = self.file.read(4)
        if len(tag) < 4 or struct.unpack(f"{order}HH", tag) != PIXEL_DATA:
            return
        head = self.file.read(4 if self.syntax.is_implicit_VR else 8)
        said = struct.unpack(f"{order}I", head[-4:])[0]
        if said == UNDEFINED and not self.syntax.is_encapsulated:
            raise unsaid_packing(path)
        self.start = self.file.tell()
        self.length = min(said, os.fstat(self.file.fileno()).st_size - self.start)

    def frame(self, k: int, count: int, bytes_each: int) -> pydicom.Dataset:
        """The k-th of `count` frames; without pixels if the file has none, with too few if it is cut off."""
        if self.whole is not None:
            content = self.whole[k * bytes_each : (k + 1) * bytes_each]
        elif self.syntax.is_encapsulated:
            self.file.seek(self.start)
            content = encapsulate([get_frame(self.file, k, number_of_frames=count)]) if self.length else b""
        else:
            self.file.seek(self.start + k * bytes_each)
            content = self.file.read(max(0, min(bytes_each, self.length - k * bytes_each)))
        if content:
            self.dataset.PixelData = content + b"\0" * (len(content) % 2)
            self.dataset["PixelData"].VR = "OB" if self.syntax.is_encapsulated else "OW"
        self.dataset.NumberOfFrames = 1
        return self.dataset

    def close(self) -> None:
        self.file.close()
