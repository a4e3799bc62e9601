"""Tests of the scene layer with answers known by hand. Run inside Slicer (UNoiseSlicerTest) and under slicer-core.

Each test takes an empty scene. Plain asserts, so that nothing must be installed in Slicer.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util import numpy_support

from UNoiseSlicerLib import axial, display, exchange, ours, report_page, under_cursor, volumes, what_if
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.segmentation import OUTLINE

SHAPE = (10, 20, 30)  # k, j, i
STRAIGHT = np.array([[-0.8, 0, 0, 100], [0, -0.7, 0, 120], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
C, S = np.cos(0.4), np.sin(0.4)
OBLIQUE = np.array([[1, 0, 0, 5], [0, C, -S, -7], [0, S, C, 11], [0, 0, 0, 1.0]]) @ np.diag([-0.8, -0.7, 2.5, 1])
SHEARED = np.array([[-0.8, 0.1, 0.05, 100], [0.05, -0.7, 0.2, 120], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
TURNED = np.array([[0, 0, 3.0, 1], [0.5, 0, 0, 2], [0, -0.6, 0, 3], [0, 0, 0, 1.0]])  # k right, i anterior, j down
WARNING = "Research model. Not for clinical use."


def box() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:6, 5:9, 10:20] = 1
    return mask


def heat() -> np.ndarray:
    """Negative outside, highest (4) in one voxel of slice k = 4."""
    values = np.full(SHAPE, -1, np.float32)
    values[3:6, 5:9, 10:20] = 2
    values[4, 7, 12] = 4
    return values


def add_ct(scene: Any, matrix: np.ndarray = STRAIGHT, dtype: Any = np.int16, name: str = "CT") -> Any:
    hu = np.full(SHAPE, -1000, dtype)
    hu[:, 4:16, 6:24] = 40
    hu[box() > 0] = 100
    return add_volume(scene, hu, matrix, name)


def add_volume(
    scene: Any, array: np.ndarray, matrix: np.ndarray, name: str, kind: str = "vtkMRMLScalarVolumeNode"
) -> Any:
    node = scene.AddNewNodeByClass(kind, name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveImageData(volumes.image_of(array))
    node.CreateDefaultDisplayNodes()
    return node


def report(methods: tuple[str, ...] = ("unoise", "gradcam"), slices: tuple[int, int] = (0, SHAPE[0])) -> dict[str, Any]:
    return {
        "report_version": 1,
        "warning": WARNING,
        "titles": {"unoise": "U-Noise", "gradcam": "Grad-CAM", "occlusion": "Occlusion"},
        "notes": ['Größe: 1;2 <"3"> & so on\nnext line'],
        "organ": {"name": "pancreas", "found": True, "volume_ml": 0.168},
        "seconds": {"segmentation": 1.0, **dict.fromkeys(methods, 0.5)},
        "settings": {"methods": list(methods), "axial_slices": list(slices)},
        "files": {"segmentation": "segmentation.nrrd", **{f"importance-{m}": f"importance-{m}.nrrd" for m in methods}},
    }


def results(methods: tuple[str, ...] = ("unoise", "gradcam"), slices: tuple[int, int] = (0, SHAPE[0])) -> Any:
    facts = report(methods, slices)
    exchange.learn(facts["titles"])
    return exchange.Results(facts, box(), {m: heat() for m in methods})


@contextmanager
def refused(*words: str) -> Iterator[None]:
    try:
        yield
    except exchange.Refused as error:
        text = str(error)
        assert all(word in text for word in words), text
        assert "\n" not in text and " - " in text, f"not one sentence with a cure: {text}"
    else:
        raise AssertionError(f"was not refused: {words}")


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="unoise-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_run(path: Path, ct: Any, changed: dict[str, Any] | None = None, maps: np.ndarray | None = None) -> None:
    """What the engine would leave for this CT."""
    facts = report() | (changed or {})
    (path / "report.json").write_text(json.dumps(facts), encoding="utf-8")
    for name, file in facts["files"].items():
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetAndObserveImageData(
            volumes.image_of(box() if name == "segmentation" else heat() if maps is None else maps)
        )
        node.SetIJKToRASMatrix(volumes.upright(volumes.matrix_of(ct))[0])
        storage = slicer.vtkMRMLNRRDStorageNode()
        storage.SetFileName(str(path / file))
        assert storage.WriteData(node)


def on_one_grid(one: Any, other: Any) -> bool:
    first, second = (slicer.util.arrayFromVTKMatrix(volumes.matrix_of(node)) for node in (one, other))
    sizes = [node.GetImageData().GetDimensions() for node in (one, other)]
    return sizes[0] == sizes[1] and np.allclose(first, second, rtol=0, atol=1e-9)


def segment_on(ct: Any, segmentation: Any) -> np.ndarray:
    """The segment's voxels on the CT's grid, through Slicer's own export."""
    label = ct.GetScene().AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    label.SetAndObserveTransformNodeID(ct.GetTransformNodeID())
    export = slicer.vtkSlicerSegmentationsModuleLogic.ExportVisibleSegmentsToLabelmapNode
    assert export(segmentation, label, ct)
    array = np.array(slicer.util.arrayFromVolume(label))
    ct.GetScene().RemoveNode(label)
    return array


def translation(scene: Any, x: float) -> Any:
    matrix = np.eye(4)
    matrix[0, 3] = x
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def count(scene: Any) -> int:
    return scene.GetNumberOfNodes()


# --- geometry ---


def test_results_lie_exactly_on_the_ct(scene: Any) -> None:
    for matrix in (STRAIGHT, OBLIQUE, SHEARED, TURNED):
        ct = add_ct(scene, matrix)
        nodes = scenes.place(scene, ct, results())
        assert on_one_grid(ct, nodes["importance-unoise"])
        assert np.array_equal(slicer.util.arrayFromVolume(nodes["importance-unoise"]), heat())
        assert np.array_equal(segment_on(ct, nodes["segmentation"]), box())
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        for_editing = nodes["segmentation"].GetSegmentation().GetConversionParameter(name)
        expected = slicer.vtkSegmentationConverter.SerializeImageGeometry(volumes.matrix_of(ct), ct.GetImageData())
        assert for_editing == expected, "who edits the segments does so on the CT's grid"


def test_results_follow_the_transform_of_the_ct(scene: Any) -> None:
    ct = add_ct(scene)
    ct.SetAndObserveTransformNodeID(translation(scene, 16).GetID())
    nodes = scenes.place(scene, ct, results())
    assert segment_on(ct, nodes["segmentation"]).sum() == box().sum() == 120
    bounds, of_map = [0.0] * 6, [0.0] * 6
    ct.GetRASBounds(bounds)
    nodes["importance-unoise"].GetRASBounds(of_map)
    assert bounds == of_map
    ct.SetAndObserveTransformNodeID(None)
    display.show(scene, ct, "unoise", display.Look(share=50))
    for node in scenes.results_of(scene, ct).values():
        assert not hasattr(node, "GetTransformNodeID") or node.GetTransformNodeID() is None, node.GetName()


def test_ct_and_maps_survive_the_files(scene: Any) -> None:
    kinds = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64)
    for matrix in (STRAIGHT, OBLIQUE, SHEARED, TURNED):
        for kind in kinds:
            ct = add_ct(scene, matrix)
            hu = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(kind)
            image = vtk.vtkImageData()  # as a reader leaves it: volumes.image_of would choose the type
            image.SetDimensions(*reversed(SHAPE))
            image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(hu.ravel(), deep=True))
            ct.SetAndObserveImageData(image)
            with folder() as path:
                exchange.write_ct(ct, path / "ct.nrrd")
                back = exchange.read_on_grid(path / "ct.nrrd", ct)
            assert (back.dtype == kind or kind in (np.int8, np.int64)) and np.array_equal(back, hu)


def test_a_map_on_another_grid_is_refused_with_slicers_reason(scene: Any) -> None:
    ct, other = add_ct(scene), add_ct(scene, OBLIQUE)
    with folder() as path:
        write_run(path, other)
        before = count(scene)
        with refused("IJKToRAS mismatch", "CT"):
            exchange.read_results(path, ct)
        assert count(scene) == before


def test_sheared_axes_are_sent_upright(scene: Any) -> None:
    """Same spacings, perpendicular axes, as near as can be; straight axes are not touched at all."""
    for matrix in (STRAIGHT, OBLIQUE, TURNED):
        given = slicer.util.vtkMatrixFromArray(matrix)
        assert volumes.upright(given) == (given, 1.0)
    straight, larger = volumes.upright(slicer.util.vtkMatrixFromArray(SHEARED))
    straight = slicer.util.arrayFromVTKMatrix(straight)
    axes, spacing = straight[:3, :3], np.linalg.norm(SHEARED[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.diag(spacing**2)) and np.allclose(straight[:, 3], SHEARED[:, 3])
    assert np.abs(axes - SHEARED[:3, :3]).max() < 0.2
    assert np.isclose(larger, np.prod(spacing) / abs(np.linalg.det(SHEARED[:3, :3]))) and larger > 1
    ct = add_ct(scene, SHEARED)
    with folder() as path:
        write_run(path, ct)
        assert np.isclose(exchange.read_results(path, ct).report["organ"]["volume_ml"], 0.168 / larger)


def test_the_file_names_no_patient(scene: Any) -> None:
    ct = add_ct(scene, name="Doe^Jane")
    ct.SetAttribute("DICOM.PatientName", "Doe^Jane")
    with folder() as path:
        exchange.write_ct(ct, path / "ct.nrrd")
        assert b"Jane" not in (path / "ct.nrrd").read_bytes()


def test_axial_slices_are_counted_from_the_feet(scene: Any) -> None:
    head_first = STRAIGHT @ np.diag([1, 1, -1, 1])
    for matrix, axis, backwards in (
        (STRAIGHT, 2, False),
        (head_first, 2, True),
        (TURNED, 1, True),
        (OBLIQUE, 2, False),
    ):
        assert axial.axial_axis(slicer.util.vtkMatrixFromArray(matrix)) == (axis, backwards)
        ct = add_ct(scene, matrix)
        total = axial.slice_count(ct)
        assert total == ct.GetImageData().GetDimensions()[axis]
        for place in (0, 3, total - 1):
            ijk = [2.0, 2.0, 2.0]
            ijk[axis] = float(total - 1 - place if backwards else place)
            ras = tuple(volumes.matrix_of(ct).MultiplyPoint((*ijk, 1.0))[:3])
            assert axial.slice_at(ct, ras) == place
    low = volumes.matrix_of(add_ct(scene, head_first)).MultiplyPoint((0, 0, SHAPE[0] - 1, 1))[2]
    assert axial.slice_at(add_ct(scene, head_first), (100, 120, low)) == 0
    assert axial.slice_at(add_ct(scene), (100, 120, 5000)) is None


def test_the_slice_in_view_is_found_under_a_transform(scene: Any) -> None:
    ct = add_ct(scene)
    move = np.eye(4)
    move[2, 3] = 40
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "up")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(move))
    ct.SetAndObserveTransformNodeID(node.GetID())
    assert axial.slice_at(ct, (90, 110, -300 + 2.5 * 4 + 40)) == 4


def is_at(found: tuple[float, float, float] | None, expected: np.ndarray) -> bool:
    return found is not None and np.allclose(found, expected, atol=1e-4)


def test_the_most_important_place(scene: Any) -> None:
    for matrix in (STRAIGHT, OBLIQUE, SHEARED, TURNED):
        ct = add_ct(scene, matrix)
        ct.SetAndObserveTransformNodeID(translation(scene, 16).GetID())
        values = np.zeros(SHAPE, np.float32)
        values[4, 7, 12] = 3
        values[1] = -9
        one = exchange.Results(report(("unoise",)), box(), {"unoise": values})
        node = scenes.place(scene, ct, one)["importance-unoise"]
        expected = np.add((matrix @ (12, 7, 4, 1))[:3], (16, 0, 0))
        assert is_at(axial.most_important_point(node, []), expected)
    slicer.util.arrayFromVolume(node)[:] = -1
    assert axial.most_important_point(node, [2]) is None


def test_the_most_important_place_has_the_organ(scene: Any) -> None:
    """A map may run high where the model sees no organ."""
    for matrix in (STRAIGHT, STRAIGHT @ np.diag([1, 1, -1, 1]), TURNED):
        ct = add_ct(scene, matrix)
        values, axis = np.zeros(SHAPE, np.float32), 2 - axial.axial_axis(slicer.util.vtkMatrixFromArray(matrix))[0]
        inside = [4, 7, 12]
        outside = [4, 7, 12]
        outside[axis] = 0
        values[tuple(inside)], values[tuple(outside)] = 1, 9
        one = exchange.Results(report(("unoise",)), box(), {"unoise": values})
        node = scenes.place(scene, ct, one)["importance-unoise"]
        planes = scenes.organ_slices(scene, ct)
        assert planes == np.flatnonzero(box().any(axis=tuple(a for a in range(3) if a != axis))).tolist()
        for among, kji in ((planes, inside), ([], outside)):
            expected = (matrix @ (*reversed(kji), 1))[:3]
            assert is_at(axial.most_important_point(node, among), expected)


# --- types and odd values ---


def test_every_array_type_has_a_voxel_type(scene: Any) -> None:
    wanted = {"bool": "uint8", "float16": "float32", "float64": "float32", "int64": "int32", "int16": "int16"}
    for given, kept in wanted.items():
        image = volumes.image_of(np.ones((2, 3, 4), given))
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        node.SetAndObserveImageData(image)
        assert slicer.util.arrayFromVolume(node).dtype == kept


def test_a_map_that_is_not_finite_is_refused(scene: Any) -> None:
    ct = add_ct(scene)
    for bad in (np.nan, np.inf):
        values = heat()
        values[0, 0, 0] = bad
        with folder() as path:
            write_run(path, ct, maps=values)
            before = count(scene)
            with refused("U-Noise", "not numbers"):
                exchange.read_results(path, ct)
            assert count(scene) == before


def test_results_of_another_version_are_refused(scene: Any) -> None:
    ct = add_ct(scene)
    with folder() as path:
        with refused("no readable report"):
            exchange.read_results(path, ct)
        write_run(path, ct, {"report_version": 2})
        with refused("another version", "2", "1"):
            exchange.read_results(path, ct)
        write_run(path, ct)
        (path / "importance-gradcam.nrrd").unlink()
        with refused("importance-gradcam.nrrd"):
            exchange.read_results(path, ct)
        write_run(path, ct)
        assert set(exchange.read_results(path, ct).maps) == {"unoise", "gradcam"}
        ct.SetAndObserveTransformNodeID(translation(scene, 16).GetID())
        assert set(exchange.read_results(path, ct).maps) == {"unoise", "gradcam"}


# --- bad input ---


def test_bad_input_is_refused_in_one_sentence(scene: Any) -> None:
    volume, label = "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"
    hu = slicer.util.arrayFromVolume(add_ct(scene)).copy()
    with refused("No CT volume"):
        exchange.check_input(None)
    with refused("empty", "no image data"):
        exchange.check_input(scene.AddNewNodeByClass(volume, "empty"))
    with refused("mask", "label map"):
        exchange.check_input(add_volume(scene, box(), STRAIGHT, "mask", label))
    with refused("a model", "not a volume"):
        exchange.check_input(scene.AddNewNodeByClass("vtkMRMLModelNode", "a model"))
    with refused("flat", "0 everywhere"):
        exchange.check_input(add_volume(scene, hu * 0, STRAIGHT, "flat"))
    with refused("nothing", "no finite"):
        exchange.check_input(add_volume(scene, hu * np.float32(np.nan), STRAIGHT, "nothing"))
    colour = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    colour.SetAndObserveImageData(image)
    with refused("photo", "3 values"):
        exchange.check_input(colour)
    exchange.check_input(add_ct(scene))
    exchange.check_input(add_volume(scene, hu.astype(np.float32), SHEARED, "float"))


def test_a_frame_of_a_sequence_is_refused(scene: Any) -> None:
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "heart beat")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "frames")
    sequence.SetDataNodeAtValue(add_ct(scene), "0")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    frame = browser.AddProxyNode(add_ct(scene, name="frame"), sequence, False)
    with refused("frame", "heart beat", "clone"):
        exchange.check_input(frame)
    with refused("frames", "not a volume"):
        exchange.check_input(sequence)


def test_a_warped_ct_is_refused_and_a_moved_one_is_not(scene: Any) -> None:
    ct = add_ct(scene)
    ct.SetAndObserveTransformNodeID(translation(scene, 5).GetID())
    exchange.check_input(ct)
    warp = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "breathing")
    grid = vtk.vtkImageData()
    grid.SetDimensions(2, 2, 2)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    warp.SetAndObserveTransformFromParent(transform)
    ct.SetAndObserveTransformNodeID(warp.GetID())
    with refused("CT", "breathing", "non-linear"):
        exchange.check_input(ct)


def test_what_does_not_look_like_hounsfield_units_is_doubted(scene: Any) -> None:
    assert exchange.doubt(add_ct(scene)) == ""
    hu = slicer.util.arrayFromVolume(add_ct(scene)).astype(np.float32)
    hu[0, 0, 0] = np.nan
    assert exchange.doubt(add_volume(scene, hu, STRAIGHT, "with NaN")) == ""
    for values in (hu + 1000, (hu - hu.min()) / 2000, hu * 1000):
        assert "unlike a CT" in exchange.doubt(add_volume(scene, np.nan_to_num(values), STRAIGHT, "MR"))


# --- the scene ---


def test_running_again_replaces_and_never_piles_up(scene: Any) -> None:
    ct = add_ct(scene)
    first = scenes.place(scene, ct, results(("unoise", "gradcam")))
    display.show(scene, ct, "unoise", display.Look(share=30))
    ids, nodes = {role: node.GetID() for role, node in first.items()}, count(scene)
    for _again in range(3):
        again = scenes.place(scene, ct, results(("unoise", "gradcam")))
        display.show(scene, ct, "unoise", display.Look(share=30))
    assert {role: node.GetID() for role, node in again.items()} == ids
    assert count(scene) == nodes
    assert again["segmentation"].GetSegmentation().GetNumberOfSegments() == 1
    scenes.place(scene, ct, results(("unoise",)))
    assert "importance-gradcam" not in scenes.results_of(scene, ct)
    assert scene.GetNodeByID(ids["importance-gradcam"]) is None


def test_two_cts_keep_their_own_results(scene: Any) -> None:
    one, two = add_ct(scene, name="one"), add_ct(scene, OBLIQUE, name="two")
    first = scenes.place(scene, one, results())
    second = scenes.place(scene, two, results())
    assert {n.GetID() for n in first.values()}.isdisjoint(n.GetID() for n in second.values())
    assert scenes.results_of(scene, one).keys() == first.keys()
    assert scenes.maps_of(scene, add_ct(scene, name="three")) == {}


def test_results_share_one_folder_of_the_hierarchy(scene: Any) -> None:
    ct = add_ct(scene)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for _again in range(2):
        nodes = scenes.place(scene, ct, results())
    items = {hierarchy.GetItemByDataNode(node) for node in nodes.values()}
    parents = {hierarchy.GetItemParent(item) for item in items}
    assert len(items) == len(nodes) and len(parents) == 1
    assert hierarchy.GetItemName(parents.pop()) == "CT U-Noise"
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), children)
    names = [hierarchy.GetItemName(children.GetId(k)) for k in range(children.GetNumberOfIds())]
    assert names.count("CT U-Noise") == 1


def test_the_segment_has_name_colour_and_terminology(scene: Any) -> None:
    segmentation = scenes.place(scene, add_ct(scene), results())["segmentation"]
    segment = segmentation.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "pancreas"
    assert np.allclose(segment.GetColor(), OUTLINE)
    tag = vtk.reference("")
    assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
    assert "SCT^15776009^Pancreas" in str(tag)


def test_the_outline_lets_the_map_be_seen(scene: Any) -> None:
    ct = add_ct(scene)
    nodes = scenes.place(scene, ct, results())
    shown = nodes["segmentation"].GetDisplayNode()
    display.show(scene, ct, "unoise", display.Look())
    assert not shown.GetVisibility2DFill() and shown.GetVisibility2DOutline()
    assert shown.GetSliceIntersectionThickness() == 2
    display.show(scene, ct, "", display.Look())
    assert shown.GetVisibility2DFill()


def test_colours_rise_evenly_and_fade_in(scene: Any) -> None:
    for name in display.COLOURS:
        rgba = display.rgba(name)
        linear = np.where(rgba[:, :3] <= 0.04045, rgba[:, :3] / 12.92, ((rgba[:, :3] + 0.055) / 1.055) ** 2.4)
        luminance = linear @ (0.2126, 0.7152, 0.0722)
        lightness = 116 * np.cbrt(np.maximum(luminance, 0.008856)) - 16
        assert (np.diff(lightness) > -0.3).all(), name
        assert rgba[0, 3] == 0 and rgba[-1, 3] == 1 and (np.diff(rgba[:, 3]) >= 0).all()
    table = display.colours(scene, "inferno")
    assert display.colours(scene, "viridis") is table
    colour = [0.0] * 4
    table.GetColor(255, colour)
    assert np.allclose(colour, (*(int("fde725"[k : k + 2], 16) / 255 for k in (0, 2, 4)), 1), atol=0.01)


def test_the_display_runs_from_zero_to_the_highest_usual_importance(scene: Any) -> None:
    ct = add_ct(scene)
    node = scenes.place(scene, ct, results())["importance-unoise"]
    values = slicer.util.arrayFromVolume(node)
    values[:] = -1
    values[2:6, :, :] = np.linspace(0.01, 4, values[2:6].size).reshape(values[2:6].shape)
    values[7, 2, 2:6] = 100  # a few voxels at the organ's end must not leave all others dark
    slicer.util.arrayFromVolumeModified(node)
    display.show(scene, ct, "unoise", display.Look(threshold=25))
    shown = node.GetDisplayNode()
    assert np.allclose((shown.GetWindow(), shown.GetLevel()), (4, 2), rtol=0.01)
    assert np.allclose((shown.GetLowerThreshold(), shown.GetUpperThreshold()), (1, 100), rtol=0.01), "none is left out"


def test_nothing_important_is_nothing_shown(scene: Any) -> None:
    ct = add_ct(scene)
    node = scenes.place(scene, ct, results())["importance-unoise"]
    display.show(scene, ct, "unoise", display.Look(threshold=25))
    shown = node.GetDisplayNode()
    top = display.highest(node)
    assert top == 4
    assert np.allclose((shown.GetWindow(), shown.GetLevel()), (top, top / 2))
    assert shown.GetApplyThreshold() and np.isclose(shown.GetLowerThreshold(), top / 4)
    slicer.util.arrayFromVolume(node)[:] = -2  # nothing important: nothing shown, and no nonsense range
    slicer.util.arrayFromVolumeModified(node)
    display.show(scene, ct, "unoise", display.Look())
    assert np.allclose((shown.GetWindow(), shown.GetLevel()), (1, 0.5))


def test_the_share_that_stays_visible(scene: Any) -> None:
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) - 1000
    head_first = STRAIGHT @ np.diag([1, 1, -1, 1])
    for matrix, part in ((STRAIGHT, slice(2, 5)), (head_first, slice(5, 8))):
        ct = add_ct(scene, matrix)
        given = exchange.Results(report(("unoise",), (2, 5)), box(), {"unoise": values})
        node = scenes.place(scene, ct, given)["importance-unoise"]
        hidden = slicer.util.arrayFromVolume(display.curtain(scene, ct, "unoise", node, 25))
        inside = values[part]
        assert np.array_equal(hidden[part] == 0, inside > np.quantile(inside, 0.75))
        assert hidden.sum() == hidden[part].sum(), "slices that were not explained stay open"
        assert abs((hidden[part] == 0).mean() - 0.25) < 0.01
        assert display.curtain(scene, ct, "unoise", node, 100) is None
        assert "curtain-unoise" not in scenes.results_of(scene, ct)


def test_ties_never_show_more_than_the_share(scene: Any) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[0, 0, :10] = 1
    ct = add_ct(scene)
    node = scenes.place(scene, ct, exchange.Results(report(("gradcam",)), box(), {"gradcam": values}))[
        "importance-gradcam"
    ]
    hidden = slicer.util.arrayFromVolume(display.curtain(scene, ct, "gradcam", node, 50))
    assert np.array_equal(hidden[0] == 0, values[0] > 0)
    assert not hidden[1:].any(), "slices of which the map says nothing stay open"


def test_the_summary_tells_volume_and_seconds(scene: Any) -> None:
    ct = add_ct(scene)
    table = scenes.place(scene, ct, results())["summary"].GetTable()
    rows = [[table.GetValue(r, c).ToString() for c in range(3)] for r in range(table.GetNumberOfRows())]
    assert rows == [list(row) for row in scenes.summary_rows(report())]
    assert rows[0][1] == "0.2 ml" and rows[1] == ["U-Noise", "", "0.5 s"]
    kept = {"map": {"grey": [0.5, 0.7, 0.9, 1.0], "noise": [0.3, 0.5, 0.9, 1.0]}}
    told = {"verdict": "better than distance", "shares_visible": [0.05, 0.1, 0.2, 0.5], "dice_kept": kept}
    tried = scenes.summary_rows(report() | {"proof": {"unoise": told}})
    assert tried[1][1] == "0.40 / 0.60 / 0.90, better than distance" and tried[2][1] == ""
    odd: tuple[Any, ...] = ({}, {"unoise": None}, {"unoise": told | {"dice_kept": 3}}, [1])
    assert all(scenes.summary_rows(report() | {"proof": one})[1][1] == "" for one in odd)
    assert scenes.report_of(scene, ct) == report()


def test_no_spreadsheet_runs_a_table(scene: Any) -> None:
    """The organ's name comes from a model; tables are saved as CSV by Slicer, and copied out of pages."""
    ct, evil = add_ct(scene), "=cmd|' /C calc'!A0"
    told = exchange.Results(report() | {"organ": report()["organ"] | {"name": evil}}, box(), results().maps)
    node = scenes.place(scene, ct, told)["summary"]
    assert node.GetTable().GetValue(0, 0).ToString() == f"'{evil}"
    text = report_page.page(scene, ct, display.Look(), (("\t@SUM(1)", "-0.5", "a;+1"),))
    for cell in ("&#x27;=cmd", "&#x27;@SUM(1)", ">-0.5<", "a;&#x27;+1"):
        assert cell in text, cell
    for start in ("=cmd", "@SUM", "\t"):
        assert f"<td>{start}" not in text


def test_warnings_of_the_engine_are_kept_with_the_results(scene: Any) -> None:
    ct = add_ct(scene)
    told = ["Slices 10.0 mm apart lie outside 0.3 to 6 mm, which the model knows.", "No contrast\nagent."]
    plain = scenes.place(scene, ct, results())["importance-unoise"]
    assert plain.GetAttribute(scenes.CAUTION) == "" == scenes.caution(report())
    given = results()
    given.report["warnings"] = told
    nodes = scenes.place(scene, ct, given)
    short = nodes["importance-unoise"].GetAttribute(scenes.CAUTION)
    assert short == "Slices 10.0 mm apart lie outside 0.3 to 6 mm (and 1 more)"
    assert [row[0] for row in scenes.summary_rows(given.report)[-2:]] == [
        f"Note: {told[0]}",
        "Note: No contrast agent.",
    ]
    assert nodes["summary"].GetTable().GetNumberOfRows() == 6
    assert scenes.report_of(scene, ct)["warnings"] == told
    scenes.place(scene, ct, results())
    assert nodes["importance-unoise"].GetAttribute(scenes.CAUTION) == "", "the next run is without"
    odds: tuple[Any, ...] = (None, "a sentence", 7, {"a": 1}, [])
    for odd in odds:
        assert scenes.caution({"warnings": odd}) == "" and len(scenes.summary_rows(report() | {"warnings": odd})) == 4
    endless = "The field of view ends at the patient's skin on both sides of the body in this CT"
    long = scenes.caution({"warnings": [endless]})
    assert long.endswith("...") and len(long) <= scenes.SHORT + 3 and not long.removesuffix("...").endswith(" ")


def test_export_writes_every_result_and_overwrites_nothing(scene: Any) -> None:
    ct = add_ct(scene, SHEARED, name="CT: abdomen/1")
    scenes.place(scene, ct, results())
    display.show(scene, ct, "unoise", display.Look(share=10))
    with folder() as path:
        first, second = scenes.export(scene, ct, path), scenes.export(scene, ct, path)
        assert first != second and first.parent == path
        names = sorted(p.name for p in first.iterdir())
        assert names == ["importance-gradcam.nrrd", "importance-unoise.nrrd", "report.json", "segmentation.seg.nrrd",
                         "summary.csv"]  # fmt: skip
        storage, back = slicer.vtkMRMLNRRDStorageNode(), slicer.vtkMRMLScalarVolumeNode()
        storage.SetFileName(str(first / "importance-unoise.nrrd"))
        assert storage.ReadData(back) and on_one_grid(ct, back), "exact though it is sheared"
        assert np.array_equal(slicer.util.arrayFromVolume(back), heat())
        (path / "a file").write_text("")
        with refused("cannot be exported"):
            scenes.export(scene, ct, path / "a file")


def test_the_segmentation_comes_back_as_voxels_of_the_ct(scene: Any) -> None:
    """Also after a reload, when Slicer stores left-handed volumes the other way round."""
    head_first = STRAIGHT @ np.diag([1, 1, -1, 1])
    for matrix in (STRAIGHT, OBLIQUE, SHEARED, TURNED, head_first):
        scene.Clear(0)
        ct = add_ct(scene, matrix)
        ct.SetAndObserveTransformNodeID(translation(scene, 16).GetID())
        scenes.place(scene, ct, results())
        planes = scenes.organ_slices(scene, ct)
        assert np.array_equal(scenes.organ_mask(scene, ct), box())
        with folder() as path:
            assert scene.WriteToMRB(str(path / "s.mrb"))
            scene.Clear(0)
            assert scene.ReadFromMRB(str(path / "s.mrb"))
        ct = scene.GetFirstNodeByName("CT")
        mask, turned = scenes.organ_mask(scene, ct), np.linalg.det(matrix) < 0
        assert np.array_equal(mask, box()[::-1] if turned else box())
        assert scenes.is_as_found(scene, ct, mask)
        axis = 2 - axial.axial_axis(volumes.matrix_of(ct))[0]
        organ = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))).tolist()
        assert scenes.organ_slices(scene, ct) == organ and len(planes) == len(organ)


def test_a_segmentation_changed_by_hand_is_noticed(scene: Any) -> None:
    ct = add_ct(scene)
    segmentation = scenes.place(scene, ct, results())["segmentation"].GetSegmentation()
    assert scenes.is_as_found(scene, ct, scenes.organ_mask(scene, ct))
    mask = box()
    mask[3, 5, 10] = 0
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(volumes.image_of(mask))
    image.SetImageToWorldMatrix(volumes.matrix_of(ct))
    segmentation.GetNthSegment(0).AddRepresentation("Binary labelmap", image)
    assert not scenes.is_as_found(scene, ct, scenes.organ_mask(scene, ct))
    segmentation.RemoveAllSegments()
    with refused("not the model's alone"):
        scenes.organ_mask(scene, ct)


def test_volumes_are_written_as_they_are_sheared_or_not(scene: Any) -> None:
    for matrix in (STRAIGHT, OBLIQUE, SHEARED, TURNED):
        ct = add_ct(scene, matrix, name="Doe^Jane")
        with folder() as path:
            exchange.write_as_is(ct, path / "mask.nrrd", box())
            back, storage = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLNRRDStorageNode()
            storage.SetFileName(str(path / "mask.nrrd"))
            assert storage.ReadData(back) and on_one_grid(ct, back)
            assert np.array_equal(slicer.util.arrayFromVolume(back), box())
            assert b"Jane" not in (path / "mask.nrrd").read_bytes()


def test_a_saved_scene_brings_everything_back(scene: Any) -> None:
    ct = add_ct(scene, SHEARED)
    ct.SetAndObserveTransformNodeID(translation(scene, 16).GetID())
    scenes.place(scene, ct, results())
    display.show(scene, ct, "unoise", display.Look(threshold=25, share=40, colours="viridis"))
    hidden = slicer.util.arrayFromVolume(scenes.results_of(scene, ct)["curtain-unoise"]).copy()
    with folder() as path:
        assert scene.WriteToMRB(str(path / "s.mrb"))
        scene.Clear(0)
        assert scene.ReadFromMRB(str(path / "s.mrb"))
    ct = scene.GetFirstNodeByName("CT")
    found = scenes.results_of(scene, ct)
    assert set(found) == {"segmentation", "importance-unoise", "importance-gradcam", "curtain-unoise", "summary"}, set(
        found
    )
    node = found["importance-unoise"]
    assert np.array_equal(slicer.util.arrayFromVolume(node), heat())
    assert on_one_grid(ct, node)
    assert node.GetTransformNodeID() == ct.GetTransformNodeID() is not None
    assert node.GetAttribute(scenes.WARNING) == WARNING
    shown = node.GetDisplayNode()
    top = display.highest(node)
    assert top == 4
    assert np.isclose(shown.GetLowerThreshold(), top / 4)
    assert np.allclose((shown.GetWindow(), shown.GetLevel()), (top, top / 2))
    colours, saved = [0.0] * 4, shown.GetColorNode()
    saved.GetColor(51, colours)
    assert np.allclose(colours, display.rgba("viridis")[51], atol=0.01), "colours and their alpha ramp"
    assert np.array_equal(slicer.util.arrayFromVolume(found["curtain-unoise"]), hidden)
    assert np.array_equal(segment_on(ct, found["segmentation"]), box())
    assert not found["segmentation"].GetDisplayNode().GetVisibility2DFill()
    assert scenes.report_of(scene, ct) == report()
    before = count(scene)
    scenes.place(scene, ct, results())
    display.show(scene, ct, "unoise", display.Look(share=40))
    assert count(scene) <= before, "results of a loaded scene are replaced too"


# --- results and what becomes of their CT ---


def view_of(scene: Any) -> Any:
    """Which volumes a slice view shows."""
    composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    if composite is None:
        composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
        composite.SetLayoutName("Red")
    return composite


def harden(ct: Any) -> None:
    ct.SetAndObserveTransformNodeID(translation(ct.GetScene(), 30).GetID())
    ct.HardenTransform()


def shift(ct: Any) -> None:
    ct.SetOrigin(100, 120, -275)


def turn(ct: Any) -> None:
    ct.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(OBLIQUE))


def crop(ct: Any) -> None:
    ct.SetAndObserveImageData(volumes.image_of(slicer.util.arrayFromVolume(ct)[:6].copy()))


def edit_one_voxel(ct: Any) -> None:
    slicer.util.arrayFromVolume(ct)[9, 19, 29] += 1
    slicer.util.arrayFromVolumeModified(ct)


CHANGES = {harden: "moved", shift: "moved", turn: "moved", crop: "cropped", edit_one_voxel: "changed"}


def test_results_of_a_ct_that_is_another_now_are_put_away(scene: Any) -> None:
    """Hardened, moved, turned, cropped, edited: neither shown nor exported, and one sentence says why."""
    for change, word in CHANGES.items():
        scene.Clear(0)
        ct, view = add_ct(scene), view_of(scene)
        nodes = scenes.place(scene, ct, results())
        display.show(scene, ct, "unoise", display.Look(share=40))
        assert view.GetForegroundVolumeID() == nodes["importance-unoise"].GetID() and view.GetLabelVolumeID()
        change(ct)
        with refused(f"CT was {word}", "since it was explained - explain it again"):
            display.show(scene, ct, "unoise", display.Look())
        assert not view.GetForegroundVolumeID() and not view.GetLabelVolumeID(), change.__name__
        assert not nodes["segmentation"].GetDisplayVisibility() and display.warning_in(view) == ""
        with folder() as path:
            with refused(f"CT was {word}"):
                scenes.export(scene, ct, path)
            assert list(path.iterdir()) == []
        slices = len(slicer.util.arrayFromVolume(ct))
        again = exchange.Results(report(slices=(0, slices)), box()[:slices], {"unoise": heat()[:slices]})
        assert scenes.place(scene, ct, again)["segmentation"] is nodes["segmentation"]
        assert scenes.why_stale(scene, ct) == "", "explained again"
        display.show(scene, ct, "", display.Look())
        assert nodes["segmentation"].GetDisplayVisibility()


def test_a_change_that_nobody_told_is_found_at_the_export(scene: Any) -> None:
    ct = add_ct(scene)
    scenes.place(scene, ct, results())
    slicer.util.arrayFromVolume(ct)[3, 5, 10] += 1  # without arrayFromVolumeModified
    with folder() as path, refused("CT was changed"):
        scenes.export(scene, ct, path)
    with refused("CT was changed"):
        display.show(scene, ct, "unoise", display.Look())


def test_a_change_that_is_undone_brings_the_results_back(scene: Any) -> None:
    ct, view = add_ct(scene), view_of(scene)
    nodes = scenes.place(scene, ct, results())
    shift(ct)
    with refused("CT was moved"):
        display.show(scene, ct, "unoise", display.Look())
    ct.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(STRAIGHT))
    display.show(scene, ct, "unoise", display.Look())
    assert view.GetForegroundVolumeID() == nodes["importance-unoise"].GetID()
    assert nodes["segmentation"].GetDisplayVisibility()


def test_a_map_that_was_moved_away_from_its_ct_is_noticed(scene: Any) -> None:
    ct = add_ct(scene)
    node = scenes.place(scene, ct, results())["importance-gradcam"]
    harden(node)
    with refused("Grad-CAM importance was moved away from its CT"):
        display.show(scene, ct, "unoise", display.Look())
    scenes.place(scene, ct, results())
    display.show(scene, ct, "unoise", display.Look())


def test_a_transform_above_the_ct_takes_the_results_along(scene: Any) -> None:
    ct, view = add_ct(scene), view_of(scene)
    node = scenes.place(scene, ct, results())["importance-unoise"]
    move = translation(scene, 16)
    ct.SetAndObserveTransformNodeID(move.GetID())
    bounds, of_map = [0.0] * 6, [0.0] * 6
    for x in (16, 40):
        there = np.eye(4)
        there[0, 3] = x
        move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(there))
        display.show(scene, ct, "unoise", display.Look())
        ct.GetRASBounds(bounds)
        node.GetRASBounds(of_map)
        assert bounds == of_map and view.GetForegroundVolumeID() == node.GetID()
    with folder() as path:
        assert (scenes.export(scene, ct, path) / "importance-unoise.nrrd").is_file()


def test_a_saved_scene_knows_its_ct_again(scene: Any) -> None:
    """Slicer turns left-handed grids round when it loads them; a CT that was moved is noticed there too."""
    for matrix in (STRAIGHT, OBLIQUE, SHEARED, TURNED, STRAIGHT @ np.diag([1, 1, -1, 1])):
        for change in (None, shift, edit_one_voxel):
            scene.Clear(0)
            ct = add_ct(scene, matrix, np.float32)
            ct.SetAndObserveTransformNodeID(translation(scene, 16).GetID())
            scenes.place(scene, ct, results())
            if change:
                change(ct)
            with folder() as path:
                assert scene.WriteToMRB(str(path / "s.mrb"))
                scene.Clear(0)
                assert scene.ReadFromMRB(str(path / "s.mrb"))
            ct = scene.GetFirstNodeByName("CT")
            assert bool(scenes.why_stale(scene, ct)) == bool(change), scenes.why_stale(scene, ct)


def test_a_scene_opens_without_maps_that_do_not_fit(scene: Any) -> None:
    """Moved while nobody looked, then saved: the views would come back with the map in the wrong place."""
    ct, other, view = add_ct(scene), add_ct(scene, name="other"), view_of(scene)
    nodes = scenes.place(scene, ct, results())
    scenes.place(scene, other, results())
    display.show(scene, ct, "unoise", display.Look())
    shift(ct)
    assert display.put_away_stale(scene) == ["CT was moved since it was explained - explain it again."]
    assert not view.GetForegroundVolumeID() and not nodes["segmentation"].GetDisplayVisibility()
    node = display.show(scene, other, "unoise", display.Look())
    display.put_away_stale(scene)
    assert view.GetForegroundVolumeID() == node.GetID(), "what fits stays"


def test_the_results_are_renamed_with_the_ct(scene: Any) -> None:
    """A CT that was made anonymous leaves no name behind, in no node and in no folder."""
    ct = add_ct(scene, name="Doe^Jane")
    paint(scenes.place(scene, ct, results(slices=(6, 7)))["segmentation"], ct)
    scenes.place(scene, ct, results(slices=(3, 8)))
    nodes = scenes.place(scene, ct, results(slices=(6, 7)))
    display.show(scene, ct, "unoise", display.Look(share=40))
    nodes["summary"].SetName("for the conference")
    ct.SetName("case 7")
    scenes.follow_name(scene, ct)
    assert nodes["importance-unoise"].GetName() == "case 7 U-Noise importance, slice 7"
    assert nodes["summary"].GetName() == "for the conference", "a name of its own stays"
    with folder() as path:
        scene.SetURL(str(path / "s.mrml"))
        assert scene.Commit(str(path / "s.mrml"))
        text = (path / "s.mrml").read_text(encoding="utf-8")
        assert "Doe" not in text and "case 7 U-Noise" in text
    again = scenes.place(scene, ct, results(slices=(6, 7)))
    assert again["importance-unoise"] is nodes["importance-unoise"]


# --- what is the user's ---


def paint(node: Any, ct: Any) -> np.ndarray:
    mask = box()
    mask[3, 5:9, 2:10] = 1
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(volumes.image_of(mask))
    image.SetImageToWorldMatrix(volumes.matrix_of(ct))
    node.GetSegmentation().GetNthSegment(0).AddRepresentation("Binary labelmap", image)
    return mask


def test_strokes_and_segments_outlive_the_next_run(scene: Any) -> None:
    for matrix in (STRAIGHT, STRAIGHT @ np.diag([1, 1, -1, 1])):
        scene.Clear(0)
        ct = add_ct(scene, matrix)
        painted = scenes.place(scene, ct, results())["segmentation"]
        mask = paint(painted, ct)
        nodes = scenes.place(scene, ct, results())
        assert nodes["segmentation"] is not painted and scene.GetNodeByID(painted.GetID()) is painted
        assert painted.GetName() == "CT pancreas by the model edited" == scenes.kept(scene, ct)[0]
        assert np.array_equal(segment_on(ct, painted), mask)
        assert np.array_equal(segment_on(ct, nodes["segmentation"]), box())
        nodes["segmentation"].GetSegmentation().AddEmptySegment("lesion")
        again = scenes.place(scene, ct, results())
        assert again["segmentation"] is not nodes["segmentation"]
        assert nodes["segmentation"].GetSegmentation().GetSegment("lesion") is not None
        assert nodes["segmentation"].GetName() != painted.GetName()
        last = scenes.place(scene, ct, results())
        assert last["segmentation"] is again["segmentation"] and scenes.kept(scene, ct) == [], "nothing was edited"
        assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3


def test_strokes_are_known_where_the_ct_was_moved_and_where_it_was_loaded(scene: Any) -> None:
    for is_painted in (False, True):
        scene.Clear(0)
        ct = add_ct(scene)
        node = scenes.place(scene, ct, results())["segmentation"]
        if is_painted:
            paint(node, ct)
        with folder() as path:
            assert scene.WriteToMRB(str(path / "s.mrb"))
            scene.Clear(0)
            assert scene.ReadFromMRB(str(path / "s.mrb"))
        ct = scene.GetFirstNodeByName("CT")
        shift(ct)
        scenes.place(scene, ct, results())
        assert len(scenes.kept(scene, ct)) == is_painted == scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") - 1


def test_an_empty_segmentation_is_not_taken_for_an_edited_one(scene: Any) -> None:
    ct = add_ct(scene)
    nothing = exchange.Results(report(("unoise",)), box() * 0, {"unoise": heat()})
    node = scenes.place(scene, ct, nothing)["segmentation"]
    assert scenes.place(scene, ct, nothing)["segmentation"] is node and scenes.kept(scene, ct) == []
    with folder() as path:
        assert scene.WriteToMRB(str(path / "s.mrb"))
        scene.Clear(0)
        assert scene.ReadFromMRB(str(path / "s.mrb"))
    ct = scene.GetFirstNodeByName("CT")
    scenes.place(scene, ct, nothing)
    assert scenes.kept(scene, ct) == [] and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_results_of_other_slices_stay_beside_the_new_ones(scene: Any) -> None:
    ct, total = add_ct(scene), SHAPE[0]
    whole = scenes.place(scene, ct, results())
    one = scenes.place(scene, ct, results(slices=(4, 5)))
    assert one["importance-unoise"] is scenes.maps_of(scene, ct)["unoise"] is not whole["importance-unoise"]
    assert one["importance-unoise"].GetName() == "CT U-Noise importance, slice 5"
    assert all(scene.GetNodeByID(node.GetID()) is node for node in whole.values())
    assert scenes.kept(scene, ct) == [node.GetName() for node in scenes.every_result(scene, ct)
                                      if node in whole.values()]  # fmt: skip
    display.show(scene, ct, "unoise", display.Look())
    assert not whole["segmentation"].GetDisplayVisibility() and one["segmentation"].GetDisplayVisibility()
    some = scenes.place(scene, ct, results(slices=(3, 8)))
    assert some["importance-unoise"] is one["importance-unoise"], "slice 5 is among them"
    assert some["importance-unoise"].GetName() == "CT U-Noise importance, slices 4 to 8"
    before = count(scene)
    again = scenes.place(scene, ct, results())
    assert count(scene) < before, "the whole volume takes the place of all"
    assert len(scenes.every_result(scene, ct)) == len(again) == len(whole)
    assert scenes.report_of(scene, ct)["settings"]["axial_slices"] == [0, total]


def test_only_the_outline_of_the_chosen_ct_shows(scene: Any) -> None:
    arterial, venous = add_ct(scene, name="arterial"), add_ct(scene, name="venous")
    first = scenes.place(scene, arterial, results())["segmentation"]
    second = scenes.place(scene, venous, results())["segmentation"]

    def seen() -> list[bool]:
        return [bool(node.GetDisplayVisibility()) for node in (first, second)]

    display.show(scene, arterial, "unoise", display.Look())
    assert seen() == [True, False]
    display.show(scene, venous, "gradcam", display.Look())
    assert seen() == [False, True]
    second.SetDisplayVisibility(False)
    display.show(scene, venous, "gradcam", display.Look(opacity=20))
    display.show(scene, arterial, "unoise", display.Look())
    display.show(scene, venous, "unoise", display.Look())
    assert seen() == [False, False], "hidden by hand"
    display.put_away(scene, add_ct(scene, name="plain"))
    assert seen() == [False, False]


def test_an_outline_that_was_hidden_by_hand_stays_hidden(scene: Any) -> None:
    ct = add_ct(scene)
    node = scenes.place(scene, ct, results())["segmentation"]
    shown = node.GetDisplayNode()
    display.show(scene, ct, "unoise", display.Look())
    for flag in ("Visibility2DOutline", "Visibility"):
        getattr(shown, f"Set{flag}")(False)
        for opacity in (20, 50):
            display.show(scene, ct, "unoise", display.Look(opacity=opacity))
        display.show(scene, ct, "", display.Look())
        assert not getattr(shown, f"Get{flag}")()
    shown.SetSliceIntersectionThickness(5)
    display.show(scene, ct, "unoise", display.Look())
    assert shown.GetSliceIntersectionThickness() == 5


def test_the_views_get_back_what_they_showed_before(scene: Any) -> None:
    """A fused PET and a label map of the user's own."""
    ct, view = add_ct(scene), view_of(scene)
    pet = add_ct(scene, name="PET")
    label = add_volume(scene, box(), STRAIGHT, "mine", "vtkMRMLLabelMapVolumeNode")
    nodes = scenes.place(scene, ct, results())

    def fuse() -> None:
        view.SetForegroundVolumeID(pet.GetID())
        view.SetForegroundOpacity(0.35)
        view.SetLabelVolumeID(label.GetID())
        view.SetLabelOpacity(0.6)

    def is_fused() -> bool:
        opacities = view.GetForegroundOpacity(), view.GetLabelOpacity()
        shown = view.GetForegroundVolumeID(), view.GetLabelVolumeID()
        return shown == (pet.GetID(), label.GetID()) and np.allclose(opacities, (0.35, 0.6))

    fuse()

    def remove() -> None:
        scenes.remove(scene, nodes["importance-unoise"])
        display.put_away(scene, ct)

    for put_away in (
        lambda: display.show(scene, ct, "", display.Look()),
        lambda: display.put_away(scene, ct),
        remove,
    ):
        for opacity in (70, 30):
            display.show(scene, ct, "unoise", display.Look(share=40, opacity=opacity))
        assert view.GetForegroundVolumeID() == nodes["importance-unoise"].GetID() and not is_fused()
        put_away()
        assert is_fused()
    nodes = scenes.place(scene, ct, results())
    display.show(scene, ct, "unoise", display.Look(share=40))
    scenes.remove(scene, nodes["importance-unoise"])
    display.show(scene, ct, "gradcam", display.Look(share=40))
    display.show(scene, ct, "", display.Look())
    assert is_fused(), "also after a map was deleted"
    display.show(scene, ct, "gradcam", display.Look())
    view.SetForegroundVolumeID(pet.GetID())
    view.SetForegroundOpacity(0.9)
    display.show(scene, ct, "", display.Look())
    assert view.GetForegroundVolumeID() == pet.GetID() and view.GetForegroundOpacity() == 0.9, "chosen meanwhile"
    display.show(scene, ct, "gradcam", display.Look())
    scene.RemoveNode(pet)
    display.show(scene, ct, "", display.Look())
    assert not view.GetForegroundVolumeID(), "it is gone"


def clone(node: Any, name: str) -> Any:
    """As the Data module does: with attributes and references."""
    scene = node.GetScene()
    if node.IsA("vtkMRMLScalarVolumeNode"):
        return slicer.vtkSlicerVolumesLogic.CloneVolume(scene, node, name)
    copy = scene.AddNewNodeByClass(node.GetClassName())
    copy.Copy(node)
    copy.SetName(name)
    if node.IsA("vtkMRMLDisplayableNode"):
        shown = scene.AddNewNodeByClass(node.GetDisplayNode().GetClassName())
        shown.Copy(node.GetDisplayNode())
        copy.SetAndObserveDisplayNodeID(shown.GetID())
    return copy


def test_what_somebody_cloned_is_theirs(scene: Any) -> None:
    """A cloned map stays in its view, a cloned segmentation filled, and no run fills, names, hides or removes them."""
    ct, view = add_ct(scene), view_of(scene)
    nodes = scenes.place(scene, ct, results())
    mine = clone(nodes["importance-unoise"], "mine")
    drawn = clone(nodes["segmentation"], "drawn")
    assert mine.GetAttribute(ours.ROLE) and mine.GetNodeReferenceID(scenes.CT) == ct.GetID(), "Slicer copies these"
    assert scenes.maps_of(scene, ct)["unoise"] is nodes["importance-unoise"]
    assert scenes.results_of(scene, ct)["segmentation"] is nodes["segmentation"]
    view.SetForegroundVolumeID(mine.GetID())
    view.SetForegroundOpacity(0.8)
    for look in (display.Look(), display.Look(share=40)):
        display.show(scene, ct, "unoise", look)
        assert view.GetForegroundVolumeID() == nodes["importance-unoise"].GetID()
        assert drawn.GetDisplayNode().GetVisibility() and drawn.GetDisplayNode().GetVisibility2DFill()
        display.show(scene, ct, "", look)
        assert view.GetForegroundVolumeID() == mine.GetID() and view.GetForegroundOpacity() == 0.8
    hidden = clone(nodes["importance-gradcam"], "hidden")
    scenes.place(scene, ct, results(("unoise",)))
    ct.SetName("another")
    scenes.follow_name(scene, ct)
    shift(ct)
    display.put_away_stale(scene)
    display.put_away(scene, ct)
    for node, name in ((mine, "mine"), (drawn, "drawn"), (hidden, "hidden")):
        assert scene.GetNodeByID(node.GetID()) is node and node.GetName() == name
    assert view.GetForegroundVolumeID() == mine.GetID() and drawn.GetDisplayNode().GetVisibility()


def test_what_was_cloned_while_it_was_hidden_or_compared_is_theirs(scene: Any) -> None:
    """Curtains, colours, differences and what is found with something hidden are removed when they are not needed."""
    ct = add_ct(scene)
    nodes = scenes.place(scene, ct, results())
    display.show(scene, ct, "unoise", display.Look(share=40))
    curtain = scenes.results_of(scene, ct)["curtain-unoise"]
    colours = nodes["importance-unoise"].GetDisplayNode().GetColorNode()
    ghost = what_if.ghost(ct, "vein", box())
    kept = [clone(node, "kept") for node in (ghost, curtain, colours)]
    table = kept[-1]
    display.show(scene, ct, "unoise", display.Look(colours="viridis"))
    what_if.drop_ghost(scene)
    assert ghost.GetScene() is None and curtain.GetScene() is None
    assert all(node.GetScene() is scene for node in kept)
    scene.RemoveNode(colours)
    display.show(scene, ct, "unoise", display.Look(colours="cividis"))
    assert nodes["importance-unoise"].GetDisplayNode().GetColorNode() is not table


def test_a_clone_is_told_from_its_original_in_a_saved_scene(scene: Any) -> None:
    """Also where the scene is added to another, in which its ids are taken."""
    ct = add_ct(scene)
    nodes = scenes.place(scene, ct, results())
    clone(nodes["importance-unoise"], "mine")
    nodes["importance-unoise"].SetName("by hand")
    with folder() as path:
        scene.SetURL(str(path / "s.mrml"))
        assert scene.WriteToMRB(str(path / "s.mrb"))
        for again in (False, True):
            if not again:
                scene.Clear(0)
            assert scene.ReadFromMRB(str(path / "s.mrb"), not again)
            cts = [node for node in volumes.nodes_of(scene, "vtkMRMLScalarVolumeNode") if node.GetName() == "CT"]
            assert len(cts) == 1 + again
            for ct in cts:
                found = scenes.results_of(scene, ct)
                assert set(found) == {"segmentation", "importance-unoise", "importance-gradcam", "summary"}
                assert found["importance-unoise"].GetName() == "by hand", "the original, not the clone"
    scenes.place(scene, cts[0], results())
    names = [node.GetName() for node in volumes.nodes_of(scene, "vtkMRMLScalarVolumeNode")]
    assert names.count("mine") == names.count("by hand") == 2


def test_an_original_that_is_gone_leaves_its_clone_alone(scene: Any) -> None:
    ct = add_ct(scene)
    nodes = scenes.place(scene, ct, results())
    mine = clone(nodes["importance-unoise"], "mine")
    scenes.remove(scene, nodes["importance-unoise"])
    assert "unoise" not in scenes.maps_of(scene, ct)
    new = scenes.place(scene, ct, results())["importance-unoise"]
    assert new is not mine and mine.GetScene() is scene


def test_a_map_that_was_dragged_into_another_study_stays_there(scene: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    ct = add_ct(scene)
    node = scenes.place(scene, ct, results())["importance-unoise"]
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "another")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
    assert scenes.place(scene, ct, results())["importance-unoise"] is node
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_what_the_views_showed_before_is_saved_with_the_scene(scene: Any) -> None:
    ct, view = add_ct(scene), view_of(scene)
    pet = add_ct(scene, name="PET")
    view.SetForegroundVolumeID(pet.GetID())
    scenes.place(scene, ct, results())
    display.show(scene, ct, "unoise", display.Look())
    with folder() as path:
        assert scene.WriteToMRB(str(path / "s.mrb"))
        scene.Clear(0)
        assert scene.ReadFromMRB(str(path / "s.mrb"))
    display.show(scene, scene.GetFirstNodeByName("CT"), "", display.Look())
    assert view_of(scene).GetForegroundVolumeID() == scene.GetFirstNodeByName("PET").GetID()


def test_a_map_ends_where_the_body_does(scene: Any) -> None:
    """Not on the table and not in the air around; what lies inside, air too, stays, and so does what is below 0."""
    hu = np.full((6, 60, 80), -1000, np.int16)
    hu[:, 5:40, 10:70] = 30
    hu[:, 15:25, 30:40] = -900  # a lung, open to the feet
    hu[:, 50:52, 5:75] = 300  # the table
    for matrix, order in ((STRAIGHT, (0, 1, 2)), (TURNED, (1, 0, 2))):
        ct = add_volume(scene, np.ascontiguousarray(hu.transpose(order)), matrix, "patient")
        values = np.full(hu.shape, 2, np.float32)
        values[:, 55:] = -3
        with folder() as path:
            facts = report(("gradcam",), (0, axial.slice_count(ct)))
            (path / "report.json").write_text(json.dumps(facts), encoding="utf-8")
            for name, array in (("segmentation", np.zeros(hu.shape, np.uint8)), ("importance-gradcam", values)):
                node = add_volume(scene, np.ascontiguousarray(array.transpose(order)), matrix, name)
                exchange.write_as_is(node, path / f"{name}.nrrd")
            read = exchange.read_results(path, ct)
        found = read.maps["gradcam"].transpose(order)
        assert (found[:, 8:37, 13:67] == 2).all() and (found[:, 43:55] == 0).all() and (found[:, 55:] == -3).all()
        assert (found[:, :2] == 0).all() and any("beside the body" in note for note in read.report["notes"])
        exchange.learn({})


def test_values_under_the_cursor(scene: Any) -> None:
    ct = add_ct(scene, OBLIQUE)
    facts = results(("unoise",))
    facts.report["units"] = {"unoise": "logit"}
    scenes.place(scene, ct, facts)
    move = translation(scene, 30)
    ct.SetAndObserveTransformNodeID(move.GetID())

    def told(k: int, j: int, i: int) -> str:
        x, y, z, _one = OBLIQUE @ (i, j, k, 1)
        return under_cursor.told_at(scene, ct, (x + 30, y, z))

    first, second = told(4, 7, 12).split("\n")
    assert first.endswith(": 100 HU") and second == "U-Noise: 4 logit, above 100.0 % of the voxels"
    low, middle = (float(told(*v).split("above ")[1].split()[0]) for v in ((0, 0, 0), (3, 5, 10)))
    explained = SHAPE[0] * SHAPE[1] * SHAPE[2]
    assert low == 0 and abs(middle - 100 * (1 - 120 / explained)) < 0.1
    x, y, z, _one = OBLIQUE @ (12, 7, 4, 1)
    assert told(-1, 7, 12) == told(4, 7, 30) == "" != under_cursor.told_at(scene, ct, (x + 30, y, z))
    slicer.util.arrayFromVolume(scenes.maps_of(scene, ct)["unoise"])[4, 7, 12] = -9
    slicer.util.arrayFromVolumeModified(scenes.maps_of(scene, ct)["unoise"])
    assert "-9 logit, above 0.0 %" in told(4, 7, 12)


NOISE = {"unit": "HU", "low": "bears the most noise", "high": "bears the least", "most": 400.0}


def noise(scale: dict[str, Any] | None = None, values: np.ndarray | None = None) -> Any:
    """Results whose map is of logits, told in HU."""
    facts = report(("unoise",)) | {"units": {"unoise": "logit"}, "scales": {"unoise": NOISE | (scale or {})}}
    exchange.learn(facts["titles"])
    return exchange.Results(facts, box(), {"unoise": heat() if values is None else values})


def test_noise_has_one_unit_in_legend_voxels_and_under_the_cursor(scene: Any) -> None:
    """A logit of 4 bears 400 / (1 + e^4) HU, which is 393 less than the most."""
    ct = add_ct(scene)
    values = heat()
    values[8:] = 0  # a slice of which the map says nothing
    node = scenes.place(scene, ct, noise(values=values))["importance-unoise"]
    voxels = slicer.util.arrayFromVolume(node)
    assert np.isclose(voxels[4, 7, 12], 400 - 400 / (1 + np.exp(4))) and not voxels[8:].any()
    assert np.isclose(voxels[0, 0, 0], 400 - 400 / (1 + np.exp(-1)))
    display.show(scene, ct, "unoise", display.Look())
    assert display.legend_text(node).split() == ["U-Noise", "[HU]", "bright:", "bears", "the", "least"]
    top = display.highest(node)
    ends = ("0 bears the most noise: 400 HU", f"{top:.3g} bears the least: {400 - top:.0f} HU")
    assert display.ends(node) == ends
    assert np.isclose(node.GetDisplayNode().GetWindow(), display.highest(node))
    place = tuple((STRAIGHT @ (12, 7, 4, 1))[:3])
    assert under_cursor.told_at(scene, ct, place).splitlines()[1].startswith("U-Noise: 7 HU of noise, above ")
    page = report_page.page(scene, ct, display.Look())
    assert "<span>0 bears the most noise: 400 HU</span>" in page and "bears the least: " in page
    middle = axial.most_important_point(node, [])
    assert middle is not None and np.allclose(middle, (STRAIGHT @ (14.5, 6.5, 4, 1))[:3], atol=1.0)


def test_files_hold_the_very_logits(scene: Any) -> None:
    ct = add_ct(scene, SHEARED)
    chance = np.random.default_rng(0)
    values = chance.normal(0, 5, SHAPE).astype(np.float32)
    values[2:4] = 0
    node = scenes.place(scene, ct, noise(values=values))["importance-unoise"]
    back = scenes.as_written(node)
    assert np.array_equal(slicer.util.arrayFromVolume(back), values) and on_one_grid(ct, back)
    with folder() as path:
        written = scenes.export(scene, ct, path)
        loaded = slicer.vtkMRMLScalarVolumeNode()
        storage = slicer.vtkMRMLNRRDStorageNode()
        storage.SetFileName(str(written / "importance-unoise.nrrd"))
        assert storage.ReadData(loaded)
        assert np.array_equal(slicer.util.arrayFromVolume(loaded), values)
        assert scene.WriteToMRB(str(path / "s.mrb"))
        scene.Clear(0)
        assert scene.ReadFromMRB(str(path / "s.mrb"))
    node = scenes.maps_of(scene, scene.GetFirstNodeByName("CT"))["unoise"]
    assert np.array_equal(slicer.util.arrayFromVolume(scenes.as_written(node)), values)


def test_other_images_have_units_of_their_own(scene: Any) -> None:
    ct = add_ct(scene)
    found = noise({"unit": "MR units", "most": 0.5})
    found.report["input"] = {"modality": "MR"}
    node = scenes.place(scene, ct, found)["importance-unoise"]
    assert "[MR units]" in display.legend_text(node)
    lines = under_cursor.told_at(scene, ct, tuple((STRAIGHT @ (12, 7, 4, 1))[:3])).splitlines()
    assert lines[0].endswith(": 100 MR units") and lines[1].startswith("U-Noise: 0.00899 MR units of noise")
    assert display.ends(node)[0] == "0 bears the most noise: 0.5 MR units"


def test_a_scale_that_is_none_is_refused(scene: Any) -> None:
    ct = add_ct(scene)
    for scale in ({"most": "much"}, {"most": -1}, {"most": float("nan")}, 3):
        with folder() as path, refused("no readable report"):
            write_run(path, ct, {"scales": {"unoise": NOISE | scale if isinstance(scale, dict) else scale}})
            exchange.read_results(path, ct)


def test_the_report_is_one_page_that_needs_nothing_else(scene: Any) -> None:
    ct = add_ct(scene, name="<b>CT & co</b>")
    facts = results(("unoise",))
    facts.report.update(warnings=['Odd: "<script>alert(1)</script>"'], units={"unoise": "logit"})
    scenes.place(scene, ct, facts)
    with folder() as path:
        page = path / "report.html"
        report_page.write_page(scene, ct, page, display.Look(), (("another", "1 ml, dice 0.5", ""),))
        text = page.read_text(encoding="utf-8")
        assert [p.name for p in path.iterdir()] == ["report.html"]
        with refused("report.html", "cannot be written"):
            report_page.write_page(scene, ct, path / "none" / "report.html", display.Look())
        assert "<script" not in text and "<b>" not in text and "&lt;b&gt;CT &amp; co" in text
        for words in (WARNING, "Odd: &quot;", "0.2 ml", "dice 0.5", "4 logit", "axial slice 5 of 10", "axial_slices"):
            assert words in text, words
        assert "http" not in text.replace("http-equiv", "") and "default-src 'none'" in text
        edit_one_voxel(ct)
        with refused("was changed"):
            report_page.write_page(scene, ct, page, display.Look())
        assert page.read_text(encoding="utf-8") == text


def test_the_pictures_of_the_report_lie_as_radiologists_have_them(scene: Any) -> None:
    """Right on the left, anterior on top, whatever way the voxels are stored; colour where the map is high."""
    for matrix in (STRAIGHT, OBLIQUE, TURNED, STRAIGHT @ np.diag([-1, -1, 1, 1])):
        ct = add_ct(scene, matrix)
        ct.GetDisplayNode().AutoWindowLevelOff()
        ct.GetDisplayNode().SetWindowLevel(400, 40)
        at = np.linalg.inv(matrix) @ (
            *np.mean([(matrix @ (*ijk, 1))[:3] for ijk in ((0, 0, 0), (29, 19, 9))], axis=0),
            1,
        )
        axis = axial.axial_axis(volumes.matrix_of(ct))[0]
        for way, (row, column) in {(1, 0): (0.5, 0.25), (-1, 0): (0.5, 0.75), (0, 1): (0.25, 0.5)}.items():
            values = np.zeros(SHAPE, np.float32)
            ends = np.array([29, 19, 9]) / 4
            shift = np.linalg.inv(matrix)[:3, :3] @ (*way, 0)
            shift[axis] = 0
            main = np.argmax(np.abs(shift * ct.GetSpacing()))
            ijk = at[:3].copy()
            ijk[main] += np.sign(shift[main]) * ends[main]
            i, j, k = np.round(ijk).astype(int)
            values[k, j, i] = 1
            node = add_volume(scene, values, matrix, "map")
            plane = (i, j, k)[axis]
            picture = report_page.axial_picture(ct, node, np.zeros(SHAPE, np.uint8), plane, display.Look())
            hot = np.argwhere(np.ptp(picture.astype(int), axis=2) > 30)
            assert len(hot) == 1, (matrix, way)
            assert np.allclose(hot[0] / np.array(picture.shape[:2]), (row, column), atol=0.1), (matrix, way, hot)


ALL = {name: test for name, test in list(globals().items()) if name.startswith("test_")}
