"""Pairs, splits and prepared cases."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.training.world import ball, save, write_case
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.models.recipe import Recipe
from unoise_engine.training.cases import load_case
from unoise_engine.training.pairs import Pair, find_pairs, organ_numbers
from unoise_engine.training.recipes import Data
from unoise_engine.training.split import Split, split_cases

NAMES = [f"case-{k}" for k in range(20)]


def test_pairs_beside_each_other(world: Any) -> None:
    pairs = find_pairs(world)
    assert [p.case for p in pairs] == [f"case-{k:04d}" for k in range(5)]
    assert pairs[1].labels.name == "case-0001-labels.nii.gz"


def test_pairs_in_two_folders(tmp_path: Path) -> None:
    hu, labels = ball(0)
    save(hu, tmp_path / "imagesTr" / "p_1_0000.nii.gz")
    save(labels, tmp_path / "labelsTr" / "p_1.nii.gz")
    save(hu, tmp_path / "imagesTr" / "p_2.mha")
    save(labels, tmp_path / "labelsTr" / "p_2.nrrd")
    (tmp_path / "imagesTr" / "._p_2.mha").write_bytes(b"junk")  # as macOS archives leave it
    assert [(p.case, p.labels.name) for p in find_pairs(tmp_path)] == [("p_1", "p_1.nii.gz"), ("p_2", "p_2.nrrd")]


def test_no_pairs_and_half_pairs(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no CTs with labels"):
        find_pairs(tmp_path)
    with pytest.raises(Usage, match="no such folder"):
        find_pairs(tmp_path / "gone")
    save(ball(0)[0], tmp_path / "a-ct.nii.gz")
    with pytest.raises(CaseRefused, match=r"a-ct\.nii\.gz - no label file"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("labels.json", {"liver": 5, "pancreas": 7}),
        ("dataset.json", {"labels": {"0": "background", "7": "pancreas"}}),
        ("dataset.json", {"labels": {"background": 0, "pancreas": 7}}),
    ],
)
def test_the_organ_s_number_by_name(name: Any, table: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(table))
    assert organ_numbers(tmp_path, Data()) == (7,)
    assert organ_numbers(tmp_path, Data(labels=(1, 2))) == (1, 2)
    with pytest.raises(Usage, match="spleen"):
        organ_numbers(tmp_path, Data(organ="spleen"))


def test_no_number_for_the_organ(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"labels\.json"):
        organ_numbers(tmp_path, Data())


def test_the_split_is_whole_and_reproducible(tmp_path: Path) -> None:
    split = split_cases(NAMES, Data(val_share=0.2, test_share=0.1))
    assert (len(split.train), len(split.val), len(split.test)) == (14, 4, 2)
    assert sorted(split.train + split.val + split.test) == sorted(NAMES)
    assert split == split_cases(NAMES[::-1], Data(val_share=0.2, test_share=0.1))
    assert split != split_cases(NAMES, Data(val_share=0.2, test_share=0.1, split_seed=1))
    split.write(tmp_path)
    assert Split.read(tmp_path) == split


def test_a_patient_s_scans_stay_together() -> None:
    names = [f"p{k:02d}_{phase}" for k in range(10) for phase in ("arterial", "venous")]
    split = split_cases(names, Data(patient=r"^p\d+"))
    for part in (split.train, split.val, split.test):
        patients = [name[:3] for name in part]
        assert patients and all(patients.count(p) == 2 for p in patients)


@pytest.mark.parametrize(("n", "sizes"), [(2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1))])
def test_few_patients(n: Any, sizes: Any) -> None:
    split = split_cases(NAMES[:n], Data())
    assert (len(split.train), len(split.val), len(split.test)) == sizes


def test_one_patient_cannot_be_split() -> None:
    with pytest.raises(Usage, match="1 patient"):
        split_cases(["only"], Data())


def test_a_case_is_prepared_like_a_ct(tmp_path: Path) -> None:
    """At the recipe's own spacing nothing is resampled: values are the windowed HU, the mask is the label."""
    hu, labels = ball(3, size=40)
    write_case(tmp_path, "a", seed=3, size=40)
    case = load_case(find_pairs(tmp_path)[0], Recipe(multiple_of=4), (7,))
    assert case.image.shape == case.organ.shape == (6, 40, 40)
    assert np.array_equal(case.organ, labels == 7) and case.organ.any()
    windowed = np.clip((hu + 160.0) / 400, 0, 1)
    assert np.abs(case.image / 255 - windowed).max() <= 0.5 / 255 + 1e-6
    assert set(case.with_organ) | set(case.without_organ) == set(range(6))
    k = case.with_organ[0]
    assert np.allclose(case.centres[k], np.argwhere(case.organ[k]).mean(0))


def test_labels_follow_the_ct_to_another_spacing(tmp_path: Path) -> None:
    write_case(tmp_path, "a", seed=0, size=40)
    case = load_case(find_pairs(tmp_path)[0], Recipe(spacing_mm=1.0, multiple_of=4), (7,))
    assert case.organ.shape == (6, 80, 80)
    assert case.organ.sum() == pytest.approx(4 * (ball(0)[1] == 7).sum(), rel=0.05)
    bright = case.image > 255 * (100 + 160) / 400
    assert (bright & case.organ).sum() > 0.9 * case.organ.sum()


@pytest.mark.parametrize("order", ["RPI", "LAS", "ASL", "IPR"])
def test_labels_stored_in_another_order_of_axes(order: Any, tmp_path: Path) -> None:
    write_case(tmp_path, "a", seed=0)
    straight = load_case(find_pairs(tmp_path)[0], Recipe(multiple_of=4), (7,))
    path = tmp_path / "a-labels.nii.gz"
    turned = sitk.DICOMOrient(sitk.ReadImage(str(path)), order)
    assert sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(turned.GetDirection()) == order
    sitk.WriteImage(turned, str(path))
    case = load_case(find_pairs(tmp_path)[0], Recipe(multiple_of=4), (7,))
    assert straight.organ.any() and np.array_equal(case.organ, straight.organ)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("OTHER_GRID", {"origin_mm": (0.0, 3.0, 0.0)}),
        ("OTHER_GRID", {"spacing_mm": (2.0, 2.1, 5.0)}),
        ("OTHER_GRID", {"size": 44}),
        ("EMPTY_LABEL", {"only": 0}),
        ("NO_SUCH_LABEL", {"only": 3}),
    ],
)
def test_a_pair_that_cannot_be_used(code: Any, change: Any, tmp_path: Path) -> None:
    write_case(tmp_path, "a", seed=0)
    labels = ball(0, size=change.pop("size", 40))[1]
    only = change.pop("only", None)
    labels = labels if only is None else np.full_like(labels, only)
    save(labels, tmp_path / "a-labels.nii.gz", **change)
    pair = Pair("a", tmp_path / "a-ct.nii.gz", tmp_path / "a-labels.nii.gz")
    with pytest.raises(CaseRefused) as refusal:
        load_case(pair, Recipe(multiple_of=4), (7,))
    assert refusal.value.code == code
    assert "a-labels.nii.gz" in str(refusal.value) and "\n" not in str(refusal.value)
