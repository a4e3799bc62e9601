"""The results in the MRML scene: placed, found again, kept in order, exported.

MRML only: no Qt, no application, so all of this runs wherever Slicer's libraries do. Arrays are in Slicer's (k, j, i)
order; matrices are IJK to RAS. Results lie on the CT's own matrix and under its own transform.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _

from UNoiseSlicerLib import naming, segmentation
from UNoiseSlicerLib.axial import axial_axis, slice_count
from UNoiseSlicerLib.exchange import TITLES, Refused, Results, warnings_of
from UNoiseSlicerLib.fingerprint import difference, fingerprint, grid, is_same_grid
from UNoiseSlicerLib.fingerprint import read as read_fingerprint
from UNoiseSlicerLib.ours import is_copy, mark, release, role_of
from UNoiseSlicerLib.scale import Scale
from UNoiseSlicerLib.volumes import image_of, matrix_of, nodes_of

CT = "UNoise.CT"  # node reference role, so that it survives saving and loading under other ids
REPORT = "UNoise.Report"  # attribute of the summary table: the engine's report.json
WARNING = "UNoise.Warning"  # attribute of every map: the sentence that views must show
CAUTION = "UNoise.Caution"  # attribute of every map: in short, in which way the CT is not what the model knows
ORGAN_SLICES = "UNoise.OrganSlices"  # attribute of the summary table: axial slices, from the feet
EXPLAINED = "UNoise.Explained"  # attribute of every result: the fingerprint of its CT
SLICES = "UNoise.Slices"  # attribute of every result: the slices that were explained, and how many the CT had
MADE = "UNoise.Made"  # attribute of every result: by which model (hash), of which label, the model's title
EARLIER = "UNoise.Earlier"  # attribute of results that were put aside for those of other slices, models or labels
KEPT = "UNoise.Kept"  # node references of the summary table: what its run put aside
KINDS = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode")
SHORT = 70  # letters that fit a view
FIRST_PART = re.compile(r" - |[:;] |, which |\.$")  # what follows it are details
SPECK = 0.1  # of the largest area of the organ on a slice
PROVED = 3  # shares visible that the table tells of: 5, 10 and 20 %


def place(scene: Any, ct: Any, results: Results) -> dict[str, Any]:
    """Puts the results into the scene and returns its nodes by role: segmentation, importance-<method>, summary.

    Nodes of an earlier run on this CT are filled anew, those that this run did not make are removed - but nothing of
    the user's: a segmentation that somebody has worked on stays, under another name, and so do results of slices that
    this run did not explain, of another model or of another label. `kept` tells which.
    """
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        follow_name(scene, ct)
        stamp = {
            EXPLAINED: fingerprint(ct, trust_clock=False).text,
            SLICES: json.dumps([*results.report["settings"]["axial_slices"], slice_count(ct)]),
            MADE: _made(results.report),
        }
        kept = _put_aside(scene, ct, json.loads(stamp[SLICES]), stamp[MADE])
        old = results_of(scene, ct)
        warning, nodes = results.report.get("warning", ""), {}
        nodes["segmentation"] = _place_segmentation(scene, ct, results, old.get("segmentation"), stamp)
        for method, values in results.maps.items():
            role, title = f"importance-{method}", TITLES.get(method, method)
            title = _("{ct} {method} importance").format(ct=naming.HERE, method=title)
            if label := results.report["settings"].get("label"):
                title = _("{map} for {label}").format(map=title, label=label)
            scale = Scale.of(results.report, method)
            shown = scale.shown(values)
            nodes[role] = place_volume(scene, ct, role, title, shown, old.get(role), "vtkMRMLScalarVolumeNode", stamp)
            scale.stamp(nodes[role])
            nodes[role].SetAttribute(WARNING, warning)
            nodes[role].SetAttribute(CAUTION, caution(results.report))
        nodes["summary"] = _place_summary(scene, ct, results, old.get("summary"), stamp)
        nodes["summary"].RemoveNodeReferenceIDs(KEPT)
        for node in kept:
            nodes["summary"].AddNodeReferenceID(KEPT, node.GetID())
        for role, node in old.items():
            if role not in nodes:
                remove(scene, node)
        follow(ct, every_result(scene, ct))
        naming.file_in_hierarchy(scene, ct, [*nodes.values(), *kept])
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    return nodes


def every_result(scene: Any, ct: Any) -> list[Any]:
    """The nodes that runs made for this CT, those that were put aside too."""
    return [node for node in _results(scene) if ct is not None and node.GetNodeReferenceID(CT) == ct.GetID()]


def _results(scene: Any) -> list[Any]:
    return [node for kind in KINDS for node in nodes_of(scene, kind) if role_of(node)]


def results_of(scene: Any, ct: Any) -> dict[str, Any]:
    """The nodes that the last run made for this CT, by role."""
    return {role_of(node): node for node in every_result(scene, ct) if not node.GetAttribute(EARLIER)}


def explained(scene: Any) -> list[Any]:
    """The CTs that have results."""
    found = {node.GetNodeReferenceID(CT) for node in _results(scene)}
    return [volume for volume in nodes_of(scene, "vtkMRMLScalarVolumeNode") if volume.GetID() in found]


def why_stale(scene: Any, ct: Any, trust_clock: bool = True) -> str:
    """Why the results of a CT do not fit it any more, as a sentence; empty if they do, or if there are none."""
    found = results_of(scene, ct)
    if not found:
        return ""
    now = fingerprint(ct, trust_clock) if ct.GetImageData() is not None else None
    for node in found.values():
        reason = difference(ct.GetName(), read_fingerprint(node.GetAttribute(EXPLAINED)), now)
        if reason:
            return reason
        if node.IsA("vtkMRMLVolumeNode") and not (now and node.GetImageData() and is_same_grid(now, grid(node))):
            return _("{result} was moved away from its CT - explain the CT again.").format(result=node.GetName())
    return ""


def check_fresh(scene: Any, ct: Any) -> None:
    """Raises Refused if the results do not fit the CT any more. Looks at every voxel."""
    reason = why_stale(scene, ct, trust_clock=False)
    if reason:
        raise Refused(reason)


def follow_name(scene: Any, ct: Any) -> None:
    """Renames the results of a CT, those that were given away too, and their folder, after it was renamed."""
    nodes = [node for kind in KINDS for node in nodes_of(scene, kind)]
    found = [node for node in nodes if node.GetNodeReferenceID(CT) == ct.GetID() and not is_copy(node)]
    for node in found:
        naming.follow_name(node, ct)
    naming.follow_folder_name(scene, ct, found)


def kept(scene: Any, ct: Any) -> list[str]:
    """Names of what the last run on this CT put aside."""
    summary = results_of(scene, ct).get("summary")
    if summary is None:
        return []
    nodes = [summary.GetNthNodeReference(KEPT, k) for k in range(summary.GetNumberOfNodeReferences(KEPT))]
    return [node.GetName() for node in nodes if node is not None]


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


def follow(ct: Any, nodes: Iterable[Any]) -> None:
    """Keeps results under the CT's transform: one left behind would show the right map in the wrong place."""
    for node in nodes:
        if node.IsA("vtkMRMLTransformableNode") and node.GetTransformNodeID() != ct.GetTransformNodeID():
            node.SetAndObserveTransformNodeID(ct.GetTransformNodeID())


def hold(node: Any, flag: str, off: bool) -> None:
    """Switches a flag of a display node off for as long as we need it so, and back on afterwards. What was switched by
    hand meanwhile stays as it is."""
    mark = f"UNoise.Off.{flag}"
    if off and not node.GetAttribute(mark) and getattr(node, f"Get{flag}")():
        node.SetAttribute(mark, "1")
        getattr(node, f"Set{flag}")(False)
    elif not off and node.GetAttribute(mark):
        node.RemoveAttribute(mark)
        getattr(node, f"Set{flag}")(True)


def remove(scene: Any, node: Any) -> None:
    """Removes a result with its display and storage nodes, which would else pile up in the saved scene."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is not None and (item := hierarchy.GetItemByDataNode(node)) != hierarchy.GetInvalidItemID():
        hierarchy.RemoveItem(item, False, False)
    extras = [node.GetNthDisplayNode(k) for k in range(node.GetNumberOfDisplayNodes())] if hasattr(
        node, "GetNthDisplayNode") else []  # fmt: skip
    extras += [node.GetStorageNode()] if hasattr(node, "GetStorageNode") else []
    for shown in list(extras):  # of a volume rendering
        extras += [getattr(shown, get)() for get in ("GetVolumePropertyNode", "GetROINode") if hasattr(shown, get)]
    scene.RemoveNode(node)
    for extra in extras:
        if extra is not None:
            scene.RemoveNode(extra)


def export(scene: Any, ct: Any, parent: Path) -> Path:
    """Writes the results into a new folder below `parent`: NRRD, CSV and the engine's report. Raises Refused."""
    check_fresh(scene, ct)
    follow_name(scene, ct)
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
            if suffix == ".nrrd":
                node = as_written(node)
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


def as_written(node: Any) -> Any:
    """A map as the engine writes it, in a node that is in no scene."""
    bare = slicer.vtkMRMLScalarVolumeNode()
    bare.SetIJKToRASMatrix(matrix_of(node))
    bare.SetAndObserveImageData(image_of(Scale.of_node(node).written(slicer.util.arrayFromVolume(node))))
    return bare


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
    mask = segmentation.mask_on(node, matrix_of(ct), ct.GetImageData().GetDimensions()) if node is not None else None
    if mask is None:
        raise Refused(
            _("The segmentation of {ct} is not the model's alone any more - explain the CT again.").format(
                ct=ct.GetName())
        )  # fmt: skip
    return mask


def is_as_found(scene: Any, ct: Any, mask: np.ndarray) -> bool:
    """Whether nobody has changed the segmentation since the model made it."""
    node = results_of(scene, ct).get("segmentation")
    return node is not None and node.GetAttribute(segmentation.MASK) == segmentation.checksum(mask, ct)


def organ_slices(scene: Any, ct: Any) -> list[int]:
    """The planes along the axial voxel axis in which the model found more than a speck of the organ."""
    summary = results_of(scene, ct).get("summary")
    slices = json.loads(summary.GetAttribute(ORGAN_SLICES) or "[]") if summary is not None else []
    return _planes(slices, ct)


def _planes(slices: list[int], ct: Any) -> list[int]:
    """Axial slices from the feet -> planes of the voxel array, or back."""
    total, backwards = slice_count(ct), axial_axis(matrix_of(ct))[1]
    return sorted(total - 1 - k for k in slices) if backwards else slices


def _made(report: dict[str, Any]) -> str:
    model, label = report.get("model", {}), report["settings"].get("label", "")
    return json.dumps([model.get("sha256", ""), label, model.get("title", "")])


def _put_aside(scene: Any, ct: Any, slices: list[int], made: str) -> list[Any]:
    """Makes room for results of these slices, and returns the nodes that stay beside them: a segmentation that was
    worked on, now the user's own, and results of slices that are not among these, or that were made otherwise."""
    kept = []
    first, end, total = slices
    for node in every_result(scene, ct):
        is_other = (node.GetAttribute(MADE) or made) != made
        role, of = role_of(node), json.loads(node.GetAttribute(SLICES) or "[]")
        is_covered = (first, end) == (0, total) or not of or (of[2] == total and first <= of[0] and of[1] <= end)
        if role.startswith("curtain-"):
            remove(scene, node)
        elif is_other or not is_covered:
            if not node.GetAttribute(EARLIER):
                kept.append(node)
                node.SetAttribute(EARLIER, "1")
                if is_other:
                    title = json.loads(node.GetAttribute(MADE))[2]
                    naming.call(node, _("{result}, {model}").format(result=naming.title_of(node), model=title), ct)
        elif role == "segmentation" and segmentation.is_edited(node, read_fingerprint(node.GetAttribute(EXPLAINED))):
            kept.append(node)
            _give_away(scene, ct, node)
        elif node.GetAttribute(EARLIER):
            remove(scene, node)
    return kept


def _give_away(scene: Any, ct: Any, node: Any) -> None:
    """From now on the node is the user's own: no run fills it and nothing of ours hides it."""
    if node.GetDisplayNode() is not None:
        hold(node.GetDisplayNode(), "Visibility", off=False)
    naming.call(
        node, naming.unused(scene, _("{segmentation} edited").format(segmentation=naming.title_of(node)), ct), ct
    )
    for name in (EXPLAINED, SLICES, EARLIER, segmentation.MASK):
        node.RemoveAttribute(name)
    release(node)


def _new(scene: Any, kind: str, role: str, title: str, ct: Any, old: Any, stamp: dict[str, str]) -> Any:
    node = old if old is not None else scene.AddNewNodeByClass(kind)
    if old is None or naming.HERE in naming.title_of(old):  # a name given by hand stays
        naming.call(node, naming.slices_title(title, json.loads(stamp[SLICES])) if SLICES in stamp else title, ct)
    for name, value in stamp.items():
        node.SetAttribute(name, value)
    mark(node, role)
    node.SetNodeReferenceID(CT, ct.GetID())
    return node


def place_volume(
    scene: Any, ct: Any, role: str, title: str, values: np.ndarray, old: Any, kind: str, stamp: dict[str, str]
) -> Any:
    """A volume of these voxels on the CT's own matrix. `title` has {ct} in it; `stamp` are attributes."""
    node = _new(scene, kind, role, title, ct, old, stamp)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        if hasattr(node.GetDisplayNode(), "AutoWindowLevelOff"):
            node.GetDisplayNode().AutoWindowLevelOff()  # before there are voxels: it would count all of them
    node.SetIJKToRASMatrix(matrix_of(ct))
    node.SetAndObserveImageData(image_of(values, exact=True))
    return node


def _place_segmentation(scene: Any, ct: Any, results: Results, old: Any, stamp: dict[str, str]) -> Any:
    organ = results.report["organ"]["name"]
    title = _("{ct} {organ} by the model").format(ct=naming.HERE, organ=organ)
    node = _new(scene, "vtkMRMLSegmentationNode", "segmentation", title, ct, old, stamp)
    segmentation.fill(node, ct, organ, results.segmentation)
    return node


def _place_summary(scene: Any, ct: Any, results: Results, old: Any, stamp: dict[str, str]) -> Any:
    report, axis = results.report, axial_axis(matrix_of(ct))[0]
    areas = np.count_nonzero(results.segmentation, axis=tuple(a for a in range(3) if a != 2 - axis))
    planes = np.flatnonzero(areas > SPECK * areas.max())
    title = _("{ct} U-Noise summary").format(ct=naming.HERE)
    node = _new(scene, "vtkMRMLTableNode", "summary", title, ct, old, stamp)
    node.SetAttribute(REPORT, json.dumps(report))
    node.SetAttribute(ORGAN_SLICES, json.dumps(_planes(planes.tolist(), ct)))
    table = vtk.vtkTable()
    for title, column in zip(summary_titles(), zip(*summary_rows(report))):
        strings = vtk.vtkStringArray()
        strings.SetName(title)
        for text in column:
            strings.InsertNextValue(naming.in_table(text))
        table.AddColumn(strings)
    node.SetAndObserveTable(table)
    return node


def summary_titles() -> tuple[str, str, str]:
    return _("Result"), _("Volume, or dice kept (5 / 10 / 20 %)"), _("Time")


def _proof(report: dict[str, Any], method: str) -> str:
    """How a map did on the CT: dice kept with its most important voxels alone visible (mean of grey and noise), and the
    verdict; empty where it was not tried."""
    try:
        told = report["proof"][method]
        kept = [*zip(*(told["dice_kept"]["map"][fill] for fill in ("grey", "noise")))][:PROVED]
        means = " / ".join(f"{(grey + noise) / 2:.2f}" for grey, noise in kept)
        return _("{kept}, {verdict}").format(kept=means, verdict=told["verdict"])
    except (KeyError, TypeError, ValueError, IndexError):
        return ""


def summary_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """One row for the organ, one a method, one for everything, one a warning."""
    organ, seconds = report["organ"], report.get("seconds", {})
    size = _("{volume} ml").format(volume=f"{organ['volume_ml']:.1f}") if organ["found"] else _("not found")
    took = {k: _("{seconds} s").format(seconds=f"{seconds[k]:.1f}") for k in seconds}
    rows = [(organ["name"], size, took.get("segmentation", ""))]
    rows += [(TITLES.get(m, m), _proof(report, m), took.get(m, "")) for m in report["settings"]["methods"]]
    every = _("{seconds} s").format(seconds=f"{sum(seconds.values()):.1f}")
    notes = [(_("Note: {sentence}").format(sentence=sentence), "", "") for sentence in warnings_of(report)]
    return [*rows, (_("All, with reading and writing"), "", every), *notes]
