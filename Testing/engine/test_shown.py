"""What is shown of a map: one unit, one zero and words for both ends, by every method and for every kind of image."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from unoise_engine.explanation.hiding import tolerance
from unoise_engine.explanation.methods import METHODS
from unoise_engine.explanation.refine import RefinedUNoise
from unoise_engine.models.manifest import Manifest, read_manifest
from unoise_engine.models.preparation import Preparation, Step
from unoise_engine.results.dicom.font import GLYPHS
from unoise_engine.results.shown import Scale, shown
from unoise_engine.typed import build

OF_NOISE = ("unoise", "unoise-near", "unoise-refined")
HU = np.full((20, 20), 40.0)
MAP = np.linspace(-5, 5, 400, dtype=np.float32).reshape(HU.shape)


@pytest.fixture
def manifest(tiny_bundle: Any) -> Manifest:
    """Noise of 5 of its units at most, of which one is a quarter of 400 HU."""
    return read_manifest(tiny_bundle)


def foreign(manifest: Manifest, modality: str) -> Manifest:
    return replace(manifest, recipe=Preparation(steps=(Step("normalise-image"),), modality=modality))


@pytest.mark.parametrize("name", METHODS)
def test_larger_is_more_important_from_zero_up(name: str, manifest: Manifest) -> None:
    scale = Scale.of(METHODS[name], manifest)
    found = shown(scale, MAP, HU)
    assert found.values.min() >= 0 and (np.diff(found.values.ravel()) >= 0).all() and found.top > 0
    assert scale.top(float(MAP.max())) == pytest.approx(found.top)
    assert not shown(scale, 0 * MAP, HU).values.any()
    assert build(Scale, asdict(scale)) == scale
    coarse = Scale.of(METHODS[name], manifest, (16, 16), learnt=False)
    written = f"dark: {found.low} bright: {found.high} ({scale.unit}) {coarse.note} ({coarse.unit})"
    assert set(written.upper()) <= set(GLYPHS), "pictures of DICOM can write it"
    assert found.low and found.high and not {found.low, found.high} & {scale.unit, ""}


@pytest.mark.parametrize("name", OF_NOISE)
def test_noise_is_told_in_hu_by_every_method_that_learns_it(name: str, manifest: Manifest) -> None:
    found = shown(Scale.of(METHODS[name], manifest), MAP, HU)
    assert found.values == pytest.approx(500 - 500 * tolerance(MAP), abs=1e-3)
    assert (found.low, found.high) == ("bears the most noise: 500 HU", "bears the least: 3 HU")


@pytest.mark.parametrize("name", OF_NOISE)
@pytest.mark.parametrize(("modality", "unit"), [("CT", "HU"), ("MR", "MR units"), ("PT", "PT units")])
def test_noise_is_told_in_the_unit_of_the_image(name: str, modality: str, unit: str, manifest: Manifest) -> None:
    large, small = (Scale.of(METHODS[name], foreign(manifest, modality), per_unit=per) for per in (120.0, 0.02))
    assert large.unit == small.unit == unit
    assert large.ends(590) == (f"bears the most noise: 600 {unit}", f"bears the least: 10 {unit}")
    assert small.ends(0.0975) == (f"bears the most noise: 0.1 {unit}", f"bears the least: 0.0025 {unit}")
    unknown = Scale.of(METHODS[name], foreign(manifest, modality), per_unit=0.0)
    assert unknown.ends(0)[0] == "bears the most noise: 5 model units"


def test_noise_found_on_this_ct_counts_as_it_was_asked_for(manifest: Manifest) -> None:
    assert Scale.of(RefinedUNoise(sigma_max=2.0), manifest).ends(0)[0].endswith(" 200 HU")
    own = Scale.of(RefinedUNoise(sigma_max=2.0), manifest, learnt=False)
    assert own.ends(1.5) == ("bears the most noise: 2 SD", "bears the least: 0.5 SD") and own.note
