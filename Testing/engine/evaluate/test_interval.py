"""Patients are resampled, never slices; one patient has no interval."""

import numpy as np
import pytest

from Testing.engine.evaluate.world import labelled_slices
from unoise_engine.evaluate.interval import Bootstrap
from unoise_engine.evaluate.slices import Patients, evenly


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
