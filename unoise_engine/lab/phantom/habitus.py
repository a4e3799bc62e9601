"""Habitus: how big and how fat one patient is, and where that moves the organs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.phantom.shapes import Point

Rng = np.random.Generator


@dataclass(frozen=True)
class Trunk:
    """The wall of the body and what it is made of; all mm."""

    half_width: float  # of the abdominal cavity
    front: float  # from the vertebral body to the front of the cavity
    back: float  # and to its back, beside the spine
    wall: float  # thickness of the muscles
    fat_front: float
    fat_side: float
    fat_back: float
    square: float  # 0 = ellipse, 0.6 = rounded box
    dome_right: float  # height of the diaphragm
    dome_left: float
    vertebra: tuple[float, float]  # half width and half depth
    vertebra_period: float
    vertebra_phase: float
    rib_period: float
    rib_phase: float
    rib_slope: float  # mm a rib falls per radian from the spine to the front
    rib_floor: float  # no rib below


def trunk(rng: Rng, adiposity: float, visceral: float) -> Trunk:
    u = rng.uniform
    return Trunk(
        half_width=116 + 30 * visceral + u(-5, 8),
        front=94 + 48 * visceral + u(-5, 8),
        back=u(58, 68),
        wall=u(9, 15),
        fat_front=4 + 34 * adiposity * u(0.6, 1.2),
        fat_side=4 + 26 * adiposity * u(0.6, 1.3),
        fat_back=4 + 24 * adiposity * u(0.6, 1.2),
        square=u(0.1, 0.5),
        dome_right=u(98, 122),
        dome_left=u(88, 112),
        vertebra=(u(20, 25), u(15, 18.5)),
        vertebra_period=u(31, 37),
        vertebra_phase=u(0, 37),
        rib_period=u(26, 32),
        rib_phase=u(0, 31),
        rib_slope=u(40, 62),
        rib_floor=u(-75, -35),
    )


class Place:
    """Spreads control points of the slim adult over a wider, deeper cavity; the retroperitoneum stays by the spine."""

    def __init__(self, half_width: float, front: float):
        self.kx, self.ky = half_width / 126.0, (front - 45.0) / (112.0 - 45.0)

    def __call__(self, points: object) -> np.ndarray:
        p = np.array(points, dtype=float)
        x, y = p[..., 0], p[..., 1]
        p[..., 0] = x + (self.kx - 1) * x * np.clip(np.abs(x) / 70.0, 0, 1)
        p[..., 1] = np.where(y < -45, -45 + (y + 45) * self.ky, y)
        return p


def by(p: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """A point moved by (x, y, z) mm."""
    return p + np.array([x, y, z])


def point(p: np.ndarray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])
