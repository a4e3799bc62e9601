"""Where a map's organs come to lie in the painted field: deformed a little, centred, with room above and below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.painted.labelmap import STEP_MM
from unoise_engine.lab.painted.tissues import WALL, Tissue, members
from unoise_engine.lab.phantom.fields import smooth

T = Tissue
DZ, DX = STEP_MM[0], STEP_MM[1]
SPINE = members(T.VERTEBRA, T.DISC, T.CANAL)
KIDNEYS = members(T.CORTEX_LEFT, T.CORTEX_RIGHT)
VISCERA = ~members(T.AIR, *WALL, T.LUNG_LEFT, T.LUNG_RIGHT)
BELOW_DIAPHRAGM = members(T.LIVER, T.SPLEEN, T.STOMACH)


@dataclass
class Landmarks:
    """Places in voxels of the array they were found in; heights count from the feet."""

    mid_x: float
    spine_y: float  # middle of the vertebral bodies at the kidneys
    front_y: float  # foremost organ
    kidney_z: float
    kidney_y: float
    pancreas_z: float
    dome_z: float  # top of what lies below the diaphragm
    low_z: float  # lowest organ
    wide_mm: float  # all organs, from side to side


def landmarks(tissue: np.ndarray) -> Landmarks:
    """From organs alone where the map has no spine: the kidneys lie beside it, the pancreas before it."""
    thin = tissue[:, ::2, ::2]
    kidneys = np.argwhere(KIDNEYS[thin]) * (1, 2, 2)
    left = np.argwhere(thin == T.CORTEX_LEFT) * (1, 2, 2)
    pancreas = np.argwhere(thin == T.PANCREAS) * (1, 2, 2)
    organs = np.argwhere(VISCERA[thin]) * (1, 2, 2)
    below = np.argwhere(BELOW_DIAPHRAGM[thin])
    if not len(kidneys):
        kidneys = pancreas + np.array((-10, 15, 0))
    kidney_z, kidney_y = float(kidneys[:, 0].mean()), float(kidneys[:, 1].mean())
    spine = np.argwhere(SPINE[thin]) * (1, 2, 2)
    near = spine[np.abs(spine[:, 0] - kidney_z) < 15] if len(spine) else spine
    if len(near):
        # bodies and arches together: their front edge is the body's
        mid_x, spine_y = float(near[:, 2].mean()), float(np.percentile(near[:, 1], 3)) + 16 / DX
    else:
        if len(left) and len(left) < len(kidneys):
            right = np.argwhere(thin == T.CORTEX_RIGHT) * (1, 2, 2)
            mid_x = float(left[:, 2].mean() + right[:, 2].mean()) / 2
        elif len(left):
            inner = float(np.percentile(left[:, 2], 2)) - 33 / DX
            mid_x = 0.65 * inner + 0.35 * float(organs[:, 2].min() + organs[:, 2].max()) / 2
        else:
            mid_x = float(organs[:, 2].min() + organs[:, 2].max()) / 2
        middle = pancreas[np.abs(pancreas[:, 2] - mid_x) < 22 / DX]
        behind = float(np.percentile(middle[:, 1], 97)) if len(middle) else kidney_y - 20
        spine_y = max(kidney_y - 3 / DX, behind + 33 / DX)
    return Landmarks(
        mid_x=mid_x,
        spine_y=spine_y,
        front_y=float(np.percentile(organs[:, 1], 1)),
        kidney_z=kidney_z,
        kidney_y=kidney_y,
        pancreas_z=float(pancreas[:, 0].mean()),
        dome_z=float(below[:, 0].max() if len(below) else organs[:, 0].max()),
        low_z=float(np.percentile(organs[:, 0], 0.2)),
        wide_mm=float(np.ptp(np.percentile(organs[:, 2], [0.3, 99.7]))) * DX,
    )


def place(source: np.ndarray, rng: np.random.Generator, bent: bool = False) -> np.ndarray:
    """(z, y, x) tissues of a map -> the same, moved and bent, in a square field of 416 to 480 mm.

    `bent` bends across slices too, by 5 to 12 mm (standard deviation), and more within them: sections through the
    organs that the map itself does not hold, which no change of its slices could give.
    """
    u = rng.uniform
    marks = landmarks(source)
    bottom, top = _extent(source, marks, rng)
    side = 2 * int(u(104, 121))
    # some maps are smaller than any adult: the organs together are 225 to 315 mm wide
    grow = float(np.clip(np.clip(u(0.92, 1.1) * marks.wide_mm, 235, 315) / marks.wide_mm, 0.85, 1.45))
    stretch_z = grow**0.6 * u(0.95, 1.05)
    depth = int((top - bottom) * stretch_z)
    z = bottom + np.arange(depth) / stretch_z
    stretch = grow * u(0.96, 1.04), grow * u(0.96, 1.04)
    turn, shear = np.deg2rad(np.clip(rng.normal(0, 3), -8, 8)), np.clip(rng.normal(0, 0.03), -0.07, 0.07)
    bend_mm = u(3.0, 8.0) if bent else u(1.5, 5.0)
    # rows of air above and below are added to the finished image
    before, behind = 52 / DX, 112 / DX
    height = min(side, int((marks.spine_y - marks.front_y) * stretch[0] + before + behind))
    bend = [smooth(rng, (depth, height, side), STEP_MM, u(45, 90)) * np.float32(bend_mm / DX) for _ in range(2)]
    centre_y = (marks.front_y - before / stretch[0] + marks.spine_y + behind / stretch[0]) / 2
    rows = (np.arange(height, dtype=np.float32) - height / 2 + rng.normal(0, 1.5)) / np.float32(stretch[0])
    columns = (np.arange(side, dtype=np.float32) - side / 2 + rng.normal(0, 3)) / np.float32(stretch[1])
    y = np.cos(turn) * rows[:, None] - np.sin(turn) * columns[None] + centre_y
    x = np.sin(turn) * rows[:, None] + (np.cos(turn) + shear * 0) * columns[None] + shear * rows[:, None] + marks.mid_x
    framed = np.pad(source, 1)
    places = []
    for field, plane, n in ((bend[0], y, source.shape[1]), (bend[1], x, source.shape[2])):
        field += plane.astype(np.float32)
        np.rint(field, out=field)
        field += 1
        places.append(np.clip(field, 0, n + 1, out=field).astype(np.int32))
    height_of = z[:, None, None]
    if bent:
        height_of = height_of + smooth(rng, (depth, height, side), STEP_MM, u(70, 120)) * np.float32(u(5, 12) / DZ)
    layers = np.clip(np.rint(height_of).astype(np.int32) + 1, 0, source.shape[0] + 1)
    return framed[layers, places[0], places[1]]


WALL_GIVEN = members(*WALL)


def _extent(source: np.ndarray, marks: Landmarks, rng: np.random.Generator) -> tuple[int, int]:
    """Lowest and highest slice to paint, in slices of the map; may lie outside it where it cut no organ off."""
    last = source.shape[0] - 1
    organs = VISCERA[source]
    complete = organs[[0, last]].sum(axis=(1, 2)) < 40
    top = int(marks.dome_z + rng.uniform(15, 50) / DZ)
    if (source == T.HEART).any() or not complete[1] or WALL_GIVEN[source[-3:]].any():
        top = min(int(marks.dome_z + rng.uniform(15, 75) / DZ), last)
    bottom = int(marks.low_z - rng.uniform(30, 150) / DZ)
    if WALL_GIVEN[source[:3]].any():  # a map of everything: little is left to invent below its organs
        bottom = int(marks.low_z - rng.uniform(0, 40) / DZ)
    if not complete[0] or WALL_GIVEN[source[:3]].any():
        bottom = max(bottom, 0)
    return bottom, top
