"""Rank correlation, and weights that are shuffled in the file's bytes."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from Testing.engine.evaluate.world import labelled_slices
from unoise_engine.evaluate.sanity import (
    BEYOND,
    EXPLAINER,
    STABILITY,
    UTILITY,
    Check,
    SameArea,
    check_maps,
    check_measures,
    spearman,
)
from unoise_engine.models.bundles import DEFAULT_BUNDLE, find_bundle, load_bundle
from unoise_engine.models.segmenter import GRADCAM, NOISE
from unoise_engine.models.shuffle import shuffle_kernels


def test_spearman_is_that_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    a = random.random((6, 5))
    assert spearman(a, np.exp(3 * a)) == pytest.approx(1)
    assert spearman(a, -(a**3)) == pytest.approx(-1)
    assert abs(spearman(random.random((80, 80)), random.random((80, 80)))) < 0.05
    assert np.isnan(spearman(a, np.zeros_like(a))) and np.isnan(spearman(a[:0], a[:0]))


def test_spearman_shares_ranks_among_equals() -> None:
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: by hand 4.5 / sqrt(4.5 * 5)."""
    assert spearman(np.array([0, 1, 1, 2.0]), np.array([3, 4, 5, 6.0])) == pytest.approx(4.5 / np.sqrt(22.5))


@pytest.mark.parametrize("name", ["utility", "unoise", "unoise-near"])
def test_kernels_are_shuffled_and_nothing_else(name: Any) -> None:
    content = (find_bundle(DEFAULT_BUNDLE) / f"{name}.onnx").read_bytes()
    before, after = (onnx.load_from_string(c) for c in (content, shuffle_kernels(content, 3)))
    onnx.checker.check_model(after)
    assert shuffle_kernels(content, 3) == shuffle_kernels(content, 3) != shuffle_kernels(content, 4)
    kernels = 0
    for a, b in zip(before.graph.initializer, after.graph.initializer):
        x, y = numpy_helper.to_array(a), numpy_helper.to_array(b)
        if x.ndim == 4 and x.size > 1 and x.dtype in (np.float16, np.float32):
            kernels += 1
            np.testing.assert_array_equal(np.sort(x.ravel()), np.sort(y.ravel()))
            assert (x != y).any()
        else:
            np.testing.assert_array_equal(x, y)
    # Two a level on the way down, two and the enlarging one on each way up, and the head.
    depth = load_bundle(find_bundle(DEFAULT_BUNDLE)).manifest.architecture[name]["depth"]
    assert kernels == 2 * depth + 3 * (depth - 1) + 1
    assert [n.SerializeToString() for n in before.graph.node] == [n.SerializeToString() for n in after.graph.node]


def test_a_shuffled_bundle_answers_otherwise_and_finds_the_area_it_is_told() -> None:
    bundle = load_bundle(DEFAULT_BUNDLE, "cpu", 1)
    image = np.random.default_rng(0).normal(0, 1, (1, 1, 32, 32)).astype(np.float32)
    shuffled = bundle.shuffled(("utility",), 1)
    assert abs(spearman(bundle.predict(image), shuffled.predict(image))) < 0.9
    logits = bundle.predict(image)
    np.testing.assert_array_equal(bundle.noise_logits(image, logits), shuffled.noise_logits(image, logits))
    assert (SameArea(shuffled, 40).predict(image) > 0).sum() == 40


def test_the_threshold_is_that_of_the_first_slice() -> None:
    class Echo:
        def predict(self, x: Any) -> Any:
            return x

        def occluded(self, image: Any, places: Any, patch: Any, fill: Any, region: Any = None) -> Any:
            return image[None]

        def replaced(self, image: Any, other: Any, changed: Any, region: Any) -> Any:
            return other

    x = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    echo: Any = Echo()
    model, places = SameArea(echo, 5), np.zeros((1, 2), int)
    assert np.array_equal(model.occluded(x[0], places, 1, 0.0), x[0:1])  # it was not asked what it finds
    assert np.array_equal(model.predict(x), x - 6) and np.array_equal(model.predict(x + 1), x - 5)
    assert np.array_equal(model.occluded(x[0], places, 1, 0.0), x - 6)
    assert np.array_equal(model.replaced(x[0], x[0] + 1, (), None), x[0] - 5)
    assert (SameArea(echo, 99).predict(x) == x).all()  # more than there are: all but the last
    assert (SameArea(echo, 0).predict(x) > 0).sum() == 0


def test_no_kernel_is_said() -> None:
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "none", [], [])
    with pytest.raises(ValueError, match="no kernel"):
        shuffle_kernels(onnx.helper.make_model(graph).SerializeToString(), 0)


class Recorder:
    """A method that keeps which model it was asked about, on which image and for which pixels."""

    def __init__(self, needs: Any) -> None:
        self.needs, self.asked = needs, []  # type: ignore[var-annotated]

    def __call__(self, model: Any, slices: Any, target: Any, advance: Any) -> Any:
        self.asked.append((model, slices[0], target.mask[0, 0]))
        return np.random.default_rng(len(self.asked)).random((1, *slices.shape[2:]))


@pytest.fixture(scope="module")
def checked() -> Any:
    bundle = load_bundle(DEFAULT_BUNDLE, "cpu", 1)
    (one,) = (replace(s, image=np.pad(s.image, ((0, 0), (4, 4), (4, 4))), organ=np.pad(s.organ, 4))
              for s in labelled_slices(patients=1, each=1))  # fmt: skip
    organ = np.zeros_like(one.organ)
    organ[3:9, 20:27] = True
    methods = {"occlusion": Recorder("prediction"), "gradcam": Recorder(GRADCAM), "unoise": Recorder(NOISE)}
    names = (*methods, "random", "edges", "distance", "somebody's")
    maps = {name: [np.random.default_rng(k).random(organ.shape)] for k, name in enumerate(names)}
    return bundle, one, organ, methods, check_maps(bundle, [one], [organ], maps, methods, [0], seed=4)  # type: ignore[arg-type]


def test_every_map_is_asked_what_can_tell_whether_it_was_learned(checked: Any) -> None:
    _, _, _, _, checks = checked
    asked: Any = {}
    for check in checks:
        asked.setdefault(check.method, []).append(check.name)
    assert asked == {
        "occlusion": [STABILITY, UTILITY],
        "gradcam": [STABILITY, UTILITY],
        "unoise": [STABILITY, EXPLAINER, BEYOND, UTILITY],
        "edges": [STABILITY],
        "distance": [STABILITY, UTILITY],
    }


def test_with_shuffled_weights_gradcam_is_asked_the_same_question_and_the_others_a_new_one(checked: Any) -> None:
    """Grad-CAM sums the scores of pixels that it is given; the others ask what the shuffled model finds."""
    _, _, organ, methods, _ = checked
    _, (model, _, mask) = methods["gradcam"].asked
    assert isinstance(model, SameArea) and np.array_equal(mask, organ)
    _, (model, _, mask) = methods["occlusion"].asked
    assert isinstance(model, SameArea) and mask.sum() == organ.sum() and not np.array_equal(mask, organ)


def test_the_noise_is_as_large_as_it_says(checked: Any) -> None:
    """10 HU: by hand, through the window and the spread of the model's own recipe."""
    bundle, one, _, methods, _ = checked
    _, noisy, _ = methods["occlusion"].asked[0]
    (low, high), std = bundle.recipe.window_hu, np.array(bundle.recipe.std)[:, None, None]
    hu = (noisy - one.image) * std * (high - low)
    assert hu.std() == pytest.approx(10, rel=0.1)


def test_checks_are_averaged_over_patients() -> None:
    slices = labelled_slices(patients=2, each=2)
    checks = [Check("unoise", STABILITY, s, value) for s, value in ((0, 0.2), (1, 0.4), (3, 0.9))]
    (measure,) = check_measures([*checks], slices, seed=0, resamples=10)
    assert (measure.method, measure.name) == ("unoise", STABILITY)
    assert measure.estimate.value == pytest.approx((0.3 + 0.9) / 2)
    silent = [Check("edges", STABILITY, 2, float("nan"))]
    (nothing,) = check_measures(silent, slices, seed=0, resamples=10)
    assert np.isnan(nothing.estimate.value)
