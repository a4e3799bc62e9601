"""Models of several labels, window by window: each answer against brute force."""

import tracemalloc
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import ellipsoid_ct
from Testing.engine.models.foreign_net import write_foreign
from unoise_engine.errors import Usage
from unoise_engine.explanation.gradcam import GradCAM
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.segment import segment
from unoise_engine.explanation.target import Target
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.enlarge import enlarged
from unoise_engine.models.labels import Channels
from unoise_engine.models.preparation import Preparation, Resampling, Step, Window
from unoise_engine.models.prepared import Prepared
from unoise_engine.models.windowed import Windowed
from unoise_engine.models.windows import Tiling, stitched

WINDOW = Window((8, 10, 12), 0.5, "nnunet", "gaussian-nnunet")
CASES = {
    "softmax": (Preparation(window=WINDOW), "softmax", {}),
    "sigmoid": (Preparation(window=WINDOW), "sigmoid", {}),
    "whole window": (Preparation(window=WINDOW), "softmax", {"whole_window": True}),
    "margin": (Preparation(window=Window((8, 10, 12), 1.0, "nnunet", margin=(1, 1, 1))), "softmax", {}),
    "planes": (Preparation(rank=2, window=Window((10, 12), 0.5, "nnunet", "gaussian-nnunet")), "softmax", {}),
    "whole image": (Preparation(), "softmax", {}),
}


@pytest.fixture(scope="module", params=CASES)
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Windowed:
    recipe, outputs, net = CASES[request.param]
    folder = write_foreign(tmp_path_factory.mktemp("foreign"), recipe, outputs, **net)
    opened = load_bundle(folder, "cpu", label="two")
    assert isinstance(opened, Windowed)
    return opened


def item(model: Windowed, seed: int = 0) -> np.ndarray:
    size = (13, 17, 20)[3 - model.recipe.rank :]
    return np.random.default_rng(seed).normal(size=(1, *size)).astype(np.float32)


def test_patches_hidden_are_as_if_the_whole_item_were_seen_anew(model: Windowed) -> None:
    image = item(model)
    rank = model.recipe.rank
    places = np.array([[0] * rank, [5] * rank, [9] * rank])
    hidden = np.repeat(image[None], 3, axis=0)
    for one, place in zip(hidden, places):
        one[(slice(None), *(slice(k, k + 4) for k in place))] = 2.5
    assert np.allclose(model.occluded(image, places, 4, 2.5), model.predict(hidden), atol=1e-4)
    region = tuple(slice(3, 9) for _ in range(rank))
    found, wanted = model.occluded(image, places, 4, 2.5, region), np.repeat(model.predict(image[None]), 3, axis=0)
    wanted[(slice(None), slice(None), *region)] = model.predict(hidden)[(slice(None), slice(None), *region)]
    assert np.allclose(found, wanted, atol=1e-4)
    other = item(model, 1)  # what is kept of the last item is not taken for another's
    assert np.allclose(model.occluded(other, places[:1], 4, 0.0), model.predict(_hide(other, 4)), atol=1e-4)
    model.forget()


def _hide(image: np.ndarray, side: int) -> np.ndarray:
    found = image.copy()
    found[(slice(None), *[slice(0, side)] * (image.ndim - 1))] = 0
    return found[None]


def test_the_gradient_by_finite_differences(model: Windowed) -> None:
    """Of the windows' margins, averaged by their weights: that score is computed here by itself."""
    image = item(model).astype(np.float64)
    chance = np.random.default_rng(2)
    target = (chance.random((1, *image.shape[1:])) > 0.7).astype(np.float32)

    def score(values: np.ndarray) -> float:
        tiling = model._tiling(values)
        padded, shares = tiling.pad(values.astype(np.float32)), tiling.embed(target)
        tiling.average(shares)
        total = 0.0
        for box in tiling.boxes():
            margin = model.channels.margin(model.logits(tiling.given(padded, box))[0])
            asked = shares[(slice(None), *box)] * tiling.weights
            total += float((asked.astype(np.float64) * margin).sum())
        return total

    gradient = model.gradient(image[None].astype(np.float32), target[None])[0]
    assert gradient.shape == image.shape
    size = float(np.linalg.norm(gradient))
    for step in (gradient / size, *chance.normal(size=(3, *image.shape)) / np.sqrt(image.size)):
        step = step.astype(np.float64)
        wanted = (score(image + 1e-2 * step) - score(image - 1e-2 * step)) / 2e-2
        assert float((gradient * step).sum()) == pytest.approx(wanted, abs=2e-3 * size)
    nothing = model.gradient(image[None].astype(np.float32), np.zeros((1, *target.shape), np.float32))
    assert not nothing.any()


def test_grad_cam_of_a_large_block_takes_few_copies_of_it(tmp_path: Path) -> None:
    """The item, the prediction and the map are there; beside them the sums, what is asked about, and windows."""
    model = load_bundle(write_foreign(tmp_path, CASES["softmax"][0]), "cpu", label="one")
    x = np.random.default_rng(3).normal(size=(1, 1, 60, 90, 100)).astype(np.float32)
    target = Target(model.predict(x))
    model.gradcam(x[:, :, :8, :10, :8], target.mask[:, :, :8, :10, :8])  # opens the model
    tracemalloc.start()
    try:
        found = GradCAM()(model, x, target, silent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == (1, *x.shape[2:]) and found.any()
    assert peak < 2.5 * x.nbytes


def test_a_label_is_where_its_channel_is_largest(model: Windowed) -> None:
    """One window: no stitching, so the answer can be compared channel by channel."""
    sides = model.recipe.window.size or (8,) * model.recipe.rank
    image = np.random.default_rng(3).normal(size=(1, *sides)).astype(np.float32)
    if model.recipe.window.margin:
        pytest.skip("its answers are smaller than its windows")
    logits = model.logits(image[None])[0]
    found = model.predict(image[None])[0, 0] > 0
    channel = 2 if model.channels.exclusive else 1
    wanted = logits.argmax(axis=0) == channel if model.channels.exclusive else logits[channel] > 0
    assert found.any() and np.array_equal(found, wanted)


def test_labels_are_chosen_by_name(tmp_path: Path) -> None:
    folder = write_foreign(tmp_path, CASES["softmax"][0])
    with pytest.raises(Usage, match=r"--label - is missing: the model knows 3 labels - choose from one, two, three"):
        load_bundle(folder, "cpu")
    with pytest.raises(Usage, match=r"--label spleen - is no label of this model - choose from one"):
        load_bundle(folder, "cpu", label="one,spleen")
    image = np.random.default_rng(3).normal(size=(1, 1, 8, 10, 12)).astype(np.float32)
    each = {k: load_bundle(folder, "cpu", label=k).predict(image) > 0 for k in ("one", "two", "three")}
    both = load_bundle(folder, "cpu", label="one, three")
    assert both.manifest.organ == "one+three" and both.manifest.number == 1
    assert np.array_equal(both.predict(image) > 0, each["one"] | each["three"])
    assert not (each["one"] & each["two"]).any()


def test_the_margin_and_its_cotangent_by_hand() -> None:
    logits = np.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
    exclusive, union = Channels(4, (1,), True), Channels(4, (1, 3), True)
    assert exclusive.margin(logits[0]) == 1.0 and union.margin(logits[0]) == 2.0
    assert exclusive.cotangent(logits, np.full((1, 1, 1), 5.0)).ravel().tolist() == [0, 5, 0, -5]
    assert union.cotangent(logits, np.full((1, 1, 1), 5.0)).ravel().tolist() == [0, 5, -5, 0]
    region = Channels(4, (2,), False)
    assert region.margin(logits[0]) == 1.0
    assert region.cotangent(logits, np.ones((1, 1, 1))).ravel().tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("back_as", ["logits", "probabilities"])
@pytest.mark.parametrize("rank", [2, 3])
def test_a_mask_is_decided_after_every_channel_was_brought_back(rank: int, back_as: str, tmp_path: Path) -> None:
    """Against each channel stitched and brought back by itself; the margin alone, interpolated, is not the same."""
    mm = (0.0, 3.0, 3.0) if rank == 2 else (4.0, 3.0, 3.0)
    how = Resampling(order=3, back_as=back_as)
    window = Window((6, 8, 8)[3 - rank :], 0.5, "nnunet", "gaussian-nnunet")
    recipe = Preparation("SAR", rank, mm, (Step("normalise", (0, 50)), Step("resample")), how, window)
    folder = write_foreign(tmp_path, recipe)
    ct = ellipsoid_ct(shape=(12, 40, 44))
    model = load_bundle(folder, "cpu", label="two")
    assert isinstance(model, Windowed)
    given = Prepared.of(ct, recipe)
    found = segment(model, given)
    mask = found.mask(7).voxels
    channels = []
    for k in range(4):
        planes = np.zeros(given.shape, np.float32)
        for some in given.steps():
            x = given.items(some)
            tilings = [Tiling(recipe.window, one.shape[1:]) for one in x]
            parts = [stitched(t, one, model.logits, itemgetter(slice(k, k + 1))) for t, one in zip(tilings, x)]
            planes[some] = given.as_planes(np.stack(parts))
        channels.append(planes)
    if back_as == "probabilities":
        powers = np.exp(np.array(channels, np.float64) - np.max(channels, axis=0))
        channels = [*(powers / powers.sum(axis=0)).astype(np.float32)]
    wanted = np.argmax([given.backward(one, 0.0) for one in channels], axis=0) == 2
    assert 0.02 < wanted.mean() < 0.9 and ((mask == 7) == wanted).mean() > 0.9995
    assert ((given.restore(found.scores, 7).voxels == 7) == wanted).mean() < 0.9995


def test_one_question_of_two_channels_keeps_nothing(tmp_path: Path) -> None:
    recipe = Preparation("SAR", 3, (4.0, 3.0, 3.0), (Step("resample"),), Resampling(), Window((6, 8, 8)))
    model = load_bundle(write_foreign(tmp_path, recipe, count=2), "cpu")
    assert segment(model, Prepared.of(ellipsoid_ct(shape=(12, 40, 44)), recipe)).kept is None


def test_what_was_cut_off_has_no_label(tmp_path: Path) -> None:
    """Nor does the way back put one there: all around the box that the model saw is background."""
    steps = (Step("crop-nonzero"), Step("normalise", (0, 50)), Step("resample"))
    recipe = Preparation("SAR", 3, (4.0, 3.0, 3.0), steps, Resampling(), Window((6, 8, 8), 0.5))
    ct = ellipsoid_ct(shape=(12, 40, 44))
    voxels = np.zeros_like(ct.voxels)
    box = (slice(2, 10), slice(8, 30), slice(10, 36))
    voxels[box] = np.random.default_rng(0).normal(60, 30, voxels[box].shape)
    found = segment(
        load_bundle(write_foreign(tmp_path, recipe), "cpu", label="two"), Prepared.of(ct.with_voxels(voxels), recipe)
    )
    mask = found.mask(7).voxels == 7
    assert found.kept is not None and mask[box].any()
    mask[box] = False
    assert not mask.any()


def test_grad_cam_is_the_mean_of_the_windows_by_their_weights(model: Windowed) -> None:
    if "gradcam" not in model.answers:
        pytest.skip("its graph has no coarse layer")
    image = item(model)
    asked = np.ones_like(image)
    tiling = model._tiling(image)
    padded, target = tiling.pad(image), tiling.embed(asked)
    total, weight = np.zeros((2, 1, *tiling.padded))
    for box in tiling.boxes():
        feeds = model._feeds(tiling.given(padded, box), target[(slice(None), *box)])
        coarse = model._run("gradcam", feeds, ["gradcam"])[0]
        whole = enlarged(coarse, tuple(n + 2 * m for n, m in zip(tiling.core, tiling.margin)))
        inside = tuple(slice(m, n - m) for m, n in zip(tiling.margin, whole.shape[2:]))
        total[(slice(None), *box)] += whole[0][(slice(None), *inside)] * tiling.weights
        weight[(slice(None), *box)] += tiling.weights
    wanted = tiling.unpad(total / weight)
    assert wanted.max() > 0
    np.testing.assert_allclose(model.gradcam(image[None], asked[None])[0], wanted, rtol=1e-3, atol=1e-5 * wanted.max())
