"""G5: HU in doubt are mended and counted, or refused with a cure; one fault after the other planted in a good CT."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.volume.planted import SLICES, good_hu, metaimage, nifti, planes, stored, write
from unoise_engine.errors import CaseRefused
from unoise_engine.volume.hu import SAMPLE, _sample, check_hu


def series(tmp_path: Path, spoil: Any, which: Any = range(SLICES)) -> Any:
    slices = planes()
    for k in which:
        spoil(slices[k])
    return write(tmp_path / "ct", slices)


def shift_stored(one: Any, by: Any) -> None:
    one.dataset.PixelData = (stored(one).astype(int) + by).astype("<u2").tobytes()


def without_rescale(one: Any) -> None:
    del one.dataset.RescaleSlope, one.dataset.RescaleIntercept


def test_G5_no_rescale_is_refused(tmp_path: Path, read: Any) -> None:
    error = read.refusal(series(tmp_path, without_rescale))
    assert error.code == "HU_SUSPECT" and "no rescale" in str(error) and "--trust-hu" in str(error)


def test_G5_no_rescale_can_be_vouched_for(tmp_path: Path, read: Any) -> None:
    def signed(one: Any) -> None:
        without_rescale(one)
        one.dataset.PixelRepresentation, one.dataset.BitsStored, one.dataset.HighBit = 1, 16, 15
        one.dataset.PixelData = (stored(one).astype(int) - 1024).astype("<i2").tobytes()

    reading = read.one(series(tmp_path, signed), trust_hu=True)
    assert read.error_hu(reading) < 0.5 and "--trust-hu" in reading.notes[0]


def test_G5_each_slice_has_its_own_rescale(tmp_path: Path, read: Any) -> None:
    def other(one: Any) -> None:  # stored 24 higher, so its intercept is 24 lower
        shift_stored(one, 24)
        one.dataset.RescaleIntercept = -1048

    reading = read.one(series(tmp_path, other, [3, 4, 11]))
    assert read.error_hu(reading) < 0.5 and reading.ct.voxels.dtype == np.int16
    assert "3 slices have another rescale" in reading.notes[0]


def test_G5_a_slope_per_slice_is_read_in_float(tmp_path: Path, read: Any) -> None:
    def other(one: Any) -> None:
        one.dataset.PixelData = np.rint((stored(one) - 1024.0) / 0.5 + 2048).astype("<u2").tobytes()
        one.dataset.RescaleSlope, one.dataset.RescaleIntercept = 0.5, -1024
        one.dataset.BitsStored, one.dataset.HighBit = 13, 12

    reading = read.one(series(tmp_path, other, [5]))
    assert read.error_hu(reading) < 0.5


def test_G5_one_slice_with_a_wrong_intercept_is_refused_naming_it(tmp_path: Path, read: Any) -> None:
    error = read.refusal(series(tmp_path, lambda one: setattr(one.dataset, "RescaleIntercept", 0), [7]))
    assert error.code == "HU_SUSPECT" and "slice006.dcm and slice007.dcm" in str(error)


def test_G5_monochrome1_is_not_inverted(tmp_path: Path, read: Any) -> None:
    reading = read.one(series(tmp_path, lambda one: setattr(one.dataset, "PhotometricInterpretation", "MONOCHROME1")))
    assert read.error_hu(reading) < 0.5 and "MONOCHROME1" in reading.notes[0]


def test_G5_values_that_are_inverted_indeed_are_refused(tmp_path: Path, read: Any) -> None:
    def invert(one: Any) -> None:
        one.dataset.PixelData = (4095 - stored(one)).tobytes()

    assert read.refusal(series(tmp_path, invert)).code == "HU_SUSPECT"


@pytest.mark.parametrize(("signed", "value"), [(0, 0), (1, -2000)])
def test_G5_padding_becomes_air_and_is_counted(tmp_path: Path, read: Any, signed: Any, value: Any) -> None:
    def pad(one: Any) -> None:
        pixels = stored(one).astype(int)
        pixels[:2] = value
        ds = one.dataset
        ds.PixelRepresentation, ds.BitsStored, ds.HighBit = signed, 16, 15
        ds.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()
        ds.PixelPaddingValue = value
        ds["PixelPaddingValue"].VR = "SS" if signed else "US"

    reading = read.one(series(tmp_path, pad))
    assert (reading.ct.voxels[:, :2] == -1024).all() and reading.ct.voxels.dtype == np.int16
    assert f"{SLICES * 2 * 48} pixels marked as padding" in reading.notes[0]
    assert read.error_hu(reading) < 0.5


def test_G5_a_padding_range(tmp_path: Path, read: Any) -> None:
    def pad(one: Any) -> None:
        pixels = stored(one)
        pixels[0], pixels[1] = 5, 9
        one.dataset.PixelData, one.dataset.PixelPaddingValue = pixels.tobytes(), 5
        one.dataset.PixelPaddingRangeLimit = 9
        one.dataset["PixelPaddingValue"].VR = one.dataset["PixelPaddingRangeLimit"].VR = "US"

    reading = read.one(series(tmp_path, pad))
    assert (reading.ct.voxels[:, :2] == -1024).all()


def test_G5_a_padding_value_among_tissue_is_left_alone(tmp_path: Path, read: Any) -> None:
    def pad(one: Any) -> None:
        one.dataset.PixelPaddingValue = 1064  # 40 HU
        one.dataset["PixelPaddingValue"].VR = "US"

    reading = read.one(series(tmp_path, pad))
    assert read.error_hu(reading) < 0.5 and "among HU of tissue" in reading.notes[0]


def test_G5_undeclared_padding_is_filled_too(tmp_path: Path, read: Any) -> None:
    hu = good_hu()
    hu[:, :3] = -3024
    reading = read.one(nifti(tmp_path / "ct.nii.gz", hu))
    assert (reading.ct.voxels[:, :3] == -1024).all() and f"{SLICES * 3 * 48} voxels below -1500" in reading.notes[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_G5_nan_and_infinity_become_air_and_are_counted(tmp_path: Path, read: Any, value: Any, kind: Any) -> None:
    hu = good_hu().astype(kind)
    hu[2, 10, 10:15] = value
    reading = read.one(nifti(tmp_path / "ct.nii.gz", hu))
    assert reading.ct.voxels.dtype == np.int16 and (reading.ct.voxels[2, 10, 10:15] == -1024).all()
    assert reading.notes == ("5 voxels that are no number (NaN or infinite) were set to -1024 HU",)


def test_G5_a_metaimage_is_read_by_its_own_scale(tmp_path: Path, read: Any) -> None:
    """MetaIO's intensity function; ITK ignores it."""
    path = metaimage(
        tmp_path / "a.mha", ElementToIntensityFunctionSlope="0.875", ElementToIntensityFunctionOffset="-99"
    )
    np.testing.assert_array_equal(read.one(path).ct.voxels, good_hu() * 0.875 - 99)
    for wrong in ("0", "nan", "x"):
        assert read.refusal(metaimage(path, ElementToIntensityFunctionSlope=wrong)).code == "DAMAGED"


def test_G5_nothing_but_nan_or_one_value(tmp_path: Path, read: Any) -> None:
    assert read.refusal(nifti(tmp_path / "a.nii", np.full((9, 20, 20), np.nan, "f4"))).code == "NO_VOXELS"
    assert read.refusal(nifti(tmp_path / "b.nii", np.zeros((9, 20, 20), "i2"))).code == "CONSTANT"


FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "unsigned wrap": lambda hu: hu.astype("<u2").astype("f4"),
    "offset of 1024 missing": lambda hu: (hu.astype("i4") + 1024).astype("u2"),
    "offset missing, padding negative": lambda hu: np.where(_corners(hu), -1400, hu + 1024).astype("i2"),
    "offset taken twice": lambda hu: (hu - 1024).astype("i2"),
    "inverted": lambda hu: (1024 - hu.astype("i4") + 2047).astype("i2"),
    "8-bit picture": lambda hu: np.clip((hu + 160.0) / 400 * 255, 0, 255).astype("u1"),
    "scaled to 0..1": lambda hu: np.clip((hu + 160.0) / 400, 0, 1).astype("f4"),
    "ten times too large": lambda hu: hu.astype("f4") * 10,
    "labels": lambda hu: (hu > 60).astype("u1"),
}


def _corners(hu: Any) -> Any:
    y, x = np.mgrid[-1:1:40j, -1:1:48j]
    return np.broadcast_to(np.hypot(x, y) > 1.05, hu.shape)


@pytest.mark.parametrize("fault", FAULTS)
def test_G5_a_histogram_that_is_no_cts_is_refused(tmp_path: Path, read: Any, fault: Any) -> None:
    path = nifti(tmp_path / "ct.nii.gz", FAULTS[fault](good_hu()))
    error = read.refusal(path)
    assert error.code == "HU_SUSPECT" and "--trust-hu" in str(error)
    assert read.one(path, trust_hu=True).ct.voxels.shape == (SLICES, 40, 48)


PLAUSIBLE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "whole": lambda hu: hu,
    "windowed": lambda hu: np.clip(hu, -160, 240),
    "a crop of soft tissue": lambda hu: hu[:, 10:30, 10:38],
    "much air around": lambda hu: np.pad(hu, ((0, 0), (60, 60), (60, 60)), constant_values=-1000),
    "air of exactly -1024": lambda hu: np.where(hu < -900, -1024, hu),
    "dense with contrast": lambda hu: np.where(hu > 150, 900, hu),
    "noisy": lambda hu: hu + np.random.default_rng(0).normal(0, 60, hu.shape),
    "noise alone": lambda hu: np.random.default_rng(0).uniform(-1000, 1000, hu.shape),
}


@pytest.mark.parametrize("kind", PLAUSIBLE)
def test_G5_plausible_cts_pass(kind: Any) -> None:
    check_hu(PLAUSIBLE[kind](good_hu().astype(np.float32)), "ct")


def test_G21_an_empty_field_of_view(tmp_path: Path, read: Any) -> None:
    air = np.random.default_rng(0).normal(-1000, 15, (10, 40, 48)).astype(np.int16)
    assert read.refusal(nifti(tmp_path / "air.nii", air)).code == "EMPTY_FIELD"
    with pytest.raises(CaseRefused):
        check_hu(np.full((4, 4, 4), -1024, np.int16), "padding alone")


def test_of_a_large_ct_about_a_million_voxels_are_looked_at() -> None:
    large = np.broadcast_to(np.int16(40), (600, 512, 512))
    assert SAMPLE / 2 < len(_sample(large)) < 2 * SAMPLE
    assert len(_sample(large[:4, :50, :50])) == 4 * 50 * 50
