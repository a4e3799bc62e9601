"""Every kind of the table (Testing/benchmarks/hu_table.py): HU are read, what is none is refused, the rest is said."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.benchmarks.hu_table import KINDS, REFUSED, happens, whole
from Testing.engine.conftest import SHARED
from Testing.engine.volume.planted import good_hu, nifti
from unoise_engine.errors import CaseRefused
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.hu import _sample, check_hu, not_hu, words

REAL = [SHARED / "data" / name for name in ("ct-upper-abdomen-dicom", "ct-unenhanced/acrin-abdomen/ct.nii.gz")]


@lru_cache
def middle(path: Any) -> Any:
    """Six slices from the middle of a real CT."""
    if not path.exists():
        pytest.skip("needs the shared data")
    (case,) = find_cases([path])
    ct = case.read().ct
    half = len(ct.voxels) // 2
    return ct.voxels[half - 3 : half + 3].copy(), ct.grid.spacing_mm


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_each_kind_is_what_it_is_taken_for(tmp_path: Path, kind: Any) -> None:
    became, said = happens(kind.plant(tmp_path))
    assert became == kind.wanted, said


@pytest.mark.parametrize("path", REAL, ids=lambda p: p.parent.name)
@pytest.mark.parametrize("kind", [k for k in KINDS if k.values][::3], ids=lambda k: k.name)
def test_so_is_a_real_ct(tmp_path: Path, kind: Any, path: Any) -> None:
    became, said = happens(kind.plant(tmp_path, *middle(path)))
    assert became == kind.wanted, said


def test_the_user_may_vouch_for_any_of_them(tmp_path: Path, read: Any) -> None:
    for kind in (k for k in KINDS if k.values and k.wanted == REFUSED):
        assert read.one(kind.plant(tmp_path), trust_hu=True).ct.voxels.size


@pytest.mark.parametrize("kind", ["original", "derived"])
def test_a_header_is_judged_by_whole_words(kind: Any) -> None:
    innocent = ("AXIAL/CT_SOM5 SPI", "AXIAL/CT_SOM7 SPI DUAL", "VOLUME/NONE", "AXIAL/HELIX", "AXIAL/SKIP", "AXIAL/3D")
    assert not any(not_hu(f"{kind}/PRIMARY/{one}".upper(), "HU", "Abdomen SHRIMP") for one in innocent)
    assert not_hu(f"{kind}/PRIMARY/AXIAL/CT_SOM5 MIP".upper(), "HU", "")
    assert not_hu("", "mg/ml", "") == "a map of other values than HU (Rescale Type MG/ML)"
    assert "Meier" not in not_hu("", "Meier, Anna " * 9, ""), "free text is not repeated"
    assert words("MAX_IP thin") == {"MAX", "IP", "THIN", "MAXIP", "IPTHIN"}


def test_what_is_counted_is_a_share_of_all_voxels() -> None:
    """One voxel of metal, or one negative one, decides nothing."""
    metal, picture = good_hu(), np.clip(good_hu(), 0, None)
    metal[3, 3, 3] = 3071
    check_hu(metal, "a CT")
    picture[0, 0, 0] = -50
    with pytest.raises(CaseRefused, match="neither fat nor air"):
        check_hu(picture, "a picture")


def test_many_voxels_are_looked_at() -> None:
    for shape in ((200, 512, 512), (20, 40, 48), (1, 512, 512)):
        n = int(np.prod(shape))
        assert len(_sample(np.empty(shape, np.int16))) >= min(n, 1 << 20) / 4


@pytest.mark.parametrize("share", [0.01, 0.03])
def test_a_cut_is_said_from_a_fiftieth_on(tmp_path: Path, read: Any, share: Any) -> None:
    hu = good_hu().astype(float)
    hu[hu < -600] = -600 + np.random.default_rng(0).uniform(0, 300, (hu < -600).sum())  # no air: lung, say
    hu = np.maximum(hu, np.quantile(hu, share))
    reading = read.one(nifti(tmp_path / "ct.nii", whole(hu)), trust_hu=True)
    assert any("cut off" in note for note in reading.notes) == (share > 0.02)


def test_a_crop_of_bone_without_air_is_no_fault() -> None:
    """A fifth of it is bone: of all that is body, not of what is dense."""
    hu = good_hu()[:, 14:34, 14:34].astype(float)
    hu[:, :4] = np.random.default_rng(0).normal(750, 40, hu[:, :4].shape)
    assert np.mean(hu > 600) > 0.19 and hu.min() > -300
    check_hu(hu, "a crop")
