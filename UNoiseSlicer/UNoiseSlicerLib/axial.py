"""Axial slices as the engine counts them: along the voxel axis nearest the patient's, from the feet, from 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer.util
import vtk

from UNoiseSlicerLib.scale import Scale
from UNoiseSlicerLib.volumes import matrix_of, nodes_of, upright


def axial_axis(matrix: Any) -> tuple[int, bool]:
    """Which voxel axis (0 i, 1 j, 2 k) runs from the feet to the head, and whether it runs backwards."""
    directions = slicer.util.arrayFromVTKMatrix(upright(matrix)[0])[:3, :3]
    cosines = np.abs(directions / np.linalg.norm(directions, axis=0))
    left, axis_of = {0, 1, 2}, {}
    for row in sorted(range(3), key=lambda r: -cosines[r].max()):  # the clearest axis of the patient chooses first
        axis_of[row] = max(left, key=lambda column: cosines[row, column])
        left.remove(axis_of[row])
    axis = axis_of[2]
    return axis, bool(directions[2, axis] < 0)


def slice_count(node: Any) -> int:
    """Number of axial slices."""
    return node.GetImageData().GetDimensions()[axial_axis(matrix_of(node))[0]] if node and node.GetImageData() else 0


def slice_at(node: Any, world: tuple[float, float, float]) -> int | None:
    """The axial slice at a point of the world (RAS), counted from the feet and from 0; None outside the volume."""
    to_world = vtk.vtkMatrix4x4()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(to_world)
    vtk.vtkMatrix4x4.Multiply4x4(to_world, matrix_of(node), to_world)
    to_world.Invert()
    axis, backwards = axial_axis(matrix_of(node))
    total = slice_count(node)
    k = round(to_world.MultiplyPoint((*world, 1.0))[axis])
    if not 0 <= k < total:
        return None
    return total - 1 - k if backwards else k


def slice_in_view(scene: Any, node: Any) -> int | None:
    """The axial slice in the middle of the axial view (Red unless it was turned)."""
    views = nodes_of(scene, "vtkMRMLSliceNode")
    views.sort(key=lambda v: (v.GetOrientation() != "Axial", not v.IsMappedInLayout(), v.GetLayoutName() != "Red"))
    if not views:
        return None
    middle = views[0].GetSliceToRAS()
    return slice_at(node, tuple(middle.GetElement(row, 3) for row in range(3)))


def most_important_plane(node: Any, among: list[int]) -> int | None:
    """The plane along the axial voxel axis that holds most of the importance; None if all is 0.

    Only the planes in `among` are looked at, if there are any with importance: a map may run high where the model
    sees no organ, but nothing is explained there.
    """
    values = np.maximum(slicer.util.arrayFromVolume(node) - Scale.of_node(node).middle, 0)
    axis, _backwards = axial_axis(matrix_of(node))
    per_slice = values.sum(axis=tuple(a for a in range(3) if a != 2 - axis), dtype=np.float64)
    if not per_slice.any():
        return None
    if per_slice[among].any():
        per_slice = np.where(np.isin(np.arange(len(per_slice)), among), per_slice, 0)
    return int(per_slice.argmax())


def most_important_point(node: Any, among: list[int]) -> tuple[float, float, float] | None:
    """Where to look: the middle of the importance (RAS, world) on the most important plane; None if all is 0."""
    k, axis = most_important_plane(node, among), axial_axis(matrix_of(node))[0]
    if k is None:
        return None
    flat = np.maximum(np.take(slicer.util.arrayFromVolume(node), k, axis=2 - axis) - Scale.of_node(node).middle, 0)
    centre = [float((np.arange(n) * flat.sum(axis=1 - a)).sum() / flat.sum()) for a, n in enumerate(flat.shape)]
    kji = [*centre[: 2 - axis], float(k), *centre[2 - axis :]]
    local = matrix_of(node).MultiplyPoint((*reversed(kji), 1.0))[:3]
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(local, world)
    return world[0], world[1], world[2]
