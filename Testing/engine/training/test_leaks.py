"""No CT both teaches and judges, whatever it is called and however it got there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.training.test_fit import QUIET
from Testing.engine.training.world import save, unoise_recipe, utility_recipe, write_case, write_world
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.training.fit import train_unoise, train_utility
from unoise_engine.training.runs import UtilityRun


@pytest.fixture
def mine(tmp_path: Path) -> Any:
    return write_world(tmp_path / "mine")


def train(data: Any, out: Any, **told: Any) -> Any:
    """Two steps: what is refused is refused before the first."""
    recipe = utility_recipe(max_steps=2, round_steps=2)
    return train_utility(data, out, replace(recipe, data=replace(recipe.data, **told)), **QUIET)


def part_of(run: Any, case: Any) -> Any:
    split = UtilityRun.open(run).split
    return next(part for part in ("train", "val", "test") if case in getattr(split, part))


def plain_copy(source: Any, target: Any) -> None:
    shutil.copy(source, target)


def symlink(source: Any, target: Any) -> None:
    target.symlink_to(source)


def hard_link(source: Any, target: Any) -> None:
    target.hardlink_to(source)


def uncompressed(source: Any, target: Any) -> None:
    sitk.WriteImage(sitk.ReadImage(str(source)), str(target))


def as_float(source: Any, target: Any) -> None:
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(source)), sitk.sitkFloat32), str(target))


def other_axes(source: Any, target: Any) -> None:
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(source)), "RAS"), str(target))


def elsewhere(source: Any, target: Any) -> None:
    image = sitk.ReadImage(str(source))
    image.SetOrigin((5.0, -7.0, 30.0))
    sitk.WriteImage(image, str(target))


def some_slices(source: Any, target: Any) -> None:
    sitk.WriteImage(sitk.ReadImage(str(source))[:, :, 1:5], str(target))


COPIES = [
    (plain_copy, ".nii.gz"),
    (symlink, ".nii.gz"),
    (hard_link, ".nii.gz"),
    (uncompressed, ".mha"),
    (as_float, ".nii.gz"),
    (other_axes, ".nrrd"),
    (elsewhere, ".nii.gz"),
    (some_slices, ".nii.gz"),
]


@pytest.mark.parametrize(("how", "suffix"), COPIES)
def test_a_copy_under_another_name(mine: Any, tmp_path: Path, how: Any, suffix: Any) -> None:
    """Every case of a folder once more, in another folder: whatever part the copies fall to, one meets its original."""
    other = tmp_path / "other"
    other.mkdir()
    for k in range(5):
        for what in ("ct", "labels"):
            how(mine / f"case-{k:04d}-{what}.nii.gz", other / f"scan-{(k + 1) % 5}-{what}{suffix}")
    shutil.copy(mine / "labels.json", other)
    with pytest.raises(Usage, match=r"shows the same CT as .*leave one of them out") as told:
        train([mine, other], tmp_path / "run")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "run").exists()


def test_a_case_that_tests_is_looked_at_though_nobody_learns_from_it(mine: Any, tmp_path: Path) -> None:
    run = train(mine, tmp_path / "first")
    tests, teaches = UtilityRun.open(run).split.test[0], UtilityRun.open(run).split.train[0]
    shutil.copy(mine / f"{teaches}-ct.nii.gz", mine / f"{tests}-ct.nii.gz")
    with pytest.raises(Usage, match=f"case {tests} - tests and shows the same CT as {teaches}, which learns"):
        train(mine, tmp_path / "second")


def test_twice_in_one_part_is_said(mine: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(mine, tmp_path / "first")
    a, b, _ = UtilityRun.open(run).split.train
    for what in ("ct", "labels"):
        shutil.copy(mine / f"{a}-{what}.nii.gz", mine / f"{b}-{what}.nii.gz")
    train(mine, tmp_path / "second")
    assert "it counts double" in capsys.readouterr().err


def test_air_alone_is_no_copy(tmp_path: Path) -> None:
    """Slices without a body are the same in many CTs."""
    for k in range(5):
        write_case(tmp_path / "mine", f"case-{k}", seed=k)
        path = tmp_path / "mine" / f"case-{k}-ct.nii.gz"
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        voxels[0] = -1000
        save(voxels, path)
    (tmp_path / "mine" / "labels.json").write_text('{"pancreas": 7}')
    train(tmp_path / "mine", tmp_path / "run")


def test_a_noise_model_is_not_taught_what_tests_its_utility(world: Any, utility_run: Any, tmp_path: Path) -> None:
    tests = UtilityRun.open(utility_run).split.test[0]
    cts = tmp_path / "cts"
    cts.mkdir()
    recipe = unoise_recipe(max_steps=1, round_steps=1)
    recipe = replace(recipe, noise=replace(recipe.noise, targets="predictions"))
    for k in range(4):
        shutil.copy(world / f"{tests}-ct.nii.gz", cts / f"scan-{k}-ct.nii.gz")
    with pytest.raises(Usage, match=f"the same CT as {tests} of .*utility, which tests"):
        train_unoise(cts, utility_run, tmp_path / "noise", recipe, **QUIET)


def test_weights_that_learnt_a_ct_under_another_name(mine: Any, tmp_path: Path) -> None:
    run = train(mine, tmp_path / "first")
    teaches = UtilityRun.open(run).split.train[0]
    other = write_world(tmp_path / "other")
    for path in sorted(other.glob("case-*")):
        path.rename(other / path.name.replace("case", "scan"))
    second = train(other, tmp_path / "apart")
    judges = UtilityRun.open(second).split.val[0]
    for k in range(5):  # CTs that nobody knows, but one
        write_case(other, f"scan-{k:04d}", seed=200 + k)
    shutil.copy(mine / f"{teaches}-ct.nii.gz", other / f"{judges}-ct.nii.gz")
    shutil.copy(mine / f"{teaches}-labels.nii.gz", other / f"{judges}-labels.nii.gz")
    recipe = utility_recipe(max_steps=2, round_steps=2)
    with pytest.raises(Usage, match=f"case {judges} - validates and shows the same CT as {teaches} of .*first"):
        train_utility(other, tmp_path / "further", recipe, init=run, **QUIET)


def test_a_resumed_run_goes_on_with_the_cts_it_began_with(mine: Any, tmp_path: Path) -> None:
    run = train(mine, tmp_path / "run")
    (run / "finished.json").unlink()
    case = UtilityRun.open(run).split.train[0]
    write_case(mine, case, seed=77)
    recipe = utility_recipe(max_steps=2, round_steps=2)
    with pytest.raises(Usage, match=f"case {case} - is another CT than when"):
        train_utility(mine, run, recipe, resume=True, **QUIET)


def test_a_pattern_must_find_every_patient(mine: Any, tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"'\^p\\\\d\+' - finds nothing in the name 'case-0000'"):
        train(mine, tmp_path / "run", patient=r"^p\d+")
    with pytest.raises(Usage, match="finds nothing"):
        train(mine, tmp_path / "run", patient="x*")  # the empty text, everywhere
    with pytest.raises(Usage, match=r"5 cases - are of 1 patient \(case\) - correct the pattern"):
        train(mine, tmp_path / "run", patient="^[a-z]+")
    write_case(mine, "stranger", seed=9)
    with pytest.raises(Usage, match="finds nothing in the name 'stranger'"):
        train(mine, tmp_path / "run", patient=r"^case-\d+")
    train(mine, tmp_path / "run", patient=r"^case-\d+|^stranger")


def test_a_split_that_does_not_fit_its_folder(mine: Any, tmp_path: Path) -> None:
    def split(**parts: Any) -> None:
        names = {part: [f"case-000{k}" for k in numbers] for part, numbers in parts.items()}
        (mine / "split.json").write_text(json.dumps(names), "utf-8")

    split(train=[0, 1, 2], val=[3], test=[4, 5, 6])
    with pytest.raises(Usage, match="names 2 cases that the folder lacks, case-0005 first"):
        train(mine, tmp_path / "run")
    for parts in (
        dict(train=[0, 1, 2], val=[3], test=[4, 0]),
        dict(train=[0, 1, 2, 2], val=[3], test=[4]),
        dict(train=[0, 1, 2], val=[3, 4], test=[4]),
    ):
        split(**parts)
        with pytest.raises(Usage, match=r"split\.json - names case-000\d twice, in "):
            train(mine, tmp_path / "run")
    split(train=[0, 1], val=[2], test=[3, 4])
    assert part_of(train(mine, tmp_path / "run"), "case-0002") == "val"


def test_a_case_never_goes_silently(mine: Any, tmp_path: Path) -> None:
    (mine / "case-0007-ct.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    with pytest.raises(Usage, match=r"case-0007-ct\.nii\.gz - is a link to nothing"):
        train(mine, tmp_path / "run")
    (mine / "case-0007-ct.nii.gz").unlink()
    shutil.copy(mine / "case-0001-ct.nii.gz", mine / "case-0000-ct.nrrd")
    with pytest.raises(Usage, match="is of the same case as"):
        train(mine, tmp_path / "run")


@pytest.mark.parametrize(("value", "said"), [(6.4, "6.4.*interpolated"), (np.nan, "nan"), (np.inf, "inf")])
def test_labels_between_labels(mine: Any, tmp_path: Path, value: Any, said: Any) -> None:
    path = mine / "case-0000-labels.nii.gz"
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
    save(labels + np.float32(1e-6) * (labels > 0), path)  # whole, but for the rounding of a scale
    train(mine, tmp_path / "fine")
    labels[2, 20, 20] = value
    save(labels, path)
    with pytest.raises(CaseRefused, match=said) as told:
        train(mine, tmp_path / "run")
    assert told.value.code == "UNKNOWN_LABEL" and "case-0000-labels" in str(told.value)


@pytest.mark.parametrize("number", [0, -7])
def test_an_organ_s_number_begins_at_one(mine: Any, tmp_path: Path, number: Any) -> None:
    (mine / "labels.json").write_text(json.dumps({"pancreas": number, "body": 3}), "utf-8")
    with pytest.raises(Usage, match=f"number {number}, but labels begin at 1"):
        train(mine, tmp_path / "run")
    (mine / "labels.json").write_text(json.dumps({"pancreas": 7, "body": number}), "utf-8")
    with pytest.raises(Usage, match=f"number {number}, but labels begin at 1"):
        train(mine, tmp_path / "run", others=("body",))
