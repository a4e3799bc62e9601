"""Patients are resampled, never slices; one patient has no interval."""

import numpy as np
import pytest

from Testing.engine.evaluate.world import labelled_slices
from unoise_engine.evaluate.interval import Bootstrap, Estimate
from unoise_engine.explanation.slices import Patients, evenly


def test_interval_is_that_of_resampled_means() -> None:
    values = np.array([0.1, 0.5, 0.6, 0.9, 0.4])
    found = Bootstrap(5, seed=1, resamples=4000).estimate(values)
    random = np.random.default_rng(99)
    means = [random.choice(values, 5).mean() for _ in range(20000)]
    low, high = np.percentile(means, (2.5, 97.5))
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
    assert high - low > 0.3, "the reference has no spread"


def test_ratio_of_means_with_its_own_spread() -> None:
    below = np.array([0.2, 0.9, 0.5, 0.7])
    found = Bootstrap(4, seed=0).estimate(0.8 * below, below)
    assert (found.value, found.low, found.high) == pytest.approx((0.8,) * 3)


def test_one_patient_says_so_and_none_is_nothing() -> None:
    one = Bootstrap(1, seed=0).estimate(np.array([0.7]))
    assert one.value == 0.7 and np.isnan(one.low) and str(one) == "0.700" and not one.apart
    assert Bootstrap(1, seed=0).estimate(np.array([0.4]), np.array([0.5])).value == pytest.approx(0.8)  # a ratio
    assert str(Bootstrap(0, seed=0).estimate(np.array([]))) == "-"


def test_one_patient_has_a_ratio_and_a_ratio_to_nothing_is_none() -> None:
    ratio = Bootstrap(1, seed=0).estimate(np.array([0.6]), np.array([0.8]))
    assert ratio.value == pytest.approx(0.75) and np.isnan(ratio.high)
    assert np.isnan(Bootstrap(2, seed=0).estimate(np.array([0.6, 0.1]), np.zeros(2)).value)
    some = Bootstrap(2, seed=0).estimate(np.array([0.6, 0.6]), np.array([0.0, 0.8]))  # some resamples have nothing
    assert (some.value, some.low, some.high) == pytest.approx((1.5, 0.75, 1.5))


def test_what_is_said_of_an_estimate() -> None:
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    for low, high, apart in (
        (0.1, 0.2, True),
        (-0.2, -0.1, True),
        (-0.1, 0.1, False),
        (0, 0.1, False),
        (-0.1, 0, False),
    ):
        assert Estimate(0, low, high).apart is apart


def test_the_same_patients_are_drawn_for_everything() -> None:
    one, same, other = Bootstrap(6, 3, 50), Bootstrap(6, 3, 50), Bootstrap(6, 4, 50)
    assert np.array_equal(one.weights, same.weights) and not np.array_equal(one.weights, other.weights)
    assert one.weights.shape == (50, 6) and np.allclose(one.weights.sum(axis=1), 1)


def test_a_patient_with_many_slices_counts_once() -> None:
    slices = labelled_slices(patients=2, each=1) + labelled_slices(patients=1, each=1) * 5
    values = np.array([0.0, 1.0, 0, 0, 0, 0, 0])
    patients = Patients.of(slices)
    assert patients.names == ("case-0", "case-1")
    np.testing.assert_allclose(patients.mean(values), [0.0, 1.0])
    left_out = Patients.of(slices, np.array([False] + [True] * 6))
    np.testing.assert_allclose(left_out.mean(np.array([np.nan, 1, 0, 0, 0, 0, 0.5])), [0.1, 1.0])


def test_slices_are_taken_evenly() -> None:
    assert evenly(np.arange(10), 0).tolist() == list(range(10))
    assert evenly(np.arange(10), 2).tolist() == [2, 7]
    assert evenly(np.arange(3), 8).tolist() == [0, 1, 2]
    assert evenly(np.arange(9), 1).tolist() == [4]
