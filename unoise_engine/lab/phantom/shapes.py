"""Implicit shapes in millimetres of the patient frame: points are (x, y, z) = (left, posterior, superior).

A shape is a union of pieces. A piece knows the box it lives in and its signed distance, positive inside, which is
exact near the surface to the extent that wall thickness and partial volume need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

Point = tuple[float, float, float]


class Piece(Protocol):
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, each (3,) mm."""
        ...

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Signed distance in mm, positive inside, of the points (x, y, z)."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid turned by `turn_deg` about the z axis, then leaning by `lean` mm of x and y per mm of z."""

    centre: Point
    radii: Point
    turn_deg: float = 0.0
    lean: tuple[float, float] = (0.0, 0.0)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        rx, ry, rz = self.radii
        c, s = abs(np.cos(np.deg2rad(self.turn_deg))), abs(np.sin(np.deg2rad(self.turn_deg)))
        half = np.array([np.hypot(rx * c, ry * s), np.hypot(rx * s, ry * c), rz])
        half[:2] += np.abs(self.lean) * rz
        centre = np.asarray(self.centre)
        return centre - half, centre + half

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        cx, cy, cz = self.centre
        dz = z - np.float32(cz)
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        if self.lean != (0.0, 0.0):
            dx, dy = dx - np.float32(self.lean[0]) * dz, dy - np.float32(self.lean[1]) * dz
        if self.turn_deg:
            c, s = np.float32(np.cos(np.deg2rad(self.turn_deg))), np.float32(np.sin(np.deg2rad(self.turn_deg)))
            dx, dy = c * dx + s * dy, c * dy - s * dx
        rx, ry, rz = (np.float32(1 / r) for r in self.radii)
        dx, dy, dz = dx * rx, dy * ry, dz * rz
        level = np.maximum(np.sqrt(dx * dx + dy * dy + dz * dz), np.float32(1e-3))  # 1 on the surface
        dx, dy, dz = dx * rx, dy * ry, dz * rz
        slope = np.sqrt(dx * dx + dy * dy + dz * dz)
        return level * (1 - level) / np.maximum(slope, np.float32(1e-4))

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return (self,)


@dataclass(frozen=True)
class _Link:
    """One rounded cone of a tube, in a frame where z is divided by the tube's stretch."""

    start: np.ndarray  # (3,) mm
    end: np.ndarray
    radius: tuple[float, float]
    stretch: float

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        half = max(self.radius) * np.array([1, 1, self.stretch])
        return np.minimum(self.start, self.end) - half, np.maximum(self.start, self.end) + half

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        unit = np.array([1, 1, 1 / self.stretch])
        a, way = (self.start * unit).astype(np.float32), ((self.end - self.start) * unit).astype(np.float32)
        dx, dy, dz = x - a[0], y - a[1], z * np.float32(unit[2]) - a[2]
        along = (dx * way[0] + dy * way[1] + dz * way[2]) / np.float32(way @ way + 1e-6)
        np.clip(along, 0, 1, out=along)
        dx -= along * way[0]
        dy -= along * way[1]
        dz -= along * way[2]
        first, last = self.radius
        return np.float32(first) + along * np.float32(last - first) - np.sqrt(dx * dx + dy * dy + dz * dz)


@dataclass(frozen=True)
class Tube:
    """A tube along points (n, 3) mm with radii (n,) mm; its height along z is `stretch` times its thickness."""

    points: np.ndarray
    radii: np.ndarray
    stretch: float = 1.0

    @property
    def pieces(self) -> tuple[Piece, ...]:
        p, r = self.points, self.radii
        return tuple(_Link(p[i], p[i + 1], (float(r[i]), float(r[i + 1])), self.stretch) for i in range(len(p) - 1))


Shape = Ellipsoid | Tube


def tube(points: object, radii: object, *, samples: int = 24, stretch: float = 1.0) -> Tube:
    """A smooth tube through control points (k, 3) with control radii (k,) or one radius."""
    control = np.asarray(points, dtype=float)
    widths = np.broadcast_to(np.asarray(radii, dtype=float), (len(control),))
    smooth = spline(np.column_stack([control, widths]), samples)
    return Tube(smooth[:, :3], np.maximum(smooth[:, 3], 0.5), stretch)


def spline(control: np.ndarray, samples: int) -> np.ndarray:
    """Catmull-Rom curve through control (k, d) -> (samples, d)."""
    padded = np.concatenate([[2 * control[0] - control[1]], control, [2 * control[-1] - control[-2]]])
    place = np.linspace(0, len(control) - 1, samples)
    i = np.minimum(place.astype(int), len(control) - 2)
    t = (place - i)[:, None]
    a, b, c, d = padded[i], padded[i + 1], padded[i + 2], padded[i + 3]
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
