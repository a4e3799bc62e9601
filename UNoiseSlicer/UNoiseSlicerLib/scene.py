"""The results in the MRML scene: placed, found again, kept in order, exported.

MRML only: no Qt, no application, so all of this runs wherever Slicer's libraries do. Arrays are in Slicer's (k, j, i)
order; matrices are IJK to RAS. Results lie on the CT's own matrix and under its own transform.
"""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from UNoiseSlicerLib.axial import axial_axis, slice_count
from UNoiseSlicerLib.exchange import TITLES, Refused, Results, warnings_of
from UNoiseSlicerLib.volumes import image_of, matrix_of, nodes_of

ROLE = "UNoise.Role"  # node attribute: what a result is; also the reference to its CT
CT = "UNoise.CT"  # node reference role, so that it survives saving and loading under other ids
REPORT = "UNoise.Report"  # attribute of the summary table: the engine's report.json
WARNING = "UNoise.Warning"  # attribute of every map: the sentence that views must show
CAUTION = "UNoise.Caution"  # attribute of every map: in short, in which way the CT is not what the model knows
ORGAN_SLICES = "UNoise.OrganSlices"  # attribute of the summary table: axial slices, from the feet
MASK = "UNoise.Mask"  # attribute of the summary table: tells whether the segmentation was changed by hand
SHORT = 70  # letters that fit a view
FIRST_PART = re.compile(r" - |[:;] |, which |\.$")  # what follows it are details
SPECK = 0.1  # of the largest area of the organ on a slice
PANCREAS = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^15776009^Pancreas~^^~Anatomic codes - DICOM master list~^^~^^"
)
OUTLINE = (0.22, 0.82, 1.0)  # cyan: absent from the colour maps


def place(scene: Any, ct: Any, results: Results) -> dict[str, Any]:
    """Puts the results into the scene and returns its nodes by role: segmentation, importance-<method>, summary.

    Nodes of an earlier run on this CT are filled anew, those that this run did not make are removed.
    """
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        old = results_of(scene, ct)
        warning, nodes = results.report.get("warning", ""), {}
        nodes["segmentation"] = _place_segmentation(scene, ct, results, old.get("segmentation"))
        for method, values in results.maps.items():
            role = f"importance-{method}"
            nodes[role] = _place_map(scene, ct, role, TITLES.get(method, method), values, old.get(role))
            nodes[role].SetAttribute(WARNING, warning)
            nodes[role].SetAttribute(CAUTION, caution(results.report))
        nodes["summary"] = _place_summary(scene, ct, results, old.get("summary"))
        for role, node in old.items():
            if role not in nodes:
                remove(scene, node)
        follow(ct, nodes)
        _file_in_hierarchy(scene, ct, nodes)
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    return nodes


def results_of(scene: Any, ct: Any) -> dict[str, Any]:
    """The nodes that earlier runs made for this CT, by role."""
    found: dict[str, Any] = {}
    for kind in ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode"):
        for node in nodes_of(scene, kind):
            if node.GetAttribute(ROLE) and ct is not None and node.GetNodeReferenceID(CT) == ct.GetID():
                found[node.GetAttribute(ROLE)] = node
    return found


def maps_of(scene: Any, ct: Any) -> dict[str, Any]:
    """Method -> importance volume of this CT, in the order of the panel."""
    found = results_of(scene, ct)
    names = [*TITLES, *(r.removeprefix("importance-") for r in found if r.startswith("importance-"))]
    return {name: found[f"importance-{name}"] for name in dict.fromkeys(names) if f"importance-{name}" in found}


def report_of(scene: Any, ct: Any) -> dict[str, Any]:
    """The engine's report of the last run on this CT; empty if there is none."""
    summary = results_of(scene, ct).get("summary")
    return json.loads(summary.GetAttribute(REPORT)) if summary is not None else {}


def caution(report: dict[str, Any]) -> str:
    """The engine's warnings in the few letters that a view has room for; empty if there are none."""
    sentences = warnings_of(report)
    if not sentences:
        return ""
    short = FIRST_PART.split(sentences[0])[0]
    if len(short) > SHORT:
        short = short[:SHORT].rsplit(" ", 1)[0] + "..."
    return short if len(sentences) == 1 else _("{sentence} (and {more} more)").format(
        sentence=short, more=len(sentences) - 1)  # fmt: skip


def follow(ct: Any, nodes: dict[str, Any]) -> None:
    """Keeps results under the CT's transform: one left behind would show the right map in the wrong place."""
    for node in nodes.values():
        if node.IsA("vtkMRMLTransformableNode") and node.GetTransformNodeID() != ct.GetTransformNodeID():
            node.SetAndObserveTransformNodeID(ct.GetTransformNodeID())


def remove(scene: Any, node: Any) -> None:
    """Removes a result with its display and storage nodes, which would else pile up in the saved scene."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is not None and (item := hierarchy.GetItemByDataNode(node)) != hierarchy.GetInvalidItemID():
        hierarchy.RemoveItem(item, False, False)
    extras = [node.GetNthDisplayNode(k) for k in range(node.GetNumberOfDisplayNodes())] if hasattr(
        node, "GetNthDisplayNode") else []  # fmt: skip
    extras += [node.GetStorageNode()] if hasattr(node, "GetStorageNode") else []
    scene.RemoveNode(node)
    for extra in extras:
        if extra is not None:
            scene.RemoveNode(extra)


def export(scene: Any, ct: Any, parent: Path) -> Path:
    """Writes the results into a new folder below `parent`: NRRD, CSV and the engine's report. Raises Refused."""
    folder = new_folder(parent, ct, "U-Noise")
    found = results_of(scene, ct)
    try:
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report_of(scene, ct), indent=2) + "\n", encoding="utf-8")
        for role, node in found.items():
            if role == "summary":
                storage, suffix = slicer.vtkMRMLTableStorageNode(), ".csv"
            elif role == "segmentation":
                storage, suffix = slicer.vtkMRMLSegmentationStorageNode(), ".seg.nrrd"
            elif role.startswith("importance-"):
                storage, suffix = slicer.vtkMRMLNRRDStorageNode(), ".nrrd"
            else:
                continue
            path = folder / (role + suffix)
            storage.SetFileName(str(path))
            if not storage.WriteData(node) or not path.is_file():
                raise OSError(0, _("{file} was not written").format(file=path.name))
    except OSError as error:
        raise Refused(
            _("The results cannot be exported to {folder} ({reason}) - choose a folder that can be written and has "
              "free space.").format(folder=folder, reason=error.strerror)
        ) from None  # fmt: skip
    return folder


def new_folder(parent: Path, ct: Any, kind: str) -> Path:
    """A name that is not taken yet, made of the CT's."""
    name = "".join(c if c.isalnum() or c in "-_ " else "_" for c in ct.GetName()).strip()[:60] or "CT"
    folder, k = parent / f"{name} {kind}", 2
    while folder.exists():
        folder, k = parent / f"{name} {kind} {k}", k + 1
    return folder


def organ_mask(scene: Any, ct: Any) -> np.ndarray:
    """The voxels of the model's segmentation on the CT's grid, as they are in the scene now. Raises Refused."""
    node = results_of(scene, ct).get("segmentation")
    if node is None or node.GetSegmentation().GetNumberOfSegments() != 1:
        raise Refused(
            _("The segmentation of {ct} is not the model's alone any more - explain the CT again.").format(
                ct=ct.GetName())
        )  # fmt: skip
    grid, image = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    grid.ShallowCopy(image_of(np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8)))
    grid.SetImageToWorldMatrix(matrix_of(ct))
    node.GetBinaryLabelmapRepresentation(node.GetSegmentation().GetNthSegmentID(0), image)
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(image, grid, grid):
        raise Refused(_("The segmentation of {ct} cannot be laid on its grid - explain the CT again.").format(
            ct=ct.GetName()))  # fmt: skip
    voxels = numpy_support.vtk_to_numpy(grid.GetPointData().GetScalars())
    return (voxels.reshape(*reversed(grid.GetDimensions())) > 0).astype(np.uint8)


def is_as_found(scene: Any, ct: Any, mask: np.ndarray) -> bool:
    """Whether nobody has changed the segmentation since the model made it."""
    summary = results_of(scene, ct).get("summary")
    return summary is not None and summary.GetAttribute(MASK) in (None, _fingerprint(mask, ct))


def _fingerprint(mask: np.ndarray, ct: Any) -> str:
    """Of voxels in the order of a right-handed grid: that is what Slicer makes of a left-handed one when it reloads."""
    right_handed = matrix_of(ct).Determinant() > 0
    return f"{zlib.crc32(np.packbits((mask if right_handed else mask[::-1]) > 0)):08x}"


def organ_slices(scene: Any, ct: Any) -> list[int]:
    """The planes along the axial voxel axis in which the model found more than a speck of the organ."""
    summary = results_of(scene, ct).get("summary")
    slices = json.loads(summary.GetAttribute(ORGAN_SLICES) or "[]") if summary is not None else []
    return _planes(slices, ct)


def _planes(slices: list[int], ct: Any) -> list[int]:
    """Axial slices from the feet -> planes of the voxel array, or back."""
    total, backwards = slice_count(ct), axial_axis(matrix_of(ct))[1]
    return sorted(total - 1 - k for k in slices) if backwards else slices


def _new(scene: Any, kind: str, role: str, name: str, ct: Any, old: Any) -> Any:
    node = old if old is not None else scene.AddNewNodeByClass(kind)
    node.SetName(name)
    node.SetAttribute(ROLE, role)
    node.SetNodeReferenceID(CT, ct.GetID())
    return node


def place_volume(scene: Any, ct: Any, role: str, name: str, values: np.ndarray, old: Any, kind: str) -> Any:
    """A volume of these voxels on the CT's own matrix."""
    node = _new(scene, kind, role, name, ct, old)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        if hasattr(node.GetDisplayNode(), "AutoWindowLevelOff"):
            node.GetDisplayNode().AutoWindowLevelOff()  # before there are voxels: it would count all of them
    node.SetIJKToRASMatrix(matrix_of(ct))
    node.SetAndObserveImageData(image_of(values))
    return node


def _place_map(scene: Any, ct: Any, role: str, title: str, values: np.ndarray, old: Any) -> Any:
    name = _("{ct} {method} importance").format(ct=ct.GetName(), method=title)
    return place_volume(scene, ct, role, name, values, old, "vtkMRMLScalarVolumeNode")


def _place_segmentation(scene: Any, ct: Any, results: Results, old: Any) -> Any:
    organ = results.report["organ"]["name"]
    name = _("{ct} {organ} by the model").format(ct=ct.GetName(), organ=organ)
    node = _new(scene, "vtkMRMLSegmentationNode", "segmentation", name, ct, old)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segmentation = node.GetSegmentation()
    segmentation.RemoveAllSegments()
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation.SetSourceRepresentationName(binary)
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(image_of(results.segmentation > 0))
    image.SetImageToWorldMatrix(matrix_of(ct))
    segment = slicer.vtkSegment()
    segment.SetName(organ)
    segment.SetColor(*OUTLINE)
    if organ.lower() == "pancreas":
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), PANCREAS)
    segment.AddRepresentation(binary, image)
    segmentation.AddSegment(segment, organ)
    return node


def _place_summary(scene: Any, ct: Any, results: Results, old: Any) -> Any:
    report, axis = results.report, axial_axis(matrix_of(ct))[0]
    areas = np.count_nonzero(results.segmentation, axis=tuple(a for a in range(3) if a != 2 - axis))
    planes = np.flatnonzero(areas > SPECK * areas.max())
    node = _new(scene, "vtkMRMLTableNode", "summary", _("{ct} U-Noise summary").format(ct=ct.GetName()), ct, old)
    node.SetAttribute(REPORT, json.dumps(report))
    node.SetAttribute(ORGAN_SLICES, json.dumps(_planes(planes.tolist(), ct)))
    node.SetAttribute(MASK, _fingerprint(results.segmentation, ct))
    table = vtk.vtkTable()
    for title, column in zip(summary_titles(), zip(*summary_rows(report))):
        strings = vtk.vtkStringArray()
        strings.SetName(title)
        for text in column:
            strings.InsertNextValue(text)
        table.AddColumn(strings)
    node.SetAndObserveTable(table)
    return node


def summary_titles() -> tuple[str, str, str]:
    return _("Result"), _("Volume"), _("Time")


def summary_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """One row for the organ, one a method, one for everything, one a warning."""
    organ, seconds = report["organ"], report.get("seconds", {})
    size = _("{volume} ml").format(volume=f"{organ['volume_ml']:.1f}") if organ["found"] else _("not found")
    took = {k: _("{seconds} s").format(seconds=f"{seconds[k]:.1f}") for k in seconds}
    rows = [(organ["name"], size, took.get("segmentation", ""))]
    rows += [(TITLES.get(m, m), "", took.get(m, "")) for m in report["settings"]["methods"]]
    every = _("{seconds} s").format(seconds=f"{sum(seconds.values()):.1f}")
    notes = [(_("Note: {sentence}").format(sentence=sentence), "", "") for sentence in warnings_of(report)]
    return [*rows, (_("All, with reading and writing"), "", every), *notes]


def _file_in_hierarchy(scene: Any, ct: Any, nodes: dict[str, Any]) -> None:
    """One folder a CT, beside the CT. Ids are compared with the invalid one: which others are valid is not promised."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    invalid = hierarchy.GetInvalidItemID()
    item = hierarchy.GetItemByDataNode(ct)
    parent = hierarchy.GetSceneItemID() if item == invalid else hierarchy.GetItemParent(item)
    name = _("{ct} U-Noise").format(ct=ct.GetName())
    folder = hierarchy.GetItemChildWithName(parent, name)
    if folder == invalid:
        folder = hierarchy.CreateFolderItem(parent, name)
    for node in nodes.values():
        item = hierarchy.GetItemByDataNode(node)
        if item == invalid:
            hierarchy.CreateItem(folder, node)
        else:
            hierarchy.SetItemParent(item, folder)
