"""The model's segmentation as a node: filled, read back as voxels, and whether somebody has worked on it. MRML only."""

from __future__ import annotations

import re
import zlib
from typing import Any

import numpy as np
import slicer
from vtk.util import numpy_support

from UNoiseSlicerLib.fingerprint import Fingerprint
from UNoiseSlicerLib.volumes import image_of, matrix_from, matrix_of

MASK = "UNoise.Mask"  # node attribute: checksum of the voxels that the model found
TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^{code}^{meaning}~{side}~Anatomic codes - DICOM master list~^^~^^"
)
SIDES = {"left": "SCT^7771000^Left", "right": "SCT^24028007^Right"}
OUTLINE = (0.22, 0.82, 1.0)  # cyan: absent from the colour maps
OUTLINES = (OUTLINE, (1.0, 0.55, 0.9), (0.45, 1.0, 0.65), (0.72, 0.72, 1.0), (1.0, 1.0, 1.0))  # so are these
OUTLINE_PIXELS = 2


def fill(node: Any, ct: Any, organ: str, voxels: np.ndarray) -> None:
    """Makes the organ the one segment of the node. `voxels`: (k, j, i) on the CT's grid, 0 where it is not."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility2DOutline(True)
        node.GetDisplayNode().SetSliceIntersectionThickness(OUTLINE_PIXELS)
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segmentation = node.GetSegmentation()
    segmentation.RemoveAllSegments()
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation.SetSourceRepresentationName(binary)
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(image_of(voxels > 0))
    image.SetImageToWorldMatrix(matrix_of(ct))
    segment = slicer.vtkSegment()
    segment.SetName(organ)
    segment.SetColor(*colour_of(organ))
    if entry := terminology(organ):
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    segment.AddRepresentation(binary, image)
    segmentation.AddSegment(segment, organ)
    node.SetAttribute(MASK, checksum(voxels, ct))


def colour_of(organ: str) -> tuple[float, float, float]:
    """The same one for a label each time."""
    return OUTLINE if organ.lower() == "pancreas" else OUTLINES[zlib.crc32(organ.encode()) % len(OUTLINES)]


def terminology(organ: str) -> str:
    """Slicer's entry for a label by its English name, such as kidney_left; empty for what SNOMED CT, in DICOM's
    selection, does not have under that name."""
    from pydicom.sr.codedict import codes  # Slicer has it; it takes a moment to load

    words = re.split(r"[\s_-]+", organ.lower())
    sides = [word for word in words if word in SIDES]
    keyword = "".join(word.capitalize() for word in words if word not in SIDES)
    known: Any = getattr(codes.SCT, keyword, None) if keyword.isidentifier() else None
    if len(sides) > 1 or not hasattr(known, "meaning"):
        return ""
    return TERMINOLOGY.format(code=known.value, meaning=known.meaning, side=SIDES[sides[0]] if sides else "^^")


def mask_on(node: Any, matrix: Any, size: tuple[int, ...], chosen: str = "") -> np.ndarray | None:
    """The node's one segment, or the one with the id `chosen`, as (k, j, i) voxels, 0 or 1, on a grid given by IJK to
    RAS and (i, j, k); None if there are more segments or none, or if they cannot be laid on the grid."""
    segmentation = node.GetSegmentation()
    if not chosen and segmentation.GetNumberOfSegments() != 1:
        return None
    grid, image = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(chosen or segmentation.GetNthSegmentID(0), image)
    grid.ShallowCopy(image_of(np.zeros(tuple(reversed(size)), np.uint8)))
    grid.SetImageToWorldMatrix(matrix)
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(image, grid, grid):
        return None
    voxels = numpy_support.vtk_to_numpy(grid.GetPointData().GetScalars())
    return (voxels.reshape(*reversed(grid.GetDimensions())) > 0).astype(np.uint8)


def checksum(mask: np.ndarray, ct: Any) -> str:
    """Of voxels in the order of a right-handed grid: that is what Slicer makes of a left-handed one when it reloads."""
    right_handed = matrix_of(ct).Determinant() > 0
    return _checksum(mask if right_handed else mask[::-1])


def _checksum(mask: np.ndarray) -> str:
    return f"{zlib.crc32(np.packbits(mask > 0).tobytes()):08x}"


def is_edited(node: Any, then: Fingerprint | None) -> bool:
    """Whether somebody painted, renamed or added a segment since `fill`. `then`: of the CT, which may lie elsewhere
    now. True also where that cannot be known."""
    if then is None or node.GetSegmentation().GetNumberOfSegments() != 1:
        return True
    if node.GetSegmentation().GetNthSegment(0).GetName() != node.GetSegmentation().GetNthSegmentID(0):
        return True
    mask = mask_on(node, matrix_from(then.matrix), then.size)
    return mask is None or _checksum(mask) != node.GetAttribute(MASK)
