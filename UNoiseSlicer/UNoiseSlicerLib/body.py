"""Where the patient is: neither air around the body, nor the table. MRML only."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer.util
import vtk
from vtk.util import numpy_support

from UNoiseSlicerLib.axial import axial_axis
from UNoiseSlicerLib.volumes import image_of, matrix_of

DENSER_THAN_HU = -300
TABLE_MM = 4.0  # thinner than twice this is no patient
COARSE = 160  # voxels along the longest side of a slice: enough for an outline, and quick
LEAST_SHARE = 0.02  # of the volume; less is no body, and nothing is known then


def body_of(ct: Any) -> np.ndarray:
    """(k, j, i) bool: the largest dense thing, and on each axial slice what it surrounds on four sides, such as lungs;
    true everywhere if there is none."""
    hu = slicer.util.arrayFromVolume(ct)
    axis = 2 - axial_axis(matrix_of(ct))[0]
    plane = [a for a in range(3) if a != axis]
    step = max(1, max(hu.shape[a] for a in plane) // COARSE)
    dense = hu[tuple(slice(None) if a == axis else slice(None, None, step) for a in range(3))] > DENSER_THAN_HU
    reach = {a: max(1, round(TABLE_MM / (step * ct.GetSpacing()[2 - a]))) for a in plane}
    body = _largest(_grown(~_grown(~dense, reach), reach))
    if body.mean() < LEAST_SHARE:
        return np.ones(hu.shape, bool)
    body |= _grown(body, reach) & dense  # its edge, with the corners that were rounded off
    inside = np.ones(body.shape, bool)
    for a in plane:
        inside &= np.logical_or.accumulate(body, axis=a)
        inside &= np.flip(np.logical_or.accumulate(np.flip(body, a), axis=a), a)
    for a in plane:
        inside = np.take(np.repeat(inside, step, axis=a), range(hu.shape[a]), axis=a)
    return inside


def _grown(mask: np.ndarray, reach: dict[int, int]) -> np.ndarray:
    """With the voxels that lie up to `reach` away, axis -> voxels."""
    for axis, far in reach.items():
        grown = mask.copy()
        line, out = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
        for k in range(1, min(far, len(line) - 1) + 1):
            out[k:] |= line[:-k]
            out[:-k] |= line[k:]
        mask = grown
    return mask


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part."""
    parts = vtk.vtkImageConnectivityFilter()
    parts.SetInputData(image_of(mask))
    parts.SetScalarRange(1, 1)
    parts.SetExtractionModeToLargestRegion()
    parts.SetLabelModeToConstantValue()
    parts.Update()
    found = numpy_support.vtk_to_numpy(parts.GetOutput().GetPointData().GetScalars())
    return found.reshape(mask.shape) > 0
