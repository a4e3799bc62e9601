"""Volumes to files: to a temporary name, flushed, read back, then renamed, so that no reader meets half a file."""

from __future__ import annotations

import os
from pathlib import Path

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
    of that name intact, if it cannot be written whole.
    """
    partial = path.with_name(f".{os.getpid()}-{path.name}")  # same folder: a rename never crosses file systems
    try:
        sitk.WriteImage(to_image(volume), str(partial), useCompression=True, compressionLevel=1)
        # ITK reports no error on a full disk: read the file back and compare before it gets its name.
        again = sitk.ReadImage(str(partial))  # named, since the view below does not keep it alive
        if not np.array_equal(
            sitk.GetArrayViewFromImage(again), volume.voxels, equal_nan=volume.voxels.dtype.kind == "f"
        ):
            raise OSError(28, "the file does not read back as written; is the disk full?")
        with partial.open("r+b") as f:
            os.fsync(f.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        raise cannot_write(path, error) from None
    finally:
        partial.unlink(missing_ok=True)


def cannot_write(path: Path, error: Exception) -> Environment:
    reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1]
    return Environment(f"{path} - cannot be written ({reason}) - check the folder's permissions and free space")
