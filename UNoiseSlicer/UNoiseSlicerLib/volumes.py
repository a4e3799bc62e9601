"""Voxels and matrices of MRML volumes: the few conversions that every part needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support


def nodes_of(scene: Any, kind: str) -> list[Any]:
    return [scene.GetNthNodeByClass(k, kind) for k in range(scene.GetNumberOfNodesByClass(kind))]


def matrix_of(node: Any) -> Any:
    """IJK to RAS, without the transform above the node."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def voxel_type(array: np.ndarray) -> np.ndarray:
    """The array in a type that MRML volumes take: labels as uint8, everything fractional as float32."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    return array.astype(np.int32) if array.dtype.itemsize == 8 else array


def image_of(array: np.ndarray) -> Any:
    """(k, j, i) voxels -> vtkImageData, without geometry."""
    voxels = np.ascontiguousarray(voxel_type(array))
    scalars = numpy_support.numpy_to_vtk(voxels.ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array.shape))
    image.GetPointData().SetScalars(scalars)
    return image
