"""What the CT and its maps hold at a point: HU, importance with its unit, and its rank. MRML only."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer.util
import vtk
from slicer.i18n import tr as _

from UNoiseSlicerLib import display, exchange
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.scale import Scale
from UNoiseSlicerLib.volumes import matrix_of

RANKED = 200_000  # voxels that stand for all
MOST_KNOWN = 16
_ranks: dict[str, tuple[int, np.ndarray]] = {}  # node -> time of its last change, sorted values


def told_at(scene: Any, ct: Any, world: tuple[float, float, float]) -> str:
    """A line for the CT and one for each map; empty outside the CT. `world`: RAS, mm."""
    place = voxel_at(ct, world)
    if place is None or scenes.why_stale(scene, ct):
        return ""
    right, anterior, superior = (f"{letter} {abs(mm):.0f}" for letter, mm in zip(_letters(world), world))
    hu = slicer.util.arrayFromVolume(ct)[place]
    modality = scenes.report_of(scene, ct).get("input", {}).get("modality", "CT")
    told = f"{float(hu):.0f} HU" if modality == "CT" else f"{float(hu):.4g} {modality} units"
    lines = [_("{place}: {value}").format(place=", ".join((right, anterior, superior)), value=told)]
    for method, node in scenes.maps_of(scene, ct).items():
        value = float(slicer.util.arrayFromVolume(node)[place])
        text = _("{method}: {value}, above {rank} % of the voxels")
        lines.append(text.format(
            method=exchange.TITLES.get(method, method), value=Scale.of_node(node).told(value),
            rank=f"{rank(scene, ct, node, value):.1f}"))  # fmt: skip
    return "\n".join(lines)


def voxel_at(ct: Any, world: tuple[float, float, float]) -> tuple[int, int, int] | None:
    """(k, j, i) of the voxel at a point, under the CT's transform; None outside."""
    if ct is None or ct.GetImageData() is None:
        return None
    local, to_voxels = [0.0, 0.0, 0.0], vtk.vtkMatrix4x4()
    ct.TransformPointFromWorld(world, local)
    vtk.vtkMatrix4x4.Invert(matrix_of(ct), to_voxels)
    i, j, k = (round(n) for n in to_voxels.MultiplyPoint((*local, 1.0))[:3])
    size = ct.GetImageData().GetDimensions()
    return (k, j, i) if all(0 <= n < most for n, most in zip((i, j, k), size)) else None


def rank(scene: Any, ct: Any, node: Any, value: float) -> float:
    """Percent of the voxels of explained slices, of which the map says something, that have less."""
    stamp, known = node.GetImageData().GetMTime(), _ranks.get(node.GetID())
    if known is None or known[0] != stamp:
        while len(_ranks) >= MOST_KNOWN:
            _ranks.pop(next(iter(_ranks)))
        values = display.ranked(scene, ct, node)
        known = _ranks[node.GetID()] = stamp, np.sort(values[:: max(1, values.size // RANKED)])
    return 100 * float(np.searchsorted(known[1], value)) / max(1, known[1].size)


def _letters(world: tuple[float, float, float]) -> tuple[str, ...]:
    """Towards which side of the patient."""
    return tuple(pair[int(mm < 0)] for pair, mm in zip(("RL", "AP", "SI"), world))
