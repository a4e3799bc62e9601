"""Shapes and fields against arithmetic by hand."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.lab.phantom.fields import blur, smooth
from unoise_engine.lab.phantom.shapes import Ellipsoid, spline, tube


def at(shape: Any, *point: Any) -> Any:
    x, y, z = (np.array([v], np.float32) for v in point)
    return max(float(piece.distance(x, y, z)[0]) for piece in shape.pieces)


def test_a_ball_knows_its_distance() -> None:
    ball = Ellipsoid((1, 2, 3), (10, 10, 10))
    assert at(ball, 1, 2, 8) == pytest.approx(5, abs=1e-3)
    assert at(ball, 1, 16, 3) == pytest.approx(-4, abs=1e-3)
    assert at(ball, 1, 2, 3) > 0


def test_an_ellipsoid_turns_and_stays_in_its_bounds() -> None:
    shape = Ellipsoid((0, 0, 0), (20, 5, 8), turn_deg=90)
    assert at(shape, 0, 20, 0) == pytest.approx(0, abs=1e-2) and at(shape, 20, 0, 0) < 0
    low, high = shape.bounds()
    np.testing.assert_allclose(high, [5, 20, 8], atol=1e-6)
    np.testing.assert_allclose(low, -high)


def test_a_straight_tube_is_a_cylinder_with_round_ends() -> None:
    straight = tube([(0, 0, 0), (0, 40, 0)], 6, samples=9)
    assert at(straight, 4, 20, 0) == pytest.approx(2, abs=1e-3)
    assert at(straight, 0, 50, 0) == pytest.approx(-4, abs=1e-3)
    tall = tube([(0, 0, 0), (0, 40, 0)], 6, samples=9, stretch=2)
    assert at(tall, 0, 20, 12) == pytest.approx(0, abs=1e-3)


def test_a_spline_passes_its_control_points() -> None:
    control = np.array([[0, 0, 0], [1, 2, 0], [3, 1, 5.0]])
    np.testing.assert_allclose(spline(control, 5)[[0, 2, 4]], control, atol=1e-12)


def test_smooth_noise_is_standard_and_smooth() -> None:
    field = smooth(np.random.default_rng(0), (30, 90, 90), (4, 1.5, 1.5), 9.0)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.1 and field.std() == pytest.approx(1, abs=0.1)
    assert np.diff(field, axis=2).std() < 0.4


def test_blur_keeps_the_sum_and_has_the_width_asked_for() -> None:
    impulse = np.zeros((1, 1, 41), np.float32)
    impulse[0, 0, 20] = 1
    out = blur(impulse, 2, 2.0)
    assert out.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((out[0, 0] * (np.arange(41) - 20) ** 2).sum()) == pytest.approx(2, rel=0.1)
