"""A folder of cases, read back along another path: SimpleITK itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from unoise_engine.errors import Environment, Usage
from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.lab.phantom.labels import LABELS
from unoise_engine.lab.phantom.write import case_seed, write_phantoms


def test_the_files_hold_the_phantoms_whatever_the_number_of_jobs(tmp_path: Path) -> None:
    one, two, seen = tmp_path / "one", tmp_path / "two", []
    files = write_phantoms(one, 3, seed=7, size=64, slices=10, progress=lambda *done: seen.append(done))
    write_phantoms(two, 2, seed=7, size=64, slices=10, jobs=2)

    assert [f.name for f in files] == [f"case-000{k}-ct.nii.gz" for k in range(3)]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert json.loads((one / "labels.json").read_text()) == LABELS and LABELS["pancreas"] == 7
    assert sorted(p.name for p in two.glob("[!.]*")) == [
        "case-0000-ct.nii.gz", "case-0000-labels.nii.gz", "case-0001-ct.nii.gz", "case-0001-labels.nii.gz",
        "labels.json",
    ]  # fmt: skip
    for k in range(2):
        phantom = synthesise(case_seed(7, k), size=64, slices=10)
        for what, volume in (("ct", phantom.ct), ("labels", phantom.labels)):
            a, b = (sitk.ReadImage(str(folder / f"case-000{k}-{what}.nii.gz")) for folder in (one, two))
            np.testing.assert_array_equal(sitk.GetArrayFromImage(a), volume.voxels)
            np.testing.assert_array_equal(sitk.GetArrayFromImage(a), sitk.GetArrayFromImage(b))
            np.testing.assert_allclose(a.GetSpacing(), volume.grid.spacing_mm, rtol=1e-5)
            np.testing.assert_allclose(a.GetOrigin(), volume.grid.origin_mm, rtol=1e-5)
            np.testing.assert_allclose(a.GetDirection(), volume.grid.direction, atol=1e-6)


def test_case_seeds_are_apart() -> None:
    seeds = {case_seed(s, k) for s in range(20) for k in range(20)}
    assert len(seeds) == 400 and min(seeds) >= 0


@pytest.mark.parametrize(
    "bad",
    [
        {"count": 0},
        {"count": 10**9},
        {"jobs": 0},
        {"size": 32},
        {"size": 10**9},
        {"slices": 4},
        {"slices": 10**6},
        {"seed": -1},
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(Usage):
        write_phantoms(tmp_path / "new", **{"count": 1, "size": 64, "slices": 8, **bad})
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Environment, match="file"):
        write_phantoms(tmp_path / "file" / "below", 1, size=64, slices=8)
