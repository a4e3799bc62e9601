"""What leaves Slicer for the engine, the CT, and what comes back, the results: both checked, the scene untouched.

MRML only. NRRD both ways: it holds every voxel type and the matrix to the last digit.
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

from UNoiseSlicerLib.body import body_of
from UNoiseSlicerLib.scale import Scale
from UNoiseSlicerLib.volumes import image_of, matrix_of, nodes_of, upright

TITLES: dict[str, str] = {}  # method -> its title in the engine's order, as far as the engine has told
REPORT_VERSION = 1
LARGEST_REPORT = 1 << 24  # bytes; some thousands are usual
CT_ADULT_AIR_HU = -200  # any CT that shows some air or lung or fat has voxels below
CT_LARGEST_HU = 40000  # metal, with extended scales
# Slicer's NRRD writer refuses the others: signed char and the 64-bit integers.
WRITABLE = (vtk.VTK_UNSIGNED_CHAR, vtk.VTK_SHORT, vtk.VTK_UNSIGNED_SHORT, vtk.VTK_INT, vtk.VTK_UNSIGNED_INT,
            vtk.VTK_FLOAT, vtk.VTK_DOUBLE)  # fmt: skip


def learn(titles: dict[str, str]) -> None:
    """What the engine calls its methods."""
    TITLES.update({str(name): str(title) for name, title in titles.items()})


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
    if low is None or high is None or (low < CT_ADULT_AIR_HU and 0 < high < CT_LARGEST_HU):
        return ""
    return _(
        "{name} has values from {low} to {high}, unlike a CT in Hounsfield units (air is near -1000). Explain anyway?"
    ).format(name=node.GetName(), low=f"{low:g}", high=f"{high:g}")


def write_ct(node: Any, path: Path) -> None:
    """Writes the voxels and their upright matrix, and nothing else of the node: attributes may name the patient.

    Raises Refused if the file cannot be written.
    """
    _write(_sent(node), path, node.GetName())


def write_mask(ct: Any, path: Path, mask: np.ndarray) -> None:
    """Writes (k, j, i) voxels on the grid that `write_ct` gives to the engine. Raises Refused."""
    bare = _sent(ct)
    bare.SetAndObserveImageData(image_of(mask))
    _write(bare, path, path.name)


def write_as_is(node: Any, path: Path, voxels: np.ndarray | None = None, name: str = "") -> None:
    """Writes a volume, or other voxels in its place, on its own matrix, sheared or not. Raises Refused."""
    bare = _bare(node, matrix_of(node))
    if voxels is not None:
        bare.SetAndObserveImageData(image_of(voxels))
    _write(bare, path, name or node.GetName())


def _write(bare: Any, path: Path, name: str) -> None:
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(0)  # lives for seconds
    if bare.GetImageData().GetScalarType() not in WRITABLE:
        bare.SetAndObserveImageData(image_of(slicer.util.arrayFromVolume(bare).astype(np.int32)))
    voxels = bare.GetImageData().GetPointData().GetScalars()
    wanted = voxels.GetNumberOfTuples() * voxels.GetDataTypeSize()
    if not storage.WriteData(bare) or not path.is_file() or path.stat().st_size < wanted:
        raise Refused(
            _("{name} cannot be written to {folder} - free some space there, or choose another temporary folder in "
              "Edit / Application Settings / General.")
            .format(name=name, folder=path.parent)
        )  # fmt: skip


# --- back: the results ---


@dataclass(frozen=True)
class Results:
    """What the engine found, checked, as in its files. Arrays are (k, j, i) on the CT's grid."""

    report: dict[str, Any]
    segmentation: np.ndarray
    maps: dict[str, np.ndarray]  # method -> importance


def warnings_of(facts: dict[str, Any]) -> list[str]:
    """The engine's sentences on a CT that is not what the model knows, from a report or a line of the worker."""
    found = facts.get("warnings")
    return [" ".join(str(sentence).split()) for sentence in found] if isinstance(found, list) else []


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
        if (folder / "report.json").stat().st_size > LARGEST_REPORT:
            raise ValueError(_("it is larger than any report"))
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        version, files = report.get("report_version"), dict(report["files"])
        learn(report.get("titles", {}))
        methods = list(report["settings"]["methods"])
        for method in methods:
            Scale.of(report, method)
        organ = report["organ"]["name"]
        report["organ"]["volume_ml"] /= upright(matrix_of(ct))[1]  # the engine counted upright voxels
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
        body, notes = body_of(ct), report.setdefault("notes", [])
        yield
        for method in methods:
            maps[method] = read_on_grid(folder / files[f"importance-{method}"], ct)
            beside = (maps[method] > 0) & ~body
            if beside.any():
                maps[method][beside] = 0
                notes.append(_("{method}: importance beside the body is set to 0").format(
                    method=TITLES.get(method, method)))  # fmt: skip
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


def grid_difference(ct: Any, other: Any) -> str:
    """Slicer's own reason why a volume is not on the grid that `write_ct` gave to the engine; empty if it is.

    Without the transforms above them: Slicer calls two volumes under one transform mismatched (seen in 5.11 to 5.13).
    """
    reason = slicer.vtkSlicerVolumesLogic().CompareVolumeGeometry(_sent(ct), _bare(other, matrix_of(other)))
    return " ".join(reason.split())


def _sent(ct: Any) -> Any:
    """The CT as the engine gets it: the voxels as they are, on perpendicular axes.

    On a sheared grid (a tilted gantry) each slice is explained as it was taken; the results go back on the CT's own
    matrix, voxel by voxel, and nothing is resampled.
    """
    return _bare(ct, upright(matrix_of(ct))[0])


def _bare(node: Any, matrix: Any) -> Any:
    """The voxels (shared) of a volume on a matrix, and nothing else of it."""
    bare = slicer.vtkMRMLScalarVolumeNode()
    bare.SetAndObserveImageData(node.GetImageData())
    bare.SetIJKToRASMatrix(matrix)
    return bare


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
