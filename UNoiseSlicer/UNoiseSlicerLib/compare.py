"""A result beside another segmentation: of another model or run, or somebody's own. Outlines, dice, difference of maps.
MRML only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer.util
from slicer.i18n import tr as _

from UNoiseSlicerLib import display, exchange, naming, segmentation, volumes
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.ours import role_of
from UNoiseSlicerLib.scale import UNIT

ROLE = "difference"
BEFORE = "UNoise.ColourBefore"  # attribute of a segmentation: of its segment, while it is compared
COLOUR = (1.0, 0.45, 0.85)  # of a result's outline beside that of another


@dataclass(frozen=True)
class Comparison:
    """`dice` of the two; 1 where both are empty. `volume_ml` of the other."""

    name: str
    dice: float
    volume_ml: float

    @property
    def row(self) -> tuple[str, str, str]:
        """For the panel's table."""
        text = _("{volume} ml, dice {dice}")
        return self.name, text.format(volume=f"{self.volume_ml:.1f}", dice=f"{self.dice:.3f}"), ""


def compare(scene: Any, ct: Any, other: Any) -> Comparison:
    """The CT's last result with another segmentation. Raises Refused if they cannot be laid on each other."""
    ours = scenes.organ_mask(scene, ct) > 0
    theirs = mask_of(ct, other, scenes.report_of(scene, ct)["organ"]["name"]) > 0
    both, total = np.count_nonzero(ours & theirs), np.count_nonzero(ours) + np.count_nonzero(theirs)
    voxel_ml = abs(volumes.matrix_of(ct).Determinant()) / 1000
    return Comparison(other.GetName(), 2 * both / total if total else 1.0, np.count_nonzero(theirs) * voxel_ml)


def mask_of(ct: Any, node: Any, organ: str) -> np.ndarray:
    """The segment named after the organ, if one is given, or the only one, on the CT's grid. Raises Refused."""
    segments = node.GetSegmentation()
    ids = [segments.GetNthSegmentID(k) for k in range(segments.GetNumberOfSegments())]
    named = [one for one in ids if segments.GetSegment(one).GetName().lower() == organ.lower()]
    chosen = (named or ids)[0] if len(named or ids) == 1 else None
    if chosen is None:
        text = _("{node} has {count} segments and not one named {organ} - name the one to compare so.")
        if not organ:
            text = _("{node} has {count} segments - choose a segmentation of one.")
        raise Refused(text.format(node=node.GetName(), count=len(ids), organ=organ))
    if node.GetTransformNodeID() != ct.GetTransformNodeID():
        text = _("{node} and {ct} are under different transforms - put both under the same one, or harden them.")
        raise Refused(text.format(node=node.GetName(), ct=ct.GetName()))
    mask = segmentation.mask_on(node, volumes.matrix_of(ct), ct.GetImageData().GetDimensions(), chosen)
    if mask is None:
        text = _("{node} cannot be laid on the grid of {ct} - export it to a label map of the CT and import it again.")
        raise Refused(text.format(node=node.GetName(), ct=ct.GetName()))
    return mask


def outline(scene: Any, other: Any) -> None:
    """Gives a result that is compared a colour of its own, and takes it from all others. None: none is compared."""
    for node in volumes.nodes_of(scene, "vtkMRMLSegmentationNode"):
        before = node.GetAttribute(BEFORE)
        if node.GetSegmentation().GetNumberOfSegments() != 1:
            continue
        segment = node.GetSegmentation().GetNthSegment(0)
        if node is other and node.GetAttribute(scenes.EARLIER) and not before:
            node.SetAttribute(BEFORE, " ".join(map(repr, segment.GetColor())))
            segment.SetColor(*COLOUR)
        elif node is not other and before:
            segment.SetColor(*map(float, before.split()))
            node.RemoveAttribute(BEFORE)


def other_map(scene: Any, ct: Any, other: Any, method: str) -> Any:
    """The map that came with a segmentation of an earlier run; None if none did."""
    if other is None or not other.GetAttribute(scenes.EARLIER):
        return None
    marks = [other.GetAttribute(name) for name in (scenes.MADE, scenes.SLICES, scenes.EXPLAINED)]
    for node in scenes.every_result(scene, ct):
        theirs = [node.GetAttribute(name) for name in (scenes.MADE, scenes.SLICES, scenes.EXPLAINED)]
        if role_of(node) == f"importance-{method}" and theirs == marks:
            return node
    return None


def difference(scene: Any, ct: Any, other: Any, method: str) -> Any:
    """A volume of the last map less the earlier one, each as a share of where its colours end, so that different units
    and models can be compared; None if there are not both. What is not above 0 counts as 0."""
    one, two = scenes.maps_of(scene, ct).get(method), other_map(scene, ct, other, method)
    if one is None or two is None:
        return None
    shares = [np.clip(slicer.util.arrayFromVolume(n) / display.highest(n), 0, 1) for n in (one, two)]
    role = f"{ROLE}-{method}"
    title = _("{ct} {method} difference").format(ct=naming.HERE, method=exchange.TITLES.get(method, method))
    stamp = {name: one.GetAttribute(name) for name in (scenes.EXPLAINED, scenes.WARNING, scenes.CAUTION)}
    stamp[UNIT] = _("difference")
    old = scenes.results_of(scene, ct).get(role)
    values = (shares[0] - shares[1]).astype(np.float32)
    node = scenes.place_volume(scene, ct, role, title, values, old, "vtkMRMLScalarVolumeNode", stamp)
    scenes.follow(ct, [node])
    return node


def drop(scene: Any, kept: Any = None) -> None:
    """Removes differences, but for one."""
    for node in volumes.nodes_of(scene, "vtkMRMLScalarVolumeNode"):
        if node is not kept and role_of(node).startswith(f"{ROLE}-"):
            scenes.remove(scene, node)
