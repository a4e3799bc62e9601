"""The canvas: Hounsfield units, labels and the room that is still free, on one deformed voxel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.phantom.fields import smooth
from unoise_engine.lab.phantom.shapes import Shape

Box = tuple[slice, slice, slice]  # (z, y, x)

AIR_HU = -1000.0
REACH_MM = 8.0  # distances are exact up to here outside a surface: enough for walls, gaps and soft edges
EDGE_MM = 1.4  # width of the soft edge, about one voxel and a half: partial volume


@dataclass
class Canvas:
    """Arrays (z, y, x). `x`, `y`, `z` say where each voxel lies in the undeformed patient, in mm.

    Organs are drawn from the most to the least important. Each is moulded into the `room` (mm to the nearest organ or
    wall, positive where free) that the earlier ones left, as soft organs are.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    row_mm: np.ndarray  # (y,) height in the scanner, for what gravity levels
    hu: np.ndarray
    labels: np.ndarray
    room: np.ndarray
    grain: dict[str, np.ndarray]  # "fine", "mid", "coarse": smooth noise of standard deviation 1

    @staticmethod
    def blank(
        rng: np.random.Generator,
        axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray],
        turn_deg: float,
        shift_mm: tuple[float, float],
        scale: tuple[float, float, float],
        warp_mm: float,
    ) -> Canvas:
        """An empty canvas; axes_mm are voxel centres along (z, y, x). The patient is turned, moved and scaled on it."""
        zs, ys, xs = (a.astype(np.float32) for a in axes_mm)
        shape = (len(zs), len(ys), len(xs))
        spacing = tuple(float(a[1] - a[0]) for a in axes_mm)
        c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
        u, v = xs[None, :] - np.float32(shift_mm[0]), ys[:, None] - np.float32(shift_mm[1])
        flat_x = ((c * u + s * v) / scale[0]).astype(np.float32)
        flat_y = ((c * v - s * u) / scale[1]).astype(np.float32)

        def field(scale_mm: float) -> np.ndarray:
            return smooth(rng, shape, spacing, scale_mm)  # type: ignore[arg-type]

        def warped(base: np.ndarray, amount: float) -> np.ndarray:
            moved = field(75.0)
            np.clip(moved, -2, 2, out=moved)
            moved *= np.float32(amount)
            moved += base
            return moved

        return Canvas(
            x=warped(flat_x[None], warp_mm),
            y=warped(flat_y[None], warp_mm),
            z=warped((zs / np.float32(scale[2]))[:, None, None], warp_mm * 0.7),
            row_mm=ys,
            hu=np.full(shape, AIR_HU, np.float32),
            labels=np.zeros(shape, np.uint8),
            room=np.full(shape, REACH_MM, np.float32),
            grain={"fine": field(3.0), "mid": field(7.0), "coarse": field(24.0)},
        )

    def __post_init__(self) -> None:
        self._spans = [  # lowest and highest patient coordinate along each grid axis, to find boxes quickly
            (self.z.min((1, 2)), self.z.max((1, 2))),
            (self.y.min((0, 2)), self.y.max((0, 2))),
            (self.x.min((0, 1)), self.x.max((0, 1))),
        ]

    def box(self, low: np.ndarray, high: np.ndarray) -> Box | None:
        """Grid box that holds every voxel with patient coordinates between low and high, (x, y, z) mm."""
        sides = []
        for (least, most), lo, hi in zip(self._spans, low[::-1], high[::-1]):
            hits = np.flatnonzero((most >= lo) & (least <= hi))
            if not len(hits):
                return None
            sides.append(slice(int(hits[0]), int(hits[-1]) + 1))
        return sides[0], sides[1], sides[2]

    def distance(self, *shapes: Shape) -> tuple[Box, np.ndarray] | None:
        """Signed distance (mm, positive inside) to the union of the shapes, within its box; None if off the grid."""
        pieces = [piece for shape in shapes for piece in shape.pieces]
        found = [(piece, self.box(*_padded(piece.bounds()))) for piece in pieces]
        seen = [(piece, box) for piece, box in found if box is not None]
        if not seen:
            return None
        whole = tuple(slice(min(b[a].start for _, b in seen), max(b[a].stop for _, b in seen)) for a in range(3))
        out = np.full([side.stop - side.start for side in whole], -REACH_MM, np.float32)
        for piece, box in seen:
            part = out[tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, whole))]
            np.maximum(part, piece.distance(self.x[box], self.y[box], self.z[box]), out=part)
        return (whole[0], whole[1], whole[2]), out

    def mould(self, box: Box, inside: np.ndarray) -> np.ndarray:
        """What is left of a shape in the free room."""
        return np.minimum(inside, self.room[box])

    def claim(self, box: Box, inside: np.ndarray, gap_mm: float) -> None:
        """Take the room of a shape and of a layer of fat around it."""
        room = self.room[box]
        np.minimum(room, -inside - np.float32(gap_mm), out=room)

    def paint(
        self, box: Box, inside: np.ndarray, hu: float | np.ndarray, label: int | None = None, edge_mm: float = EDGE_MM
    ) -> None:
        """Blend HU in over a soft edge; the label goes where more than half of the voxel is covered."""
        cover = inside * np.float32(1 / edge_mm)
        cover += np.float32(0.5)
        np.clip(cover, 0, 1, out=cover)
        part = self.hu[box]
        part += cover * (np.asarray(hu, np.float32) - part)
        if label is not None:
            self.labels[box][inside >= 0] = label

    def textured(self, box: Box, mean: float, fine: float, mid: float = 0.0, coarse: float = 0.0) -> np.ndarray:
        """HU of a tissue: its mean with grain of three sizes, standard deviations in HU."""
        out = self.grain["fine"][box] * np.float32(fine)
        for name, amount in (("mid", mid), ("coarse", coarse)):
            if amount:
                out += self.grain[name][box] * np.float32(amount)
        out += np.float32(mean)
        return out


def _padded(bounds: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return bounds[0] - REACH_MM, bounds[1] + REACH_MM
