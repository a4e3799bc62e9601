"""The recipe and its inverse: values by hand, SimpleITK as the independent path for orientation."""

import itertools
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import ellipsoid_ct, image_of
from unoise_engine.errors import Usage
from unoise_engine.models import input as module
from unoise_engine.models.input import Input, resize_weights
from unoise_engine.models.recipe import Recipe
from unoise_engine.typed import build
from unoise_engine.volume.read import from_image
from unoise_engine.volume.volume import AxialView

ORIENTATIONS = [
    "".join(letters[axis][side] for axis, side in zip(order, sides))
    for order in itertools.permutations(range(3))
    for sides in itertools.product(range(2), repeat=3)
    for letters in [("RL", "AP", "IS")]
]


def test_window_by_hand() -> None:
    recipe = Recipe(window_hu=(-100, 100))
    got = recipe.window(np.array([-500, -100, 0, 50, 100, 3000, np.nan]))
    assert np.allclose(got, [0, 0, 0.5, 0.75, 1, 1, 0])


def test_normalise_repeats_channels() -> None:
    recipe = Recipe(channels=3, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.5))
    got = recipe.normalise(np.full((2, 4, 5), 0.5, np.float32))
    assert got.shape == (2, 3, 4, 5) and got.dtype == np.float32
    assert np.allclose(got[0, :, 0, 0], [0, 0.5, 0.4])


@pytest.mark.parametrize(
    "wrong",
    [{"window_hu": (1.0, 1.0)}, {"spacing_mm": 0.0}, {"channels": 2}, {"std": (0.0,)}, {"multiple_of": 0}],
)
def test_recipe_checks_itself(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_recipe_survives_json() -> None:
    recipe = Recipe(window_hu=(-1.5, 2.5), spacing_mm=1.25)
    assert build(Recipe, recipe.to_dict()) == recipe


def test_weights_keep_a_constant_and_a_slope() -> None:
    """A linear ramp, resampled, is the same ramp at the new pixel centres (away from the ends, where edges repeat)."""
    ramp = np.arange(100.0)
    for n_out, step in [(50, 2.0), (64, 1.5), (230, 0.4), (300, 0.33)]:
        weights = resize_weights(100, n_out, step)
        centres = (np.arange(n_out) - (n_out - 1) / 2) * step + 49.5
        inner = (centres > 4) & (centres < 95)
        assert inner.sum() > 20
        assert np.allclose((weights @ ramp)[inner], centres[inner], atol=0.02 * step)
        assert np.allclose(weights.sum(axis=1)[inner], 1, atol=1e-6)


def test_shrinking_averages() -> None:
    """Stripes of one pixel vanish into their mean instead of aliasing."""
    stripes = np.tile([0.0, 1.0], 100)
    shrunk = resize_weights(200, 50, 4.0) @ stripes
    assert np.abs(shrunk[2:-2] - 0.5).max() < 1e-6


def test_weights_by_hand() -> None:
    """Enlarging is linear between centres, shrinking a triangle as wide as the new pixel; the edges repeat for half a
    pixel, and beyond is nothing."""
    larger = resize_weights(2, 8, 0.4)
    assert np.allclose(larger[:, 0], [0, 1, 1, 0.7, 0.3, 0, 0, 0]) and np.allclose(
        larger[:, 1], [0, 0, 0, 0.3, 0.7, 1, 1, 0]
    )
    assert np.allclose(resize_weights(4, 2, 2.0), np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7)
    assert np.allclose(resize_weights(2, 1, 1.5), [[0.5, 0.5]])
    assert larger.dtype == np.float32
    almost = 10 * (1 + 5e-9)  # as spacings are that passed through float32
    assert np.allclose(resize_weights(100, 11, almost), resize_weights(100, 11, 10.0), atol=1e-6)
    assert (resize_weights(100, 11, almost)[[0, -1]].sum(axis=1) == 1).all()


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (3, 3), (5, 3), (0, 11), (10, 11)])
def test_slices_that_are_not_there(start: Any, stop: Any) -> None:
    with pytest.raises(Usage, match=f"--slices {start + 1}:{stop} - outside the CT's 10 axial slices - .* 1:10"):
        Input.of(ellipsoid_ct(), Recipe(), start, stop)
    assert len(Input.of(ellipsoid_ct(), Recipe(), 0, 10)) == len(Input.of(ellipsoid_ct(), Recipe())) == 10


@pytest.mark.parametrize(("mm", "wanted"), [(float(np.float32(0.8)), 40), (0.801, 41), (0.799, 40)])
def test_a_size_is_rounded_up_but_for_the_last_digits_of_a_header(mm: Any, wanted: Any) -> None:
    ct = ellipsoid_ct(shape=(2, 100, 100), spacing_mm=(mm, mm, 1.0))
    assert Input.of(ct, Recipe(spacing_mm=2.0, multiple_of=1)).shape == (2, wanted, wanted)
    assert Input.of(ct, Recipe(spacing_mm=2.0, multiple_of=16)).shape == (2, 48, 48)


def test_items_and_planes_of_slices_and_of_blocks() -> None:
    flat, deep = (Input.of(ellipsoid_ct(), Recipe(slice_mm=mm)) for mm in (0.0, 3.0))
    assert [*flat.steps()] == [slice(0, 8), slice(8, 10)] and flat.slice_mm == 4.0
    assert len(deep) == 1 and deep.shape[0] == 16 and [*deep.steps()] == [slice(0, 16)] and deep.slice_mm == 3.0
    assert [*Input.of(ellipsoid_ct(), Recipe(slice_mm=0.5)).steps()] == [slice(0, 80)], "deeper than wide"
    assert flat.items(slice(8, 10)).shape == (2, 1, *flat.shape[1:]) and deep.items(slice(0, 16)).shape == (
        1,
        1,
        *deep.shape,
    )
    assert [len(flat.items(slice(0, n))) for n in (8, 1, 3)] == [8, 1, 3], "whatever was asked for before"
    for given, shape in ((flat, (10, 1, *flat.shape[1:])), (deep, (1, 1, *deep.shape))):
        planes = np.arange(np.prod(given.shape)).reshape(given.shape)
        assert given.as_items(planes).shape == shape
        assert np.array_equal(given.as_planes(given.as_items(planes)), planes)


def test_blocks_are_the_slices_resampled_along_z_and_back() -> None:
    ct = ellipsoid_ct()
    flat, deep = (Input.of(ct, Recipe(slice_mm=mm), 1, 9) for mm in (0.0, 3.0))
    z = resize_weights(8, 16, 3.0 / 4.0)
    planes = deep.windowed()
    assert np.allclose(planes, np.tensordot(z, flat.windowed(), 1), atol=1e-6) and planes.max() > 0.5
    assert np.array_equal(deep.windowed(slice(4, 9)), planes[4:9])
    mask = ct.voxels[1:9] > 100
    wanted = np.tensordot(z, np.stack([flat.forth[0] @ m.astype(np.float32) @ flat.forth[1].T for m in mask]), 1)
    assert np.allclose(deep.resampled(mask), wanted, atol=1e-6) and wanted.max() > 0.5
    assert np.allclose(flat.resampled(mask)[4], flat.forth[0] @ mask[4].astype(np.float32) @ flat.forth[1].T)
    back = np.tensordot(resize_weights(16, 8, 4.0 / 3.0), planes, 1)
    wanted = np.stack([deep.back[1] @ one @ deep.back[2].T for one in back])
    found = deep.restore(planes).voxels
    assert np.allclose(found[1:9], wanted, atol=1e-6) and not found[[0, 9]].any() and wanted.max() > 0.5


def test_what_the_model_is_given_is_made_once_where_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    plain = Recipe.window

    def window(self: Recipe, hu: np.ndarray) -> np.ndarray:
        made.append(1)
        return plain(self, hu)

    monkeypatch.setattr(Recipe, "window", window)
    for room, times in ((4 * 10 * 64 * 48, 8), (4 * 10 * 64 * 48 - 1, 16)):
        monkeypatch.setattr(module, "IN_MEMORY_BYTES", room)
        given = Input.of(ellipsoid_ct(), Recipe())
        assert given.shape == (10, 64, 48)
        made.clear()
        first, second = (given.items(slice(0, 8)) for _ in range(2))
        assert np.array_equal(first, second) and len(made) == times


def test_padding_reads_air() -> None:
    ct = ellipsoid_ct()
    given = Input.of(ct, Recipe(multiple_of=64))
    windowed = given.windowed()
    assert given.shape[1:] == (64, 64)
    rows, columns = 40 * 2.5 / 2, 48 * 1.5 / 2
    empty = int((64 - columns) / 2) - 1
    assert (windowed[:, :, :empty] == 0).all() and (windowed[:, :, -empty:] == 0).all()
    assert rows < 64 and windowed.max() > 0.5


def test_restore_undoes_prepare() -> None:
    """Smooth content comes back where it was: the centre of the organ to a tenth of a pixel."""
    ct = ellipsoid_ct(shape=(6, 90, 100), spacing_mm=(0.8, 0.9, 3.0))
    smooth = sitk.GetArrayFromImage(
        sitk.DiscreteGaussian(sitk.GetImageFromArray(ct.voxels.astype(np.float32)), [4.0] * 3)
    )
    ct = ct.with_voxels(smooth)
    recipe = Recipe(spacing_mm=1.7)
    given = Input.of(ct, recipe)
    windowed = given.windowed()
    back, wanted = given.restore(windowed).voxels, recipe.window(ct.voxels)
    for axis in (1, 2):
        centre = [np.average(np.indices(v.shape)[axis], weights=np.maximum(v - 0.6, 0) + 1e-12) for v in (back, wanted)]
        assert abs(centre[0] - centre[1]) < 0.1
    assert np.abs(back - wanted)[:, 4:-4, 4:-4].mean() < 0.02


def test_restore_writes_only_the_slices_run() -> None:
    ct = ellipsoid_ct()
    given = Input.of(ct, Recipe(), 3, 7)
    windowed = given.windowed()
    back = given.restore(windowed + 1).voxels
    assert windowed.shape[0] == 4
    assert (back[3:7] != 0).any(axis=(1, 2)).all() and (back[:3] == 0).all() and (back[7:] == 0).all()


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_axial_view_is_what_simpleitk_orients(code: Any) -> None:
    reference = image_of(ellipsoid_ct())
    turned = sitk.DICOMOrient(reference, code)
    volume = from_image(turned)
    view = AxialView.of(volume.grid)
    axial = view.apply(volume.voxels)
    assert (axial == sitk.GetArrayFromImage(sitk.DICOMOrient(turned, "LPS"))).all()
    assert np.shares_memory(axial, volume.voxels)
    assert (view.undo(axial) == volume.voxels).all()
    assert np.allclose(view.spacing_mm, reference.GetSpacing()[::-1])


def test_oblique_goes_to_the_nearest_axes() -> None:
    turn = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.15, 0.3)
    volume = ellipsoid_ct()
    image = image_of(volume)
    image.SetDirection(turn.GetMatrix())
    view = AxialView.of(from_image(image).grid)
    assert (view.axes, view.flips) == ((0, 1, 2), (False, False, False))
