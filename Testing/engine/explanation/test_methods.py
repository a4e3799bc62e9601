"""Each method on models whose answer is known by hand."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import Usage
from unoise_engine.explanation.lattice import Lattice
from unoise_engine.explanation.method import longest_s, silent
from unoise_engine.explanation.methods import METHODS, answerable, check_answerable, choose, usual
from unoise_engine.explanation.occlusion import Occlusion, around
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import NEAR, NOISE, occluded_items


class Threshold:
    """Organ is what is brighter than 1; noise logits are the negative of the image; Grad-CAM echoes its target."""

    def predict(self, slices: Any) -> Any:
        return slices[:, :1] - 1

    def noise_logits(self, slices: Any, logits: Any = None) -> Any:
        return (-3 if logits is None else -5) * slices[:, :1]

    def occluded(self, image: Any, places: Any, patch: Any, fill: Any, region: Any = None) -> Any:
        return self.predict(occluded_items(image, places, patch, fill))

    def gradcam(self, slices: Any, target: Any) -> Any:
        assert all(one.any() for one in target), "an item without organ costs nothing"
        return 7 * target.astype(np.float32)


def square(n: Any = 48) -> Any:
    """One organ of 16 x 16 at rows 16-31, columns 20-35."""
    image = np.zeros((1, n, n), np.float32)
    image[0, 16:32, 20:36] = 2
    return image


def run(method: Any, slices: Any) -> Any:
    model, done = Threshold(), list[float]()
    maps = method(model, slices, Target(model.predict(slices)), done.append)
    assert maps.shape == (len(slices), *slices.shape[2:]) and np.isfinite(maps).all()
    assert sum(done) == pytest.approx(len(slices))  # one unit of progress a slice
    return maps


def test_unoise_is_minus_z() -> None:
    slices = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    assert np.allclose(run(METHODS["unoise"], slices), 3 * slices[:, 0])


def test_unoise_that_is_told_the_prediction_keeps_quiet_without_an_organ() -> None:
    slices = np.stack([square(), square() / 4, square()])
    maps = run(METHODS["unoise-near"], slices)
    assert np.allclose(maps[[0, 2]], 5 * slices[[0, 2], 0]) and (maps[1] == 0).all()


def test_gradcam_targets_the_predicted_organ_and_keeps_quiet_without_one() -> None:
    slices = np.stack([square(), 0 * square()])
    maps = run(METHODS["gradcam"], slices)
    assert (maps[0] == np.where(square()[0] > 1, 7, 0)).all() and maps[0].max() == 7
    assert (maps[1] == 0).all()


def test_occlusion_by_hand() -> None:
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


def test_occlusion_is_zero_without_an_organ() -> None:
    assert (run(Occlusion(), np.zeros((2, 1, 32, 32), np.float32)) == 0).all()


def test_occlusion_at_stride_one_has_no_interpolation() -> None:
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


def blob(n: Any = 96) -> Any:
    """A smooth hill: its importance varies everywhere near it and nowhere else."""
    y, x = np.mgrid[:n, :n]
    return (2.5 * np.exp(-((y - 40) ** 2 + (x - 57) ** 2) / 200)).astype(np.float32)[None] + 0.01


def test_adaptive_looks_where_it_varies_and_nowhere_else() -> None:
    """Against every second pixel: the same places hold the same values, few are measured, the error is small."""
    asked: list[tuple[int, int]] = []

    class Counting(Threshold):
        def occluded(self, image: Any, places: Any, patch: Any, fill: Any, region: Any = None) -> Any:
            asked.extend(map(tuple, places))
            return super().occluded(image, places, patch, fill, region)

    image, wanted = blob()[None], run(Occlusion(stride=2), blob()[None])
    model: Any = Counting()
    done: list[float] = []
    got = Occlusion()(model, image, Target(model.predict(image)), done.append)
    assert sum(done) == pytest.approx(1)
    assert len(set(asked)) == len(asked) < 0.35 * len(np.arange(0, 82, 2)) ** 2
    span = np.ptp(wanted)
    assert span > 0.2 and np.sqrt(((got - wanted) ** 2).mean()) < 0.02 * span
    for y, x in asked:
        assert got[0, y + 7, x + 7] == pytest.approx(wanted[0, y + 7, x + 7], abs=1e-6)


@pytest.mark.parametrize("shape", [(16, 16), (15, 48), (24, 17), (31, 64)])
def test_adaptive_on_slices_of_any_size(shape: Any) -> None:
    image = np.random.default_rng(0).normal(1, 1, (1, 1, *shape)).astype(np.float32)
    wanted = run(Occlusion(stride=2), image)
    got = run(Occlusion(), image)
    assert wanted.max() > 0.01 and abs(got - wanted).max() < 0.6 * np.ptp(wanted)


def test_a_patch_taken_for_organ_far_off_counts_in_the_exact_map_alone() -> None:
    class Fooled(Threshold):
        def occluded(self, image: Any, places: Any, patch: Any, fill: Any, region: Any = None) -> Any:
            seen = super().occluded(image, places, patch, fill)
            for one, (y, x) in zip(seen, places):
                one[:, y : y + patch, x : x + patch] = 9
            if region:
                outside = np.ones(image.shape[1:], bool)
                outside[region] = False
                seen[:, :, outside] = self.predict(image[None])[0, :, outside].T
            return seen

    image = np.maximum(square(128), 0.5)[None]
    image[0, 0, 0, 0] = 0.2  # air, so that all else is body
    model: Any = Fooled()
    exact, adaptive = (
        how(model, image, Target(model.predict(image)), silent)[0] for how in (Occlusion(stride=2), Occlusion())
    )
    assert exact[107, 107] == pytest.approx(1 - 2 * 256 / (256 + 256 + 225)) and adaptive[107, 107] == 0
    assert exact[40, 28] > 0.2 and adaptive[40, 28] == pytest.approx(exact[40, 28], abs=0.05)  # beside the organ


def test_a_patch_that_is_grey_already_is_not_tried() -> None:
    class Never(Threshold):
        def occluded(self, image: Any, places: Any, patch: Any, fill: Any, region: Any = None) -> Any:
            for y, x in places:
                assert (image[0, y : y + patch, x : x + patch] != fill).any()
            return super().occluded(image, places, patch, fill, region)

    image = square()[None]
    model: Any = Never()
    maps = Occlusion(patch=5, stride=3, fill=2.0)(model, image, Target(model.predict(image)), silent)
    assert maps.max() > 0 and maps[0, 24, 28] == 0


def test_a_patch_larger_than_the_image() -> None:
    assert run(Occlusion(patch=99), square()[None]).max() == 1  # everything hidden, everything lost
    assert run(Occlusion(patch=99, fill=1.0), square()[None]).max() == 1  # scores of 0 are no organ


def test_progress_never_runs_back() -> None:
    for method in (Occlusion(), Occlusion(patch=8, stride=4)):
        done: list[float] = []
        model: Any = Threshold()
        method(model, square(64)[None], Target(square(64)[None] - 1), done.append)
        assert min(done) >= 0 and max(done) < 0.6


def test_only_patches_that_change_something_of_the_body_are_tried() -> None:
    """Against a look at each patch: it meets the box around what is no air, and has a pixel that is not grey."""
    image = np.full((2, 24, 30), -1, np.float32)
    image[1, 7:18, 9:22] = np.random.default_rng(0).integers(0, 2, (11, 13))
    image[:, 9:16, 12:20] = 0  # grey already
    image[1, 9:16, 12:20] = 0
    lattice = Lattice.every(1, image.shape[1:], 4)
    wanted = np.zeros(lattice.shape, bool)
    for y in lattice.lines[0]:
        for x in lattice.lines[1]:
            beside = y + 3 < 7 or y > 17 or x + 3 < 9 or x > 21
            wanted[y, x] = not beside and (image[:, y : y + 4, x : x + 4] != 0).any()
    assert 100 < wanted.sum() < wanted.size - 100
    assert np.array_equal(Occlusion(patch=4).tried(image, lattice), wanted)
    flat = np.full((1, 24, 30), 5, np.float32)
    assert Occlusion(patch=4).tried(flat, lattice).all(), "nothing is air where all is alike"


def test_the_region_is_the_organ_and_a_margin() -> None:
    organ = np.zeros((64, 30), bool)
    organ[20:24, 3:9] = True
    assert around(organ) == (slice(4, 40), slice(0, 25))
    organ[60, 20] = True
    assert around(organ) == (slice(4, 64), slice(0, 30))


def test_what_is_said_of_a_map_and_how_many_patches_it_takes() -> None:
    assert Occlusion(stride=3).kind == "exact, every 3 pixels" and "RMS error up to 2%" in Occlusion().kind
    assert [Occlusion(patch=side).coarse for side in (1, 2, 3, 6, 7, 14, 15, 40)] == [2, 2, 4, 4, 8, 8, 16, 16]
    assert Occlusion(stride=2).places(10, 21) == 50 and Occlusion().places(16, 33) == 2 * 4


def test_how_long_a_map_takes_at_most() -> None:
    """50 patches of half a second an item; what has a limit takes no longer than that."""
    exact, limited = Occlusion(stride=2), Occlusion(minutes=0.5)
    assert longest_s(exact, (10, 21), 0.5) == 25 and longest_s(exact, (10, 21), 0.5, 3) == 75
    assert longest_s(limited, (400, 400), 0.5) == 30 and longest_s(limited, (16, 33), 0.5, 3) == 8 * 0.5 * 3
    assert longest_s(METHODS["gradcam"], (10, 21), 0.5) is None


@pytest.mark.parametrize("wrong", [{"patch": 0}, {"stride": -1}])
def test_wrong_settings(wrong: Any) -> None:
    with pytest.raises(Usage, match=f"--{next(iter(wrong))}"):
        Occlusion(**wrong)


def test_choosing() -> None:
    assert list(choose(["gradcam", "unoise"])) == ["gradcam", "unoise"]
    with pytest.raises(Usage, match="--methods lime"):
        choose(["lime"])
    silent(1.0)


def test_a_model_is_asked_nothing_that_it_cannot_answer() -> None:
    class Dumb:
        answers = frozenset({"gradcam"})

    dumb: Any = Dumb()
    assert answerable(dumb) == ("gradcam", "occlusion") and answerable(dumb, ["unoise"]) == ()
    check_answerable(dumb, choose(["occlusion", "gradcam"]).values())
    with pytest.raises(Usage, match=r"--methods unoise - .*\(noise\) - choose from gradcam, occlusion"):
        check_answerable(dumb, choose(["gradcam", "unoise"]).values())


def test_a_net_that_is_told_the_prediction_is_a_method_of_its_own_and_the_one_that_counts() -> None:
    class Knows:
        answers = frozenset[str]()

    model: Any = Knows()
    for answers, shown in (({NOISE}, "unoise"), ({NEAR}, "unoise-near"), ({NOISE, NEAR}, "unoise-near")):
        model.answers = frozenset(answers)
        assert usual(answerable(model)) == (shown,)
    assert METHODS["unoise"].title != METHODS["unoise-near"].title
