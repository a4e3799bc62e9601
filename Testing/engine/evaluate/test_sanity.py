"""Rank correlation, and weights that are shuffled in the file's bytes."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from unoise_engine.evaluate.sanity import SameArea, spearman
from unoise_engine.models.session import DEFAULT_BUNDLE, find_bundle, load_bundle
from unoise_engine.models.shuffle import shuffle_kernels


def test_spearman_is_that_of_pairs_in_order():
    random = np.random.default_rng(0)
    a = random.random((6, 5))
    assert spearman(a, np.exp(3 * a)) == pytest.approx(1)
    assert spearman(a, -(a**3)) == pytest.approx(-1)
    assert abs(spearman(random.random((80, 80)), random.random((80, 80)))) < 0.05
    assert np.isnan(spearman(a, np.zeros_like(a)))


def test_spearman_shares_ranks_among_equals():
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: by hand 4.5 / sqrt(4.5 * 5)."""
    assert spearman(np.array([0, 1, 1, 2.0]), np.array([3, 4, 5, 6.0])) == pytest.approx(4.5 / np.sqrt(22.5))


@pytest.mark.parametrize("name", ["utility", "unoise"])
def test_kernels_are_shuffled_and_nothing_else(name):
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


def test_a_shuffled_bundle_answers_otherwise_and_finds_the_area_it_is_told():
    bundle = load_bundle(DEFAULT_BUNDLE, "cpu", 1)
    image = np.random.default_rng(0).normal(0, 1, (1, 1, 32, 32)).astype(np.float32)
    shuffled = bundle.shuffled(("utility",), 1)
    assert abs(spearman(bundle.predict(image), shuffled.predict(image))) < 0.9
    logits = bundle.predict(image)
    np.testing.assert_array_equal(bundle.noise_logits(image, logits), shuffled.noise_logits(image, logits))
    assert (SameArea(shuffled, 40).predict(image) > 0).sum() == 40


def test_no_kernel_is_said():
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "none", [], [])
    with pytest.raises(ValueError, match="no kernel"):
        shuffle_kernels(onnx.helper.make_model(graph).SerializeToString(), 0)
