"""Image files (NIfTI, NRRD, MetaImage) to volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import Deadline
from unoise_engine.volume.hu import check_content, vet
from unoise_engine.volume.layout import Layout, check_layout, read_voxels
from unoise_engine.volume.metaimage import metaimage_layout
from unoise_engine.volume.nifti import nifti_layout
from unoise_engine.volume.nrrd import nrrd_layout
from unoise_engine.volume.straighten import Planes, rigid_grid, straighten
from unoise_engine.volume.volume import Grid, Volume, check_size

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
DETACHED_SUFFIXES = (".nhdr", ".hdr")  # headers whose voxels lie elsewhere, by their format


def is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def is_header(path: Path) -> bool:
    """A header whose voxels lie elsewhere: refused when read."""
    return path.name.lower().endswith(DETACHED_SUFFIXES)


def read_image(path: Path, modality: str = "CT") -> Volume:
    """One 3-D scalar image file -> Volume in the file's own voxel type and order; a CT or its labels, or an image of
    another `modality`.

    Raises CaseRefused: SHEARED, and whatever `load_image` refuses.
    """
    voxels, layout = load_image(path, modality)
    grid = rigid_grid(layout.size, layout.steps_mm, layout.origin_mm)
    if grid is None:
        raise CaseRefused("SHEARED", path, "has axes that are not perpendicular", "resample it to an upright grid")
    return Volume(voxels, grid)


def read_straight(
    path: Path, trust_hu: bool = False, deadline: Deadline | None = None, modality: str = "CT"
) -> tuple[Volume, list[str], Planes | None]:
    """A CT file -> clean HU, a sentence for each correction, and, if it was resampled, where its slices lay.

    Values of another `modality` are taken as they are.
    Voxels on sheared axes are resampled to an upright grid. Raises CaseRefused: what `load_image` and `vet` refuse.
    """
    deadline = deadline or Deadline()
    layout = image_layout(path, deadline, modality)
    grid = rigid_grid(layout.size, layout.steps_mm, layout.origin_mm)
    if grid is not None:
        check_size(grid, path)
    return upright(read_voxels(layout, path, deadline), layout, path, trust_hu, modality)


def upright(
    voxels: np.ndarray, layout: Layout, source: object, trust_hu: bool, modality: str
) -> tuple[Volume, list[str], Planes | None]:
    """`read_straight` from the voxels on, (z, y, x); may change them in place."""
    notes: list[str] = []
    if modality == "CT":
        voxels, notes = vet(voxels, source, trust_hu)
    else:
        check_content(voxels, source)
    grid = rigid_grid(layout.size, layout.steps_mm, layout.origin_mm)
    if grid is not None:
        check_size(grid, source)
        return Volume(voxels, grid), notes, None
    notes.append("its axes were not perpendicular (sheared): resampled to an upright grid")
    planes = Planes.of_affine(layout.size, layout.steps_mm, layout.origin_mm)
    ct = straighten(voxels, layout.steps_mm, layout.origin_mm, source)
    check_size(ct.grid, source)
    return ct, notes, planes


def load_image(path: Path, modality: str = "CT") -> tuple[np.ndarray, Layout]:
    """Voxels (z, y, x) and what the header says of them.

    Raises CaseRefused: what `image_layout` refuses, and TRUNCATED, BOMB.
    """
    deadline = Deadline()
    layout = image_layout(path, deadline, modality)
    return read_voxels(layout, path, deadline), layout


def image_layout(path: Path, deadline: Deadline, modality: str = "CT") -> Layout:
    """What the header says, checked before a voxel is read.

    Raises CaseRefused: EMPTY_FILE, TRUNCATED, DAMAGED, TOO_LARGE, TOO_SLOW, DETACHED_DATA, UNREADABLE, NOT_3D,
    NOT_SCALAR, NOT_CT, NO_ORIENTATION, ORIENTATION_CONFLICT, GEOMETRY.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        layout = nifti_layout(path, deadline)
    elif name.endswith(".nrrd"):
        layout = nrrd_layout(path)
    elif name.endswith((".mha", ".mhd")):
        layout = metaimage_layout(path, modality)
    elif is_header(path):
        raise CaseRefused("DETACHED_DATA", path, "keeps its voxels in another file", "save it as one .nii.gz or .nrrd")
    else:
        kinds = ".nii, .nii.gz, .nrrd, .mha, .mhd or DICOM"
        raise CaseRefused("UNREADABLE", path, "is not a kind of file that is read here", f"give {kinds}")
    check_layout(layout, path)
    return layout


def from_image(image: sitk.Image) -> Volume:
    grid = Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return Volume(sitk.GetArrayFromImage(image), grid)


def check_ct(ct: Volume, source: object) -> Volume:
    """Refuses a volume that cannot be a CT in HU: nothing finite, or one value everywhere.

    NaN and infinity among good voxels stay: the recipe reads them as air.
    """
    check_content(ct.voxels, source)
    return ct
