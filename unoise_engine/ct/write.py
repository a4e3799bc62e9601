"""Volumes to files: to a temporary name, flushed, read back, then renamed, so that no reader meets half a file."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import SimpleITK as sitk

from unoise_engine.ct.volume import Volume
from unoise_engine.errors import Environment

SUFFIXES = {"nifti": ".nii.gz", "nrrd": ".nrrd"}


def to_image(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.voxels))
    image.SetSpacing(volume.grid.spacing_mm)
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image


def write_volume(volume: Volume, path: Path) -> None:
    """Writes the volume, compressed, in the format its suffix names (.nii.gz, .nrrd, .mha).

    No text field is set, so nothing of the patient reaches the header. Raises Environment, and leaves an earlier file
    of that name intact, if it cannot be written whole; MemoryError if memory ran out.
    """
    partial = path.with_name(f".{os.getpid()}-{path.name}")  # same folder: a rename never crosses file systems
    voxels = np.ascontiguousarray(volume.voxels)
    try:
        sitk.WriteImage(to_image(volume), str(partial), useCompression=True, compressionLevel=1)
        # ITK reports no error on a full disk: read the file back and compare before it gets its name.
        if not _reads_back(partial, voxels):
            raise OSError(errno.EIO, "the file does not read back as written")
        with partial.open("r+b") as f:
            os.fsync(f.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" in str(error):
            raise MemoryError(str(error)) from None
        raise cannot_write(path, error, voxels.nbytes) from None
    finally:
        partial.unlink(missing_ok=True)


def _reads_back(path: Path, voxels: np.ndarray) -> bool:
    """Whether the file holds exactly these voxels, read piece by piece: a second volume in memory would be too much."""
    wanted = voxels.reshape(-1).view(np.uint8).data
    place = 0
    if path.name.endswith(".mha"):
        again = sitk.ReadImage(str(path))  # named, since the view below does not keep it alive
        return sitk.GetArrayViewFromImage(again).tobytes() == voxels.tobytes()
    try:
        with _voxel_stream(path) as stream:
            while piece := stream.read(1 << 20):
                if piece != wanted[place : place + len(piece)]:
                    return False
                place += len(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error):
        return False
    return place == len(wanted)


@contextmanager
def _voxel_stream(path: Path) -> Iterator[IO[bytes]]:
    """The voxels of a file just written here: little-endian, compressed, after a header."""
    with path.open("rb") as raw:
        if path.name.endswith(".nii.gz"):
            with gzip.open(raw) as stream:
                header = stream.read(348)
                stream.read(int(struct.unpack("<f", header[108:112])[0]) - len(header))
                yield stream  # type: ignore[misc]
        else:  # .nrrd: text up to an empty line
            while raw.readline().strip():
                pass
            with gzip.open(raw) as stream:
                yield stream  # type: ignore[misc]


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
    return Environment(f"{path} - cannot be written ({reason}) - check the folder's permissions and free space")
