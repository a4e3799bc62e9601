"""Structures from every kind of file that is read, on the CT's own voxels."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import image_of
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.box import box
from unoise_engine.volume.structures import MOST, find_structures, read_names
from unoise_engine.volume.volume import AxialView, Volume


@pytest.fixture
def labels(ct: Any) -> Volume:
    """2 in a block, 5 in another."""
    voxels = np.zeros(ct.voxels.shape, np.uint8)
    voxels[2:5, 4:9, 6:12] = 2
    voxels[6:8, 20:30, 30:40] = 5
    return Volume(voxels, ct.grid)


def masks(found: Any) -> dict[str, Any]:
    return {one.name: one.mask() for one in found.found}


def write(volume: Volume, path: Path) -> Path:
    sitk.WriteImage(image_of(volume), str(path))
    return path


def test_a_label_map_with_names_beside_it(ct: Any, labels: Any, tmp_path: Path) -> None:
    path = write(labels, tmp_path / "map.nii.gz")
    assert [*masks(find_structures(path, ct.grid))] == ["label 2", "label 5"]
    (tmp_path / "labels.json").write_text(json.dumps({"liver": 2, "spleen": 5, "nothing": 9}))
    found = find_structures(path, ct.grid)
    assert [*masks(found)] == ["liver", "spleen"] and not found.notes
    assert np.array_equal(masks(found)["spleen"], labels.voxels == 5)
    (tmp_path / "own.json").write_text(json.dumps({"2": "one", "5": "other"}))
    named = find_structures(path, ct.grid, tmp_path / "own.json", ["other"])
    assert [*masks(named)] == ["other"]
    with pytest.raises(Usage, match=r"--only lung - is no structure of map\.nii\.gz - choose from liver, spleen"):
        find_structures(path, ct.grid, only=["lung"])


def test_names_within_the_file(ct: Any, labels: Any, tmp_path: Path) -> None:
    """As TotalSegmentator writes them: an extension of the NIfTI header."""
    content = bytearray(gzip.decompress(write(labels, tmp_path / "plain.nii.gz").read_bytes()))
    xml = b'<LabelTable><Label Key="2" Red="0"><![CDATA[portal_vein]]></Label><Label Key="5"><![CDATA[aorta]]></Label>'
    extension = b"\1\0\0\0" + (8 + len(xml) + 4).to_bytes(4, "little") + b"\0\0\0\0" + xml + b"\0" * 4
    content[108:112] = np.float32(348 + len(extension)).tobytes()
    path = tmp_path / "named.nii.gz"
    path.write_bytes(gzip.compress(bytes(content[:348]) + extension + bytes(content[352:])))
    found = masks(find_structures(path, ct.grid))
    assert [*found] == ["portal_vein", "aorta"] and np.array_equal(found["aorta"], labels.voxels == 5)


def test_one_mask_a_file(ct: Any, labels: Any, tmp_path: Path) -> None:
    for name, number in (("aorta", 5), ("stomach", 2)):
        write(labels.with_voxels((labels.voxels == number).astype(np.uint8)), tmp_path / f"{name}.nii.gz")
    found = masks(find_structures(tmp_path, ct.grid))
    assert [*found] == ["aorta", "stomach"] and np.array_equal(found["stomach"], labels.voxels == 2)
    with pytest.raises(Usage, match="holds no masks"):
        (tmp_path / "empty").mkdir()
        find_structures(tmp_path / "empty", ct.grid)


def seg_nrrd(path: Path, layers: list[np.ndarray], segments: list[tuple[str, int, int]], ct: Volume) -> Path:
    """By hand, as 3D Slicer saves a segmentation: layers are the fastest axis, and LPS is told."""
    x, y, z = ct.grid.size
    steps = np.reshape(ct.grid.direction, (3, 3)) * ct.grid.spacing_mm
    rows = " ".join(f"({','.join(f'{v:.17g}' for v in steps[:, a])})" for a in range(3))
    several = len(layers) > 1
    lines = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {f'{len(layers)} ' if several else ''}{x} {y} {z}",
        f"space directions: {'none ' if several else ''}{rows}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "encoding: gzip",
        f"space origin: ({','.join(f'{v:.17g}' for v in ct.grid.origin_mm)})",
    ]
    for k, (name, value, layer) in enumerate(segments):
        told = {"Name": name, "LabelValue": value, "Layer": layer, "Color": "0.5 0.2 0.1", "Tags": "a~b|" * 100}
        lines += [f"Segment{k}_{key}:={text}" for key, text in told.items()]
    stacked = np.stack(layers, axis=-1).astype(np.uint8)
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + gzip.compress(stacked.tobytes()))
    return path


def test_segments_of_slicer_that_overlap(ct: Any, labels: Any, tmp_path: Path) -> None:
    one, two = labels.voxels == 2, np.roll(labels.voxels == 2, 2, axis=1)
    segments = [("Gallenblase, größer", 1, 0), ("duodenum", 1, 1), ("vein", 7, 1)]
    layers = [one.astype(np.uint8), np.where(labels.voxels == 5, 7, two)]
    found = masks(find_structures(seg_nrrd(tmp_path / "a.seg.nrrd", layers, segments, ct), ct.grid))
    assert [*found] == ["Gallenblase, größer", "duodenum", "vein"]
    assert np.array_equal(found["Gallenblase, größer"], one) and np.array_equal(found["duodenum"], two)
    assert np.array_equal(found["vein"], labels.voxels == 5) and (one & two).any()


def test_a_hundred_segments_have_a_long_header(ct: Any, tmp_path: Path) -> None:
    layer = np.zeros(ct.voxels.shape, np.uint8)
    layer.ravel()[1:151] = np.arange(1, 151)
    segments = [(f"s{k}", k, 0) for k in range(1, 151)]
    path = seg_nrrd(tmp_path / "b.seg.nrrd", [layer], segments, ct)
    found = find_structures(path, ct.grid).found
    assert len(found) == 150 and found[41].mask().sum() == 1


def test_another_order_of_axes_is_the_same_place(ct: Any, labels: Any, tmp_path: Path) -> None:
    turned = sitk.DICOMOrient(image_of(labels), "RAS")
    sitk.WriteImage(turned, str(tmp_path / "ras.nii.gz"))
    found = find_structures(tmp_path / "ras.nii.gz", ct.grid)
    assert not found.notes and np.array_equal(found.found[1].mask(), labels.voxels == 5)


def test_another_grid_is_resampled_and_said(ct: Any, labels: Any, tmp_path: Path) -> None:
    image = image_of(labels)
    spacing = [mm / 2 for mm in image.GetSpacing()]
    finer = sitk.Resample(image, [2 * n for n in image.GetSize()], sitk.Transform(), sitk.sitkNearestNeighbor,
                          image.GetOrigin(), spacing, image.GetDirection(), 0)  # fmt: skip
    sitk.WriteImage(finer, str(tmp_path / "finer.nii.gz"))
    found = find_structures(tmp_path / "finer.nii.gz", ct.grid)
    assert any("lies on another grid than the CT (other size): resampled, nearest voxel" in n for n in found.notes)
    assert np.array_equal(found.found[0].mask(), labels.voxels == 2)
    (tmp_path / "masks").mkdir()
    sitk.WriteImage(finer == 2, str(tmp_path / "masks" / "stomach.nii.gz"))
    masked = find_structures(tmp_path / "masks", ct.grid)
    (note,) = masked.notes
    assert note == "the masks lie on another grid than the CT (other size): resampled, nearest voxel"
    assert np.array_equal(masked.found[0].mask(), labels.voxels == 2)


def test_what_is_refused(ct: Any, labels: Any, tmp_path: Path) -> None:
    with pytest.raises(CaseRefused, match="holds no structure"):
        find_structures(write(labels.with_voxels(0 * labels.voxels), tmp_path / "empty.nii.gz"), ct.grid)
    many = np.zeros(ct.voxels.shape, np.uint16)
    many.ravel()[: MOST + 1] = np.arange(1, MOST + 2)
    path = write(labels.with_voxels(many), tmp_path / "many.nii.gz")
    with pytest.raises(CaseRefused, match="holds 301 structures, and 300 are hidden at a time at most - name some"):
        find_structures(path, ct.grid)
    assert len(find_structures(path, ct.grid, only=["label 7"]).found) == 1
    with pytest.raises(CaseRefused, match="no label"):
        find_structures(write(labels.with_voxels(labels.voxels * np.float32(0.3)), tmp_path / "f.nii.gz"), ct.grid)
    for text in ("[1, 2]", "no json", '{"liver": "x"}'):
        (tmp_path / "names.json").write_text(text)
        with pytest.raises(Usage, match="is no table of names and numbers"):
            read_names(tmp_path / "names.json")


def test_a_colour_table(tmp_path: Path) -> None:
    (tmp_path / "c.ctbl").write_text("# Color table file\n2 bone 255 255 255 255\n3 liver 147 59 0 255\n")
    assert read_names(tmp_path / "c.ctbl") == {2: "bone", 3: "liver"}


def test_a_mask_that_packs_well_is_no_bomb(ct: Any, tmp_path: Path) -> None:
    """The mask of a small structure in a large CT packs a thousand times."""
    image = sitk.Image([512, 512, 300], sitk.sitkUInt8)
    image.SetOrigin(ct.grid.origin_mm)
    image.SetPixel([0, 0, 0], 1)
    sitk.WriteImage(image, str(tmp_path / "small.nii.gz"), useCompression=True)
    assert find_structures(tmp_path, ct.grid).found[0].name == "small"
    assert find_structures(tmp_path / "small.nii.gz", ct.grid).found[0].name == "label 1"


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR"])
def test_boxes(ct: Any, axes: str) -> None:
    """Voxels of the axial slices whatever order the file has, and the same place in the patient's mm."""
    image = sitk.DICOMOrient(image_of(ct), axes)
    turned = Volume(sitk.GetArrayFromImage(image), type(ct.grid)(image.GetSize(), image.GetSpacing(),
                    image.GetOrigin(), image.GetDirection()))  # fmt: skip
    view = AxialView.of(turned.grid)
    in_voxels = view.apply(box("3:7,10:20,2:4", turned.grid).mask())
    assert in_voxels[2:4, 10:20, 3:7].all() and in_voxels.sum() == 2 * 10 * 4
    (x, y, z), (a, b, c) = ct.grid.origin_mm, ct.grid.spacing_mm
    ends = [(x, a, 3, 7), (y, b, 10, 20), (z, c, 2, 4)]
    text = ",".join(f"{o + (low - 0.5) * mm}:{o + (high - 0.5) * mm}" for o, mm, low, high in ends)
    assert np.array_equal(view.apply(box(f"{text}mm", turned.grid).mask()), in_voxels)


@pytest.mark.parametrize("text", ["1:2,3:4", "2:1,0:3,0:3", "0.5:2,0:3,0:3", "a:b,0:1,0:1", ""])
def test_what_is_no_box(ct: Any, text: str) -> None:
    with pytest.raises(Usage, match="--box"):
        box(text, ct.grid)
