"""A segmenter of blocks (rank 3) through the whole line: from a file to maps on the CT's own grid, without U-Noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import SimpleITK as sitk
from onnx import TensorProto, helper

from Testing.engine.conftest import ORGAN_ABOVE, ellipsoid_ct, image_of
from unoise_engine.errors import Integrity, Usage
from unoise_engine.explanation.methods import answerable
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.input import Input
from unoise_engine.models.manifest import Manifest, write_bundle
from unoise_engine.models.recipe import Recipe
from unoise_engine.progress import Quiet
from unoise_engine.results.case_folder import explain_case
from unoise_engine.volume.find import find_cases

RECIPE = Recipe(spacing_mm=2.0, slice_mm=3.0, multiple_of=4)


def cube_net(path: Any, axes: Any = 3) -> None:
    """A 3 x 3 x 3 mean, ten times what it exceeds the threshold by; Grad-CAM is what exceeds it in the target."""
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [1, 1, *[3] * axes], np.full(3**axes, 3.0**-axes))
    numbers = [
        helper.make_tensor(n, TensorProto.FLOAT, (), [v]) for n, v in (("threshold", ORGAN_ABOVE), ("gain", 10.0))
    ]
    side = ["n", 1, *"dhw"[3 - axes :]]
    own = helper.make_tensor("target", TensorProto.FLOAT, [1] * (2 + axes), [1.0])
    ports = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, side) for n in ("slices", "target", "logits", "gradcam")
    ]
    nodes = [
        helper.make_node("Conv", ["slices", "kernel"], ["mean"], pads=[1] * 2 * axes),
        helper.make_node("Sub", ["mean", "threshold"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["logits"]),
        helper.make_node("Mul", ["above", "target"], ["inside"]),
        helper.make_node("Relu", ["inside"], ["gradcam"]),
    ]
    graph = helper.make_graph(nodes, "cubes", ports[:2], ports[2:], [kernel, *numbers, own])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("blocks")
    cube_net(home / "utility.onnx")
    about: dict[str, Any] = dict.fromkeys(("name", "title", "intended_use", "licence", "training_data"), "cubes")
    manifest = Manifest(**about, synthetic=True, recipe=RECIPE, labels={"bright": 3})
    write_bundle(home / "cubes", manifest, {"utility.onnx": home / "utility.onnx"})
    return load_bundle(home / "cubes", "cpu")


def by_hand(ct: Any) -> Any:
    """About the same net, by SimpleITK on the CT's own grid: the organ's mask, for a loose comparison."""
    image = sitk.Cast(image_of(ct), sitk.sitkFloat32)
    mean = sitk.GetArrayFromImage(sitk.Mean(image, (2, 1, 1)))
    low, high = RECIPE.window_hu
    return (np.clip((mean - low) / (high - low), 0, 1) - RECIPE.mean[0]) / RECIPE.std[0] > ORGAN_ABOVE


def test_from_a_file_to_maps_on_its_grid(blocks: Any, tmp_path: Path) -> None:
    """A turned CT: every result lies on its grid, the organ where it is, importance nowhere far from it."""
    ct = ellipsoid_ct(shape=(14, 40, 48))
    turned = sitk.DICOMOrient(image_of(ct), "PIR")
    sitk.WriteImage(turned, str(tmp_path / "ct.nii.gz"))
    (case,) = find_cases([tmp_path / "ct.nii.gz"])
    settings = Settings(("gradcam", "gradient", "occlusion"), parameters={"occlusion": Occlusion(patch=5)})
    (tmp_path / "out").mkdir()
    report = explain_case(case, tmp_path / "out", blocks, settings, Quiet())
    read = {
        name: sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "out" / case.id / file)), "LPS"))
        for name, file in report["files"].items()
        if file.endswith(".nii.gz")
    }
    found, wanted = read.pop("segmentation") == 3, by_hand(ct)
    dice = 2 * (found & wanted).sum() / (found.sum() + wanted.sum())
    assert wanted.sum() > 300 and dice > 0.9, dice
    assert set(read) == {"importance-gradcam", "importance-gradient", "importance-occlusion"}
    far = (
        sitk.GetArrayFromImage(
            sitk.SignedMaurerDistanceMap(image_of(ct.with_voxels(wanted.astype(np.uint8))), False, False, True)
        )
        > 25
    )
    for name, values in read.items():
        assert np.isfinite(values).all() and values[wanted].mean() > 10 * np.abs(values[far]).mean(), name
    assert report["organ"]["volume_ml"] == pytest.approx(wanted.sum() * ct.grid.voxel_ml, rel=0.15)
    assert json.loads((tmp_path / "out" / case.id / "report.json").read_text())["settings"]["occlusion"]["patch"] == 5


def test_some_slices_are_a_block_of_their_own(blocks: Any) -> None:
    ct = ellipsoid_ct(shape=(14, 40, 48))
    results = dict(explain_volume(ct, blocks, Settings(("gradcam",), slices=(4, 12))))
    found = np.stack([*results["segmentation"].slices()])
    assert found[4:12].any() and not found[:4].any() and not found[12:].any()


def test_a_block_is_the_ct_resampled_and_comes_back(blocks: Any) -> None:
    """A ramp along z, fine or coarse: its values at the block's slices, and itself on the way back."""
    for slice_mm in (1.5, 4.5):
        ct = ellipsoid_ct(shape=(24, 16, 16), spacing_mm=(2.0, 2.0, slice_mm))
        ramp = np.broadcast_to(np.linspace(-100, 200, 24)[:, None, None], ct.voxels.shape).astype(np.float32)
        given = Input.of(ct.with_voxels(ramp), RECIPE)
        planes = given.windowed()
        n = round(24 * slice_mm / 3.0)
        first = (given.shape[0] - n) // 2  # air above and below, evenly
        inside = planes[first + 2 : first + n - 2, 8, 8]
        assert np.allclose(np.diff(inside), np.diff(inside).mean(), atol=2e-3) and np.ptp(inside) > 0.4
        back = np.stack([*given.restore(planes).slices()])
        assert np.abs(back - RECIPE.window(ramp))[4:-4, 4:-4, 4:-4].max() < 0.02
        assert given.items(slice(0, given.shape[0])).shape == (1, 1, *given.shape)


def test_it_is_explained_by_what_it_can_answer(blocks: Any) -> None:
    assert answerable(blocks) == ("gradcam", "occlusion", "gradient", "unoise-refined")
    assert set(dict(explain_volume(ellipsoid_ct(), blocks))) == {"segmentation", "importance-gradcam"}
    with pytest.raises(Usage, match=r"--methods unoise.*choose from gradcam, occlusion, gradient"):
        next(explain_volume(ellipsoid_ct(), blocks, Settings(("unoise",))))


def test_a_net_of_another_rank_is_refused_when_it_is_loaded(blocks: Any, tmp_path: Path) -> None:
    cube_net(tmp_path / "utility.onnx", axes=2)
    write_bundle(tmp_path / "flat", blocks.manifest, {"utility.onnx": tmp_path / "utility.onnx"})
    with pytest.raises(Integrity, match=r"utility.onnx.*has 4 axes instead of 5"):
        load_bundle(tmp_path / "flat", "cpu")
