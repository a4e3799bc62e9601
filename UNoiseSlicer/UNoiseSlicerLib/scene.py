"""What leaves the MRML scene for the engine, and what comes back into it.

MRML only: no Qt, no application, so all of this runs wherever Slicer's libraries do. Arrays are in Slicer's (k, j, i)
order; matrices are IJK to RAS. Results are placed on the CT's own matrix and under its own transform.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

ROLE = "UNoise.Role"  # node attribute: what a result is; also the reference to its CT
CT = "UNoise.CT"  # node reference role, so that it survives saving and loading under other ids
REPORT = "UNoise.Report"  # attribute of the summary table: the engine's report.json
WARNING = "UNoise.Warning"  # attribute of every map: the sentence that views must show
REPORT_VERSION = 1
TITLES = {"unoise": "U-Noise", "gradcam": "Grad-CAM", "occlusion": "Occlusion"}
PANCREAS = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^15776009^Pancreas~^^~Anatomic codes - DICOM master list~^^~^^"
)
OUTLINE = (0.22, 0.82, 1.0)  # cyan: absent from the colour maps
CT_ADULT_AIR_HU = -200  # any CT that shows some air or lung or fat has voxels below
CT_LARGEST_HU = 40000  # metal, with extended scales


class Refused(Exception):
    """One sentence for the person at the panel: what is wrong, with which volume or file, what to do."""


# --- out: the CT ---


def check_input(node: Any) -> None:
    """Raises Refused for whatever cannot be explained as a CT."""
    if node is None:
        raise Refused(_("No CT volume is chosen - load a CT and choose it at the top of the panel."))
    name = node.GetName()
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise Refused(_("{name} is a label map, not a CT - choose the CT that it belongs to.").format(name=name))
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        kind = node.GetNodeTagName()
        raise Refused(_("{name} is a {kind}, not a volume - choose a CT volume.").format(name=name, kind=kind))
    image = node.GetImageData()
    if image is None or min(image.GetDimensions()) < 1 or image.GetPointData().GetScalars() is None:
        raise Refused(_("{name} holds no image data - load the CT again.").format(name=name))
    values = image.GetNumberOfScalarComponents()
    if values != 1:
        raise Refused(
            _("{name} has {values} values in each voxel (a colour image or a time series) - choose a 3-D CT volume.")
            .format(name=name, values=values)
        )  # fmt: skip
    sequence = _sequence_of(node)
    if sequence:
        raise Refused(
            _("{name} is one frame of the sequence {sequence} - clone the frame in the Data module, choose the clone.")
            .format(name=name, sequence=sequence)
        )  # fmt: skip
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        raise Refused(
            _("{name} is under the non-linear transform {transform}, which no grid of voxels can follow - "
              "harden or remove the transform, or resample the CT.")
            .format(name=name, transform=transform.GetName())
        )  # fmt: skip
    low, high = _finite_range(node)
    if low is None:
        raise Refused(_("{name} has no finite voxel - load the CT again.").format(name=name))
    if low == high:
        raise Refused(
            _("{name} has the value {value} everywhere - choose a CT that shows something.").format(
                name=name, value=f"{low:g}"
            )
        )


def doubt(node: Any) -> str:
    """A question to ask if the values do not look like a CT in Hounsfield units; empty if they do."""
    low, high = _finite_range(node)
    if low < CT_ADULT_AIR_HU and 0 < high < CT_LARGEST_HU:
        return ""
    return _(
        "{name} has values from {low} to {high}, unlike a CT in Hounsfield units (air is near -1000). Explain anyway?"
    ).format(name=node.GetName(), low=f"{low:g}", high=f"{high:g}")


def write_ct(node: Any, path: Path) -> None:
    """Writes the voxels and their IJK-to-RAS matrix, and nothing else of the node: attributes may name the patient.

    NRRD, because a sheared matrix comes back from it exactly. Raises Refused if the file cannot be written.
    """
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(0)  # lives for seconds
    voxels = node.GetImageData().GetPointData().GetScalars()
    wanted = voxels.GetNumberOfTuples() * voxels.GetDataTypeSize()
    if not storage.WriteData(_bare(node)) or not path.is_file() or path.stat().st_size < wanted:
        raise Refused(
            _("{name} cannot be written to {folder} - free some space there, or choose another temporary folder in "
              "Edit / Application Settings / General.")
            .format(name=node.GetName(), folder=path.parent)
        )  # fmt: skip


# --- back: the results ---


@dataclass(frozen=True)
class Results:
    """What the engine found, checked and ready for the scene. Arrays are (k, j, i) on the CT's grid."""

    report: dict[str, Any]
    segmentation: np.ndarray
    maps: dict[str, np.ndarray]  # method -> importance


def read_results(folder: Path, ct: Any) -> Results:
    """`reading` in one go."""
    steps = reading(folder, ct)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def reading(folder: Path, ct: Any) -> Generator[None, None, Results]:
    """Reads and checks everything before the scene is touched. Raises Refused for results that do not fit the CT.

    Stops after each file, so that a window may breathe between them.
    """
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        version, files = report.get("report_version"), dict(report["files"])
        methods = list(report["settings"]["methods"])
        organ = report["organ"]["name"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(
            _("The engine left no readable report ({error}) - see the log, and install the extension again if it "
              "happens twice.").format(error=error)
        ) from None  # fmt: skip
    if version != REPORT_VERSION:
        raise Refused(
            _("The engine is of another version (report {found} instead of {wanted}) - install the extension again, "
              "and remove unoise-engine from Slicer's Python if you installed it there.")
            .format(found=version, wanted=REPORT_VERSION)
        )  # fmt: skip
    maps: dict[str, np.ndarray] = {}
    try:
        segmentation = read_on_grid(folder / files["segmentation"], ct)
        yield
        for method in methods:
            maps[method] = read_on_grid(folder / files[f"importance-{method}"], ct)
            if not np.isfinite(maps[method]).all():
                raise Refused(
                    _("The {method} map of the {organ} holds values that are not numbers - nothing was added; report "
                      "this with the log.").format(method=TITLES.get(method, method), organ=organ)
                )  # fmt: skip
            yield
    except KeyError as error:
        raise Refused(_("The engine's report lists no file for {what} - see the log.").format(what=error)) from None
    return Results(report, segmentation, maps)


def read_on_grid(path: Path, ct: Any) -> np.ndarray:
    """The voxels of a file that must lie on the CT's grid. Raises Refused with Slicer's own reason if it does not."""
    node = slicer.vtkMRMLScalarVolumeNode()
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    if not path.is_file() or not storage.ReadData(node):
        raise Refused(_("{file} cannot be read - see the log.").format(file=path.name))
    reason = grid_difference(ct, node)
    if reason:
        raise Refused(
            _("{file} does not lie on the grid of {ct} ({reason}) - was the CT changed meanwhile? Explain it again.")
            .format(file=path.name, ct=ct.GetName(), reason=reason)
        )  # fmt: skip
    return np.array(slicer.util.arrayFromVolume(node))


def grid_difference(one: Any, other: Any) -> str:
    """Slicer's own reason why two volumes have different grids; empty if they have the same.

    Without the transforms above them: Slicer calls two volumes under one transform mismatched (seen in 5.11 to 5.13).
    """
    return " ".join(slicer.vtkSlicerVolumesLogic().CompareVolumeGeometry(_bare(one), _bare(other)).split())


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
        nodes["summary"] = _place_summary(scene, ct, results.report, old.get("summary"))
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
    name = "".join(c if c.isalnum() or c in "-_ " else "_" for c in ct.GetName()).strip()[:60] or "CT"
    folder, k = parent / f"{name} U-Noise", 2
    while folder.exists():
        folder, k = parent / f"{name} U-Noise {k}", k + 1
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


# --- slices: the engine counts axial slices from the feet ---


def axial_axis(matrix: Any) -> tuple[int, bool]:
    """Which voxel axis (0 i, 1 j, 2 k) runs from the feet to the head, and whether it runs backwards."""
    directions = slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]
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


def most_important_point(node: Any) -> tuple[float, float, float] | None:
    """Where to look: the middle of the importance (RAS, world) on the slice that holds most of it; None if all is 0."""
    values = np.maximum(slicer.util.arrayFromVolume(node), 0)
    axis, _backwards = axial_axis(matrix_of(node))
    per_slice = values.sum(axis=tuple(a for a in range(3) if a != 2 - axis), dtype=np.float64)
    if not per_slice.any():
        return None
    k = int(per_slice.argmax())
    flat = np.take(values, k, axis=2 - axis)
    centre = [float((np.arange(n) * flat.sum(axis=1 - a)).sum() / flat.sum()) for a, n in enumerate(flat.shape)]
    kji = [*centre[: 2 - axis], float(k), *centre[2 - axis :]]
    local = matrix_of(node).MultiplyPoint((*reversed(kji), 1.0))[:3]
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(local, world)
    return tuple(world)


# --- small things ---


def nodes_of(scene: Any, kind: str) -> list[Any]:
    return [scene.GetNthNodeByClass(k, kind) for k in range(scene.GetNumberOfNodesByClass(kind))]


def matrix_of(node: Any) -> Any:
    """IJK to RAS, without the transform above the node."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def _bare(node: Any) -> Any:
    """The voxels (shared) and the matrix of a volume, and nothing else."""
    bare = slicer.vtkMRMLScalarVolumeNode()
    bare.SetAndObserveImageData(node.GetImageData())
    bare.SetIJKToRASMatrix(matrix_of(node))
    return bare


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


def _finite_range(node: Any) -> tuple[float, float] | tuple[None, None]:
    voxels = slicer.util.arrayFromVolume(node)
    if voxels.dtype.kind == "f":
        voxels = voxels[np.isfinite(voxels)]
    return (float(voxels.min()), float(voxels.max())) if voxels.size else (None, None)


def _sequence_of(node: Any) -> str:
    """The name of the sequence browser that plays into this node, if any."""
    scene = node.GetScene()
    for browser in nodes_of(scene, "vtkMRMLSequenceBrowserNode") if scene else []:
        if browser.IsProxyNodeID(node.GetID()):
            return browser.GetName()
    return ""


def _new(scene: Any, kind: str, role: str, name: str, ct: Any, old: Any) -> Any:
    node = old if old is not None else scene.AddNewNodeByClass(kind)
    node.SetName(name)
    node.SetAttribute(ROLE, role)
    node.SetNodeReferenceID(CT, ct.GetID())
    return node


def place_volume(scene: Any, ct: Any, role: str, name: str, values: np.ndarray, old: Any, kind: str) -> Any:
    """A volume of these voxels on the CT's own matrix."""
    node = _new(scene, kind, role, name, ct, old)
    image = image_of(values)
    node.SetIJKToRASMatrix(matrix_of(ct))
    node.SetAndObserveImageData(image)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
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


def _place_summary(scene: Any, ct: Any, report: dict[str, Any], old: Any) -> Any:
    node = _new(scene, "vtkMRMLTableNode", "summary", _("{ct} U-Noise summary").format(ct=ct.GetName()), ct, old)
    node.SetAttribute(REPORT, json.dumps(report))
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
    """One row for the organ, one a method, one for everything."""
    organ, seconds = report["organ"], report.get("seconds", {})
    size = _("{volume} ml").format(volume=f"{organ['volume_ml']:.1f}") if organ["found"] else _("not found")
    took = {k: _("{seconds} s").format(seconds=f"{seconds[k]:.1f}") for k in seconds}
    rows = [(organ["name"], size, took.get("segmentation", ""))]
    rows += [(TITLES.get(m, m), "", took.get(m, "")) for m in report["settings"]["methods"]]
    return [
        *rows,
        (_("All, with reading and writing"), "", _("{seconds} s").format(seconds=f"{sum(seconds.values()):.1f}")),
    ]


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
