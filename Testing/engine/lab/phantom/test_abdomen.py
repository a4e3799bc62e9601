"""Synthetic abdomens against anatomy, measured in millimetres on the labels alone."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import Usage
from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.lab.phantom.labels import LABELS

SEEDS = range(6)
SIZE, SLICES = 112, 36


@pytest.fixture(scope="module")
def phantoms() -> Any:
    return [synthesise(seed, size=SIZE, slices=SLICES) for seed in SEEDS]


def points(phantom: Any, name: Any) -> Any:
    """Voxels of one organ as (x, y, z) mm in the patient: left, posterior, superior."""
    grid = phantom.labels.grid
    at = np.argwhere(phantom.labels.voxels == LABELS[name])[:, ::-1]
    assert len(at) > 10, f"seed {phantom.seed}: no {name}"
    return at * grid.spacing_mm + grid.origin_mm


def gap_mm(a: Any, b: Any) -> Any:
    """Shortest distance between two clouds, thinned to keep it cheap."""
    a, b = a[:: max(1, len(a) // 1200)], b[:: max(1, len(b) // 1200)]
    return float(np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)).min())


def test_same_seed_same_bytes_and_other_seeds_differ() -> None:
    a, b, c = (synthesise(seed, size=64, slices=12) for seed in (5, 5, 6))
    assert a.ct.voxels.tobytes() == b.ct.voxels.tobytes()
    assert a.labels.voxels.tobytes() == b.labels.voxels.tobytes()
    assert a.ct.grid == b.ct.grid and a.phase == b.phase
    assert not np.array_equal(a.ct.voxels, c.ct.voxels)
    assert not np.array_equal(a.labels.voxels, c.labels.voxels)


def test_geometry_is_that_of_an_abdominal_scan(phantoms: Any) -> None:
    for phantom in phantoms:
        grid = phantom.ct.grid
        assert grid == phantom.labels.grid and grid.size == (SIZE, SIZE, SLICES)
        assert grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
        assert 330 <= grid.spacing_mm[0] * SIZE <= 440 and grid.spacing_mm[0] == grid.spacing_mm[1]
        thickness = grid.spacing_mm[2]
        assert 3.0 <= thickness <= 5.5
        assert phantom.ct.voxels.dtype == np.int16 and phantom.labels.voxels.dtype == np.uint8
        assert phantom.ct.voxels.min() >= -1024
        assert set(np.unique(phantom.labels.voxels)) <= {0, *LABELS.values()}


@pytest.mark.parametrize("slices", [8, 16, 80])
def test_any_number_of_slices_holds_the_whole_gland(slices: Any) -> None:
    for seed in (1, 2):
        gland = (synthesise(seed, size=64, slices=slices).labels.voxels == LABELS["pancreas"]).any((1, 2))
        assert gland.any() and not gland[0] and not gland[-1]


def test_the_pancreas_has_the_size_of_one_and_free_slices_around(phantoms: Any) -> None:
    volumes = []
    for phantom in phantoms:
        gland = phantom.labels.voxels == LABELS["pancreas"]
        with_gland = np.flatnonzero(gland.any((1, 2)))
        assert len(with_gland) > 8
        assert with_gland[0] >= 1 and with_gland[-1] <= SLICES - 2
        volumes.append(gland.sum() * phantom.labels.grid.voxel_ml)
    assert min(volumes) > 25 and max(volumes) < 150
    assert 55 < np.mean(volumes) < 110


def test_the_pancreas_lies_where_it_does_in_people(phantoms: Any) -> None:
    for phantom in phantoms:
        gland, aorta = points(phantom, "pancreas"), points(phantom, "aorta")
        midline = np.median(points(phantom, "vertebrae")[:, 0])
        head, tail = gland[gland[:, 0] < midline - 12], gland[gland[:, 0] > midline + 35]
        assert len(head) > 0.25 * len(gland) and len(tail) > 0.15 * len(gland), phantom.seed
        assert tail[:, 2].mean() > head[:, 2].mean() + 8  # the tail is higher
        assert gap_mm(head, points(phantom, "duodenum")) < 8
        assert gap_mm(gland, points(phantom, "portal_vein_and_splenic_vein")) < 6
        assert gap_mm(head, points(phantom, "superior_mesenteric_vein")) < 10
        assert gap_mm(tail, points(phantom, "spleen")) < 35
        middle = gland[np.abs(gland[:, 0] - midline) < 15]
        level = aorta[(aorta[:, 2] >= middle[:, 2].min()) & (aorta[:, 2] <= middle[:, 2].max())]
        assert np.percentile(middle[:, 1], 90) < level[:, 1].min() + 3  # in front of the aorta


def test_the_other_organs_are_on_their_side(phantoms: Any) -> None:
    for phantom in phantoms:
        midline = np.median(points(phantom, "vertebrae")[:, 0])
        for right in ("liver", "kidney_right", "inferior_vena_cava", "adrenal_gland_right", "iliopsoas_right"):
            assert points(phantom, right)[:, 0].mean() < midline, (phantom.seed, right)
        for left in ("spleen", "kidney_left", "stomach", "adrenal_gland_left", "iliopsoas_left"):
            assert points(phantom, left)[:, 0].mean() > midline, (phantom.seed, left)
        assert points(phantom, "stomach")[:, 1].mean() < points(phantom, "spleen")[:, 1].mean()
        litres = {n: len(points(phantom, n)) * phantom.ct.grid.voxel_ml / 1000 for n in ("liver", "spleen")}
        assert 0.5 < litres["liver"] < 3.2 and 0.05 < litres["spleen"] < 0.5


def test_every_organ_lies_inside_the_body(phantoms: Any) -> None:
    for phantom in phantoms:
        soft = phantom.ct.voxels > -300
        skin = np.logical_or.accumulate(soft, 1) & np.logical_or.accumulate(soft[:, ::-1], 1)[:, ::-1]
        organs = phantom.labels.voxels > 0
        assert organs.any()
        assert (organs & ~skin).sum() < 0.002 * organs.sum()


@pytest.mark.parametrize("bad", [{"size": 63}, {"slices": 7}, {"seed": -1}])
def test_bad_input_is_refused_in_a_sentence(bad: Any) -> None:
    with pytest.raises(Usage) as caught:
        synthesise(**{"seed": 0, "size": 64, "slices": 8, **bad})
    assert "\n" not in str(caught.value) and " - " in str(caught.value)
