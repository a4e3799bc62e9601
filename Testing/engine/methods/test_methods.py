"""Each method on models whose answer is known by hand."""

import numpy as np
import pytest

from unoise_engine.errors import Usage
from unoise_engine.methods import METHODS, choose
from unoise_engine.methods.occlusion import Occlusion
from unoise_engine.methods.protocol import silent


class Threshold:
    """Organ is what is brighter than 1; noise logits are the negative of the image; Grad-CAM echoes its target."""

    def predict(self, slices):
        return slices[:, :1] - 1

    def noise_logits(self, slices, logits):
        return -3 * slices[:, :1]

    def gradcam(self, slices, target):
        return 7 * target.astype(np.float32)


def square(n=48):
    """One organ of 16 x 16 at rows 16-31, columns 20-35."""
    image = np.zeros((1, n, n), np.float32)
    image[0, 16:32, 20:36] = 2
    return image


def run(method, slices):
    model, done = Threshold(), []
    maps = method(model, slices, model.predict(slices), done.append)
    assert maps.shape == (len(slices), *slices.shape[2:]) and np.isfinite(maps).all()
    assert sum(done) == pytest.approx(len(slices))  # one unit of progress a slice
    return maps


def test_unoise_is_minus_z():
    slices = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    assert np.allclose(run(METHODS["unoise"], slices), 3 * slices[:, 0])


def test_gradcam_targets_the_predicted_organ_and_keeps_quiet_without_one():
    slices = np.stack([square(), 0 * square()])
    maps = run(METHODS["gradcam"], slices)
    assert (maps[0] == np.where(square()[0] > 1, 7, 0)).all() and maps[0].max() == 7
    assert (maps[1] == 0).all()


def test_occlusion_by_hand():
    """Hiding k of the organ's 256 pixels leaves dice 2 (256 - k) / (512 - k)."""
    maps = run(Occlusion(patch=8, stride=4), square()[None])
    inside = 1 - 2 * (256 - 64) / (512 - 64)  # a patch wholly inside the organ
    half = 1 - 2 * (256 - 32) / (512 - 32)
    corners = {(16, 20): inside, (24, 28): inside, (12, 24): half, (16, 16): half, (4, 4): 0.0}
    for (row, column), want in corners.items():
        centre = maps[0, row + 3 : row + 5, column + 3 : column + 5].mean()  # between two pixels
        assert centre == pytest.approx(want, abs=0.02), (row, column)
    assert maps.max() == pytest.approx(inside, rel=0.1) and maps.min() >= 0
    assert (maps[0, :8] == 0).all()


def test_occlusion_is_zero_without_an_organ():
    assert (run(Occlusion(), np.zeros((2, 1, 32, 32), np.float32)) == 0).all()


def test_occlusion_at_stride_one_has_no_interpolation():
    """On a lattice of every pixel the map equals a plain loop."""
    image = square(40)
    model, organ = Threshold(), square(40)[0] > 1
    maps = run(Occlusion(patch=5, stride=1), image[None])
    for y, x in [(0, 0), (10, 30), (17, 22), (35, 35)]:
        hidden = image.copy()
        hidden[:, y : y + 5, x : x + 5] = 0
        seen = model.predict(hidden[None])[0, 0] > 0
        want = 1 - 2 * (seen & organ).sum() / (seen.sum() + organ.sum())
        assert maps[0, y + 2, x + 2] == pytest.approx(want, abs=1e-6)


def test_a_patch_larger_than_the_image():
    assert run(Occlusion(patch=99), square()[None]).max() == 1  # everything hidden, everything lost


@pytest.mark.parametrize("wrong", [{"patch": 0}, {"stride": 0}])
def test_wrong_settings(wrong):
    with pytest.raises(Usage, match=f"--{next(iter(wrong))}"):
        Occlusion(**wrong)


def test_choosing():
    assert list(choose(["gradcam", "unoise"], Occlusion())) == ["gradcam", "unoise"]
    with pytest.raises(Usage, match="--methods lime"):
        choose(["lime"], Occlusion())
    silent(1.0)
