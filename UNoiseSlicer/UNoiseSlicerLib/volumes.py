"""Voxels and matrices of MRML volumes: the few conversions that every part needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer.util
import vtk
from vtk.util import numpy_support

PERPENDICULAR = 1e-6  # cosines between axes below this are rounding


def nodes_of(scene: Any, kind: str) -> list[Any]:
    return [scene.GetNthNodeByClass(k, kind) for k in range(scene.GetNumberOfNodesByClass(kind))]


def matrix_of(node: Any) -> Any:
    """IJK to RAS, without the transform above the node."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def matrix_from(numbers: Sequence[float]) -> Any:
    """16 numbers, row by row -> matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(numbers)
    return matrix


def upright(matrix: Any) -> tuple[Any, float]:
    """The nearest matrix with perpendicular axes and the same spacings, and how large its voxel is against the given.

    A matrix that is perpendicular already, up to rounding, is returned as it is.
    """
    given = slicer.util.arrayFromVTKMatrix(matrix)
    spacing = np.linalg.norm(given[:3, :3], axis=0)
    cosines = given[:3, :3] / spacing
    if np.abs(cosines.T @ cosines - np.eye(3)).max() < PERPENDICULAR:
        return matrix, 1.0
    u, _stretch, vt = np.linalg.svd(cosines)
    straight = given.copy()
    straight[:3, :3] = (u @ vt) * spacing
    return slicer.util.vtkMatrixFromArray(straight), float(1 / abs(np.linalg.det(cosines)))


def voxel_type(array: np.ndarray) -> np.ndarray:
    """The array in a type that MRML volumes take: labels as uint8, everything fractional as float32."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    return array.astype(np.int32) if array.dtype.itemsize == 8 else array


def image_of(array: np.ndarray, exact: bool = False) -> Any:
    """(k, j, i) voxels -> vtkImageData, without geometry. `exact`: of 64 bits, if the array is."""
    voxels = np.ascontiguousarray(array if exact and array.dtype == np.float64 else voxel_type(array))
    scalars = numpy_support.numpy_to_vtk(voxels.ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array.shape))
    image.GetPointData().SetScalars(scalars)
    return image
