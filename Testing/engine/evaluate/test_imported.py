"""Judging imported models of planes and of blocks, where the cause is known: a bright organ with a spot near it."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import asked
from Testing.engine.models.foreign_net import write_caused
from unoise_engine.batch.run import explain_all
from unoise_engine.evaluate.command import Request, run
from unoise_engine.explanation.baselines import chaos, ruler
from unoise_engine.explanation.hiding import hiding_units
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import METHODS, answerable
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.proof import SEED, Trial
from unoise_engine.explanation.segment import segment
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.given import given_of
from unoise_engine.models.manifest import read_manifest, write_bundle
from unoise_engine.models.preparation import Preparation, Step, Window
from unoise_engine.volume.read import read_image

SHAPE, MM = (12, 28, 28), 2.0
STEPS = (Step("clip", (-200, 1000)), Step("normalise", (20, 100)))
RECIPES = {
    2: Preparation("SAR", 2, steps=STEPS, window=Window((20, 20), 0.5)),
    3: Preparation("SAR", 3, steps=STEPS, window=Window((12, 24, 24), 0.5)),
}
QUICK = dict(slices_per_case=2, empty_per_case=1, draws=1, figures=False, resamples=50, device="cpu", threads=1)


def write_world(folder: Path, cases: int = 2) -> Path:
    """A body of 20 HU, an organ of 150 with a spot of 400 near it, and another spot farther away. As maps "oracle",
    which knows both, and "wrong", which has them last."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    for k in range(cases):
        labels = np.zeros(SHAPE, np.uint8)
        labels[((z - 6) / 1.5) ** 2 + (y - 9) ** 2 + (x - 10 - k) ** 2 < 7] = 1
        labels[2:11, 8:11, 15 + k : 18 + k] = 2
        labels[2:11, 20:23, 13:16] = 3
        hu = np.where((y - 13) ** 2 + (x - 13) ** 2 < 145, 20.0, -1000.0)
        hu = np.choose(labels, [hu, 150.0, 400.0, 400.0]) + np.random.default_rng(k).normal(0, 8, SHAPE)
        cause = (labels == 1) | (labels == 2)
        written: dict[str, np.ndarray] = {
            f"set/case-{k}-ct": hu.astype(np.float32),
            f"set/case-{k}-labels": labels,
            f"maps/oracle/case-{k}": cause.astype(np.float32),
            f"maps/wrong/case-{k}": -cause.astype(np.float32),
        }
        for name, values in written.items():
            path = folder / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = sitk.GetImageFromArray(values)
            image.SetSpacing([MM] * 3)
            sitk.WriteImage(image, str(path))
    (folder / "set" / "labels.json").write_text(json.dumps({"target": 1, "landmark": 2, "decoy": 3}))
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module", params=[2, 3])
def bundle(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_caused(tmp_path_factory.mktemp("caused"), RECIPES[request.param])


def measured(out: Path, *key: str) -> dict[str, float]:
    with (out / "summary.csv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    return {
        r["method"]: float(r["value"]) for r in rows if (r["measure"], r["fill"], r["ranking"]) == key and r["value"]
    }


def test_maps_of_an_imported_model_are_judged(world: Path, bundle: Path, tmp_path: Path, capsys: Any) -> None:
    asked_for = dict(label="target", methods=("gradient", "random", "distance"), maps=(world / "maps",))
    causes = dict(landmark="landmark", decoys=("decoy",))
    request = Request((world / "set",), tmp_path, str(bundle), **QUICK, **asked_for, **causes)  # type: ignore[arg-type]
    assert run(request) == 0
    counted = {2: "6 slices, 5 maps", 3: "2 blocks, 5 maps"}[read_manifest(bundle).recipe.rank]
    assert counted in capsys.readouterr().err
    assert measured(tmp_path, "volume dice", "", "")["segmentation"] > 0.8, "there is nothing to explain"
    few = measured(tmp_path, "dice at 10 %, own prediction", "grey", "image")
    assert few["oracle"] > 0.8 > 0.3 > few["distance"]  # the spot is no neighbour, and needed
    assert few["wrong"] < 0.2 and few["random"] < 0.2
    few = measured(tmp_path, "dice at 10 %, own prediction", "noise", "image")  # noise has spots, too
    assert few["oracle"] > 0.3 > 0.2 > few["random"]
    beyond = measured(tmp_path, "at equal distance, 8-16 mm: dice lost, upper minus lower half", "grey", "ring")
    assert beyond["oracle"] > 0.5 and beyond["distance"] == 0 and beyond["wrong"] < -0.5
    assert measured(tmp_path, "landmark pixel ranks above a decoy's pixel", "", "")["oracle"] == 1
    told = (tmp_path / "report.md").read_text("utf-8")
    assert "the mean of its body" in told and "5 times that of its body" in told
    with (tmp_path / "checks.csv").open(encoding="utf-8") as file:
        checks = {(r["method"], r["check"]): float(r["value"]) for r in csv.DictReader(file)}
    (stable,) = [value for (method, name), value in checks.items() if method == "gradient" and "body's" in name]
    assert stable > 0.5 and ("gradient", "rank correlation, utility's weights shuffled") in checks


def test_the_usual_methods_are_those_that_the_model_can_answer(world: Path, bundle: Path, tmp_path: Path) -> None:
    how = QUICK | {"slices_per_case": 1, "empty_per_case": 0}
    request = Request((world / "set",), tmp_path, str(bundle), label="target", occlusion=Occlusion(5, 8), **how)  # type: ignore[arg-type]
    assert run(request) == 0
    rank = read_manifest(bundle).recipe.rank
    wanted = {"gradcam", "structures"} if rank == 3 else {"gradcam", "structures", "occlusion"}
    assert {*measured(tmp_path, "area / full dice", "grey", "image")} == {*wanted, "random", "edges", "distance"}


def test_a_map_is_tried_on_the_ct_itself(world: Path, bundle: Path) -> None:
    model = load_bundle(bundle, "cpu", label="target")
    ct, cause = (read_image(world / f"{name}.nii.gz") for name in ("set/case-0-ct", "maps/oracle/case-0"))
    given = given_of(ct, model.recipe)
    trial = Trial(model, segment(model, given))
    knows = given.resampled(given.view.apply(cause.voxels))
    oracle = trial.prove([part.of(knows) for part in trial.parts], False)
    assert oracle and oracle.verdict == "better than distance" and min(oracle.kept["map"]["grey"]) > 0.8
    near = trial.prove([ruler(one, one.organ, SEED) for one in trial.slices], False)
    assert near and near.lead("distance") == 0 and near.kept["distance"]["grey"][0] < 0.3
    random = trial.prove([chaos(one, one.organ, 9) for one in trial.slices], False)
    assert random and random.verdict == "no better than chance"
    one = trial.slices[0]
    body = one.image[one.image > one.image.min()]
    assert hiding_units(model.manifest, one.image) == one.scale
    assert one.scale.grey == pytest.approx(body.mean()) and one.scale.noise == pytest.approx(body.std())
    assert one.scale.grey > one.image.min() + 1, "air is no grey"


def test_it_stands_in_the_report(world: Path, bundle: Path, tmp_path: Path) -> None:
    source = world / "set" / "case-0-ct.nii.gz"
    how = dict(methods=("gradient",), bundle=str(bundle), label="target", prove=True)
    assert explain_all(asked([source], tmp_path / "out", **how), "off") == 0
    told = json.loads((tmp_path / "out" / "case-0001" / "report.json").read_text())["proof"]["gradient"]
    rank = read_manifest(bundle).recipe.rank
    assert told["dice_kept"]["map"]["grey"] and told["margin"] > 0
    if rank == 3:
        (start, stop) = told["window"]
        assert [b - a for a, b in zip(start, stop)] == [12, 24, 24]
    else:
        assert len(told["planes"]) == 3


def test_images_that_are_no_cts_are_judged_too(world: Path, tmp_path: Path) -> None:
    """Values of 0 to some hundred, as MR has, in a MetaImage that says so."""
    for k in range(2):
        ct = sitk.ReadImage(str(world / "set" / f"case-{k}-ct.nii.gz"))
        image = sitk.Cast(sitk.Clamp(ct, lowerBound=-200) + 200, sitk.sitkUInt16)
        image.SetMetaData("Modality", "MET_MOD_MR")
        (tmp_path / "set").mkdir(exist_ok=True)
        sitk.WriteImage(image, str(tmp_path / "set" / f"case-{k}-ct.mha"))
        labels = (world / "set" / f"case-{k}-labels.nii.gz").read_bytes()
        (tmp_path / "set" / f"case-{k}-labels.nii.gz").write_bytes(labels)
    (tmp_path / "set" / "labels.json").write_text((world / "set" / "labels.json").read_text())
    recipe = replace(RECIPES[3], steps=(Step("normalise", (220, 100)),), modality="MR")
    bundle, out = write_caused(tmp_path, recipe), tmp_path / "out"
    out.mkdir()
    request = Request((tmp_path / "set",), out, str(bundle), label="target", methods=("gradient",), **QUICK)  # type: ignore[arg-type]
    assert run(request) == 0
    assert measured(out, "volume dice", "", "")["segmentation"] > 0.8


def test_a_model_without_a_kernel_is_judged_without_shuffling(world: Path, tmp_path: Path, capsys: Any) -> None:
    model = onnx.load(write_caused(tmp_path, RECIPES[2]) / "utility.onnx")
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(onnx.helper.make_node("Concat", ["slices", "slices"], ["logits"], axis=1))
    onnx.save(model, str(tmp_path / "plain.onnx"))
    manifest = replace(read_manifest(tmp_path / "bundle"), files={})
    shutil.rmtree(tmp_path / "bundle")
    write_bundle(tmp_path / "bundle", manifest, {"utility.onnx": tmp_path / "plain.onnx"})
    out = tmp_path / "out"
    out.mkdir()
    how = dict(label="target", methods=("gradient", "distance"), **QUICK)
    assert run(Request((world / "set",), out, str(tmp_path / "bundle"), **how)) == 0  # type: ignore[arg-type]
    assert "no check with shuffled weights: the model holds no kernel" in capsys.readouterr().err
    assert "shuffled" not in (out / "checks.csv").read_text()


def test_a_ct_is_obscured_by_an_imported_model(world: Path, bundle: Path, tmp_path: Path) -> None:
    """Without a U-Noise of its own by the first method that it can answer. What is hidden says nothing of the CT."""
    from unoise_engine.evaluate.obscure import obscure

    ct, model = read_image(world / "set" / "case-0-ct.nii.gz"), load_bundle(bundle, "cpu", label="target")
    found = obscure(ct, model, 0.3, 7, silent)
    same = found.ct.voxels == np.round(ct.voxels)
    assert found.by == METHODS[found.by].name in answerable(model) and found.by not in ("unoise", "unoise-near")
    assert found.visible == pytest.approx(0.3, abs=0.01) and 0.29 < same.mean() < 0.35 and found.ct.grid == ct.grid
    assert [abs(one.mean() - 0.3) < 0.05 for one in same] == [True] * len(same), "a share of every axial slice"
    assert obscure(ct, model, 0.3, 7, silent).ct.voxels.tobytes() == found.ct.voxels.tobytes()
    hidden = found.ct.voxels[~same].astype(float)
    assert hidden.mean() == pytest.approx(ct.voxels[same].mean(), abs=60) and hidden.std() > 30
    organ = segment(model, given_of(ct, model.recipe)).mask(1).voxels > 0
    assert same[organ].mean() > 0.9, "what matters most to the model stays"
    more = obscure(ct, model, 0.95, 7, silent)
    assert more.kept > 0.8 and more.kept >= found.kept
    other = ct.voxels.copy()
    other[~same & (ct.voxels < -900)] -= 20  # air that is hidden
    assert np.array_equal(obscure(ct.with_voxels(other), model, 0.3, 7, silent).ct.voxels, found.ct.voxels)


def test_the_command_obscures_by_a_label_of_an_imported_model(world: Path, bundle: Path, tmp_path: Path) -> None:
    ct, out = world / "set" / "case-0-ct.nii.gz", tmp_path / "out"
    line = [sys.executable, "-m", "unoise_engine", "obscure", str(ct), "-o", str(out), "--bundle", str(bundle)]
    wrong, done = (
        subprocess.run([*line, *more], capture_output=True, text=True) for more in ([], ["--label", "target"])
    )
    assert wrong.returncode == 2 and len(wrong.stderr.splitlines()) == 1 and "--label" in wrong.stderr
    assert done.returncode == 0 and "30.0% visible by Grad-CAM, dice kept" in done.stdout, done.stderr
    assert json.loads((out / "case-0001-obscured.json").read_text())["method"] == "gradcam"


def test_values_that_are_no_hu_are_obscured_as_they_are(world: Path, tmp_path: Path) -> None:
    """Small numbers, as some MR have them: nothing is rounded, nothing lies beyond what stays."""
    from unoise_engine.evaluate.obscure import obscure

    steps = (Step("normalise", (0.02, 0.1)),)
    bundle = load_bundle(write_caused(tmp_path, replace(RECIPES[2], steps=steps, modality="MR")), "cpu", label="target")
    ct = read_image(world / "set" / "case-0-ct.nii.gz")
    found = obscure(ct.with_voxels((ct.voxels / 1000).astype(np.float32)), bundle, 0.3, 0, silent)
    same = found.ct.voxels == (ct.voxels / 1000).astype(np.float32)
    assert same.mean() == pytest.approx(0.3, abs=0.01) and found.ct.voxels.dtype == np.float32
    stays, hidden = found.ct.voxels[same], found.ct.voxels[~same]
    assert stays.min() <= hidden.min() and hidden.max() <= stays.max() and len(np.unique(hidden)) > 1000
