"""An image as other pipelines prepare it, and back: orientation, steps in their order, resampling."""

import numpy as np
import pytest

from Testing.engine.conftest import ellipsoid_ct
from unoise_engine.errors import Usage
from unoise_engine.models.given import voxels_of
from unoise_engine.models.preparation import STEPS, Preparation, Resampling, Step, Window
from unoise_engine.models.prepared import Prepared
from unoise_engine.models.spline import axis_apart, matrix, new_count, resampled
from unoise_engine.volume.volume import AxialView, Grid, Volume


def turned(axes: str) -> Volume:
    """A volume whose voxel axes x, y, z run in these directions; its values tell how far to the left (hundreds), to
    posterior (tens) and to the head (ones) a voxel lies."""
    lps = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    direction, values = np.zeros((3, 3)), np.zeros((9, 9, 9))
    for column, letter in enumerate(axes):
        patient, sign = lps[letter]
        direction[patient, column] = sign
        line = np.arange(9) if sign > 0 else np.arange(9)[::-1]
        shape = [1, 1, 1]
        shape[2 - column] = 9
        values = values + line.reshape(shape) * (100, 10, 1)[patient]
    grid = Grid((9, 9, 9), (4.0, 5.0, 6.0), (0.0, 0.0, 0.0), tuple(direction.ravel()))
    return Volume(values.astype(np.float32), grid)


@pytest.mark.parametrize("stored", ["LPS", "RAS", "PIR", "SLA", "AIL"])
@pytest.mark.parametrize("wanted", ["SPL", "SAR", "RAS", "ILP"])
def test_axes_run_where_they_are_wanted(stored: str, wanted: str) -> None:
    ct = turned(stored)
    given = Prepared.of(ct, Preparation(axes=wanted))
    steps = {"L": 100, "R": -100, "P": 10, "A": -10, "S": 1, "I": -1}
    for axis, letter in enumerate(wanted):
        assert (np.diff(given.image, axis=axis) == steps[letter]).all()
    assert given.restore(given.image).voxels == pytest.approx(ct.voxels)
    assert np.array_equal(given.resampled(AxialView.of(ct.grid).apply(ct.voxels)), given.image)


def test_the_file_s_own_axes() -> None:
    ct = turned("PIR")
    assert np.array_equal(Prepared.of(ct, Preparation(axes="kji")).image, ct.voxels)
    given = Prepared.of(ct, Preparation(axes="ijk"))
    assert np.array_equal(given.image, ct.voxels.transpose(2, 1, 0))
    assert given.turned.spacing_mm == (4.0, 5.0, 6.0)


def test_steps_in_their_order_by_hand() -> None:
    ct = turned("LPS")
    steps = (Step("clip", (100, 500)), Step("scale", (100, 500, -1, 1)), Step("normalise", (0.5, 2)))
    found = Prepared.of(ct, Preparation(steps=steps)).image
    assert np.allclose(found, ((np.clip(ct.voxels, 100, 500) - 100) / 400 * 2 - 1 - 0.5) / 2, atol=1e-5)
    image = Prepared.of(ct, Preparation(steps=(Step("normalise-image"),))).image
    assert abs(image.mean()) < 1e-4 and image.std() == pytest.approx(1, abs=1e-4)
    some = Prepared.of(ct, Preparation(steps=(Step("scale-percentiles", (10, 90, 0, 1)),))).image
    assert (some < 0).mean() == pytest.approx(0.1, abs=0.02) and (some > 1).mean() == pytest.approx(0.1, abs=0.02)


VALUES = {
    "clip": (100, 500), "normalise": (40, 25), "scale": (0, 400, -1, 1), "scale-image": (0, 3),
    "scale-percentiles": (10, 90, 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("do", [step for step in STEPS if step != "resample" and not step.startswith("crop")])
def test_how_much_of_the_image_one_of_the_model_s_units_is(do: str) -> None:
    """Told from two voxels that no step has clipped."""
    ct = turned("LPS")
    steps = (Step("clip", (50, 700)), Step(do, VALUES.get(do, ())), Step("normalise", (0, 4)))
    given = Prepared.of(ct, Preparation(steps=steps))
    (z, y, x), (c, b, a) = (0, 4, 2), (3, 5, 4)
    rise = (ct.voxels[c, b, a] - ct.voxels[z, y, x]) / (given.image[c, b, a] - given.image[z, y, x])
    assert given.per_unit == pytest.approx(rise, rel=1e-3) and given.per_unit > 0


def test_an_image_without_contrast_has_no_units() -> None:
    ct = Volume(np.full((4, 5, 6), 7.0), Grid((6, 5, 4), (2.0, 2.0, 2.0), (0, 0, 0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1)))
    assert Prepared.of(ct, Preparation(steps=(Step("normalise-image"),))).per_unit == 0


def test_a_hole_belongs_to_what_is_filled() -> None:
    voxels = np.zeros((9, 20, 20), np.float32)
    voxels[2:7, 4:16, 4:16] = np.random.default_rng(0).normal(50, 5, (5, 12, 12))
    voxels[4, 8, 8] = 0
    ct = Volume(voxels, Grid((20, 20, 9), (2.0, 2.0, 2.0), (0, 0, 0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1)))
    bare = Prepared.of(ct, Preparation(steps=(Step("normalise-nonzero"),))).image
    filled = Prepared.of(ct, Preparation(steps=(Step("normalise-filled"),))).image
    assert bare[4, 8, 8] == 0 and filled[4, 8, 8] < -5 and bare[0, 0, 0] == filled[0, 0, 0] == 0


def test_what_is_cut_off_comes_back_as_nothing() -> None:
    voxels = np.zeros((9, 20, 20), np.float32)
    voxels[2:7, 4:16, 5:15] = 1
    ct = Volume(voxels, Grid((20, 20, 9), (2.0, 2.0, 2.0), (0, 0, 0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1)))
    given = Prepared.of(ct, Preparation(steps=(Step("crop-nonzero"),)))
    assert given.shape == (5, 12, 10)
    mask = given.restore(np.ones(given.shape, np.float32), 7).voxels
    assert np.array_equal(mask, (voxels > 0) * np.uint8(7))
    assert Prepared.of(ct, Preparation(steps=(Step("crop-above", (0.5, 2)),))).shape == (9, 16, 14)
    empty = ct.with_voxels(np.zeros_like(voxels))
    assert Prepared.of(empty, Preparation(steps=(Step("crop-nonzero"),))).shape == (9, 20, 20)


@pytest.mark.parametrize("rule", ["edges", "first", "ends"])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_lines_are_resampled_as_scipy_does(rule: str, order: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    line = np.random.default_rng(1).normal(size=21)
    for count in (8, 21, 34, 60):
        step = 20 / (count - 1)
        found = matrix(21, count, step, rule, order) @ line
        if rule == "first":
            wanted = ndimage.map_coordinates(line, [np.arange(count) * step], order=order, mode="nearest")
        else:
            mode = {"mode": "nearest", "grid_mode": True} if rule == "edges" else {}
            wanted = ndimage.zoom(line, count / 21, order=order, **mode)
        assert np.allclose(found, wanted, atol=1e-5), (count, np.abs(found - wanted).max())


def test_the_coarsest_axis_is_resampled_apart() -> None:
    """nnU-Net's own rule, by hand: 3 times coarser, of the image first, and only if it is one axis."""
    how = Resampling(apart="auto")
    assert axis_apart(how, (5, 1, 1), (2, 1, 1)) == 0
    assert axis_apart(how, (3, 1, 1), (1, 1, 1)) is None
    assert axis_apart(how, (1, 1, 1), (1, 1, 3.5)) == 2
    assert axis_apart(how, (0.24, 1.25, 1.25), (1, 1, 1)) is None
    assert axis_apart(Resampling(), (9, 1, 1), (2, 1, 1)) is None
    image = np.random.default_rng(0).normal(size=(4, 10, 10)).astype(np.float32)
    found = resampled(image, (8, 10, 10), (6, 1, 1), (3, 1, 1), Resampling(order=3, apart="auto"), (3, 0))
    assert np.array_equal(found[::2], image) and np.array_equal(found[1::2], image)


def test_counts_of_voxels() -> None:
    assert new_count(40, 3.7, 1.5, "edges") == 99 and new_count(40, 3.7, 1.5, "first") == 97


@pytest.mark.parametrize(("mm", "moved"), [(1.97, True), (2.03, True), (2.0009, False), (2.0, False)])
def test_as_many_voxels_as_before_and_yet_elsewhere(mm: float, moved: bool) -> None:
    """MONAI's Spacing keeps the first voxel and moves the rest, but for spacings that are as good as the same."""
    image = np.arange(8, dtype=np.float32)[:, None, None].repeat(6, 1).repeat(6, 2)
    ct = Volume(image, Grid((6, 6, 8), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)))
    recipe = Preparation("kji", 3, (mm, mm, mm), (Step("resample"),), Resampling("first"))
    found = Prepared.of(ct, recipe).image
    assert found.shape == image.shape
    wanted = np.minimum(np.arange(8) * mm / 2, 7) if moved else np.arange(8)
    assert np.abs(found[:, 0, 0] - wanted).max() < 1e-5


def test_resampled_and_back() -> None:
    """A smooth image comes back, whichever way it was stored; slices asked for are the only ones filled."""
    ct = ellipsoid_ct(shape=(20, 40, 44), spacing_mm=(2.0, 2.0, 4.0))
    z, y, x = (np.linspace(0, 3, n) for n in ct.voxels.shape)
    smooth = (np.sin(z)[:, None, None] + np.cos(y)[None, :, None] + np.sin(2 * x)[None, None]).astype(np.float32)
    steps = (Step("resample"),)
    recipe = Preparation("SAR", 3, (3.0, 1.5, 1.5), steps, Resampling(order=3, back=3), Window((8, 16, 16)))
    given = Prepared.of(ct.with_voxels(smooth), recipe)
    assert given.slice_mm == 3.0 and given.pixel_mm == pytest.approx(1.5)
    assert abs(voxels_of(ct, recipe) / given.image.size - 1) < 0.05
    back = given.restore(given.image)
    assert np.abs(back.voxels - smooth)[2:-2, 2:-2, 2:-2].max() < 0.02
    assert np.array_equal(np.stack([*back.slices()]), AxialView.of(ct.grid).apply(back.voxels))
    some = Prepared.of(ct.with_voxels(smooth), recipe, 5, 12)
    mask = some.restore(np.ones(some.shape, np.float32), 2).voxels
    assert (mask[5:12] == 2).all() and not mask[:5].any() and not mask[12:].any()
    with pytest.raises(Usage, match="outside the CT's 20 axial slices"):
        Prepared.of(ct, recipe, 5, 25)
