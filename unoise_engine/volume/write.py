"""Volumes to files, read back before they get their name, so that no reader meets half a file."""

from __future__ import annotations

import errno
import gzip
import hashlib
import math
import shutil
import struct
import zlib
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from unoise_engine.errors import Environment
from unoise_engine.files import new_file
from unoise_engine.volume.names import for_itk
from unoise_engine.volume.packed import packed
from unoise_engine.volume.volume import Volume, Voxels

SUFFIXES = {"nifti": ".nii.gz", "nrrd": ".nrrd"}


def to_image(volume: Volume) -> sitk.Image:
    """A copy as SimpleITK has it: spacing and origin in mm, LPS."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.voxels))
    image.SetSpacing(volume.grid.spacing_mm)
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image


def write_volume(volume: Voxels, path: Path, replace: bool = False) -> None:
    """Writes the volume, compressed, in the format its suffix names (.nii.gz, .nrrd), one plane after the other.

    No text field is set, so nothing of the patient reaches the header. Raises Environment, and leaves an earlier file
    of that name intact, if it cannot be written whole or may not be replaced (`files.new_file`); MemoryError if memory
    ran out.
    """
    try:
        with new_file(path, replace) as draft:
            header = _header(volume, draft.path)
            with draft.path.open("wb") as f:
                draft.sha256 = _write(f, header, volume, header_is_packed=path.name.endswith(".nii.gz"))
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" in str(error):
            raise MemoryError(str(error)) from None
        raise cannot_write(path, error, math.prod(volume.grid.size) * volume.dtype.itemsize) from None


def write_picture(rgb: np.ndarray, draft: Path) -> None:
    """(rows, columns, 3) uint8 as PNG or JPEG, by the suffix. Raises OSError."""
    try:
        sitk.WriteImage(sitk.GetImageFromArray(rgb, isVector=True), str(draft), useCompression=True)
    except RuntimeError:
        raise OSError(errno.EIO, "the picture cannot be written") from None


def write_thumbnail(picture: Path, draft: Path, height: int = 110) -> None:
    """A PNG made small, about so many pixels high, as JPEG: a summary of thousands of cases must stay a page that
    opens. Raises OSError."""
    try:
        image = sitk.ReadImage(str(picture), sitk.sitkVectorUInt8)
        times = max(1, round(image.GetHeight() / height))
        small = sitk.GetArrayFromImage(sitk.BinShrink(image, [times, times]))[..., :3]
    except RuntimeError:
        raise OSError(errno.EIO, "the picture does not read back") from None
    write_picture(small, draft)


def _header(volume: Voxels, path: Path) -> bytes:
    """What ITK writes before the voxels of such a volume, taken from a file of one voxel, which `path` becomes."""
    grid = volume.grid
    try:
        one = replace(grid, size=(1, 1, 1))
        sitk.WriteImage(to_image(Volume(np.zeros((1, 1, 1), volume.dtype), one)), for_itk(path), useCompression=True)
        content = path.read_bytes()
        if path.name.endswith(".nii.gz"):
            header = bytearray(gzip.decompress(content)[:352])
            header[42:48] = struct.pack("<3h", *grid.size)
            return bytes(header)
        text = content[: content.index(b"\n\n") + 2]
        return text.replace(b"\nsizes: 1 1 1\n", b"\nsizes: %d %d %d\n" % grid.size)
    except (EOFError, ValueError, struct.error, zlib.error):
        raise OSError(errno.EIO, "its header cannot be made") from None


def _write(f: BinaryIO, header: bytes, volume: Voxels, header_is_packed: bool) -> str:
    """Returns the sha256 of all that was written."""
    little = (np.ascontiguousarray(plane, volume.dtype.newbyteorder("<")) for plane in volume.planes())
    inside = [np.frombuffer(header, np.uint8)] if header_is_packed else []
    digest = hashlib.sha256()
    for part in chain([] if header_is_packed else [header], packed(chain(inside, little))):
        digest.update(part)
        f.write(part)
    return digest.hexdigest()


def cannot_write(path: Path, error: Exception, needed: int = 0) -> Environment:
    """`needed`: the most bytes that what was to be written can take."""
    reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1]
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        free = -1
    if 0 <= free < max(needed, 1) or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
        wants = f"up to {needed} bytes needed, " if needed else ""
        reason = f"disk full: {wants}{max(free, 0)} bytes free"
    return Environment(path, f"cannot be written ({reason})", "check the folder's permissions and free space")
