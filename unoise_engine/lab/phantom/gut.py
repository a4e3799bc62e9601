"""Stomach and bowel of one patient: paths in mm, walls and contents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.phantom.habitus import Place, Rng, Trunk, by
from unoise_engine.lab.phantom.shapes import Tube, spline, tube


@dataclass(frozen=True)
class Loop:
    """One piece of gut and what it holds."""

    path: Tube
    wall_mm: float
    content: str
    gas_share: float  # of its height, 0 = none


def stomach(rng: Rng, place: Place, trunk: Trunk) -> tuple[Loop, ...]:
    u = rng.uniform
    full = u(0.65, 1.15)
    sag = u(-22, 8)
    path = place(
        [
            (58, 2, min(98, trunk.dome_left - 3)),  # fundus
            (66, -24, 86),
            (66, -70, 60),
            (46, -93, 26 + sag * 0.4),
            (14, -99, 0 + sag),
            (-14, -92, -2 + sag * 0.7),
            (-36, -78, 3),  # pylorus
        ]
    )
    path += rng.normal(0, 3, path.shape)
    radii = np.array([32, 37, 31, 25, 20, 15, 9]) * full * rng.uniform(0.92, 1.08, 7)
    content = str(rng.choice(["fluid", "chyme", "oral contrast"], p=[0.45, 0.4, 0.15]))
    return (Loop(tube(path, radii, samples=26), u(3, 5.5), content, u(0.1, 0.55) if rng.random() < 0.8 else 0.0),)


def duodenum(rng: Rng, place: Place, nodes: np.ndarray) -> tuple[Loop, ...]:
    u = rng.uniform
    low = nodes[0][2] - u(12, 22)
    right = nodes[1][0] - u(20, 25)
    bulb = place((-36, -78, 3))
    path = [
        bulb,
        by(bulb, -12, 8, 3),
        (right, nodes[1][1] + 4, nodes[1][2] + 6),
        (right + 1, -42, nodes[0][2]),
        (right + 12, -40, low),
        (-8, -46, low - 2),
        (22, -46, low + 6),
        (32, -54, low + 22),
        (36, -62, low + 34),
    ]
    radii = np.array([10, 12, 11.5, 12, 11.5, 9.5, 10.5, 11, 11]) * u(0.85, 1.15) * rng.uniform(0.9, 1.1, 9)
    content = str(rng.choice(["fluid", "chyme", "collapsed", "oral contrast"], p=[0.35, 0.3, 0.25, 0.1]))
    return (Loop(tube(path, radii, samples=40), u(2.2, 3.6), content, u(0.1, 0.4) if rng.random() < 0.35 else 0.0),)


def colon(rng: Rng, place: Place, floor_mm: float) -> tuple[Loop, ...]:
    u = rng.uniform
    sag = u(-45, 12)
    parts = (
        [(-94, 2, floor_mm - 30), (-96, 4, -90), (-98, 2, -58), (-84, -30, -38)],
        [
            (-84, -30, -38),
            (-66, -82, -34),
            (-30, -100, -24 + sag * 0.7),
            (15, -104, -22 + sag),
            (56, -96, -8 + sag * 0.5),
            (88, -66, 10),
            (102, -40, 18),
        ],
        [(102, -40, 18), (108, -10, 6), (110, 6, -30), (106, 6, -90), (104, 4, floor_mm - 30)],
    )
    loops = []
    for part in parts:
        path = spline(place(part) + rng.normal(0, 3, (len(part), 3)), 40)
        haustra = 1 + 0.16 * np.sin(np.linspace(0, 40 * u(0.7, 1.0), 40) + u(0, 6))
        content = str(rng.choice(["feces", "fluid", "collapsed", "oral contrast"], p=[0.62, 0.12, 0.16, 0.10]))
        radius = u(8, 12) if content == "collapsed" else u(15, 23)
        loops.append(
            Loop(Tube(path, radius * haustra), u(1.6, 3.0), content, u(0.2, 0.8) if rng.random() < 0.7 else 0.0)
        )
    return tuple(loops)


def small_bowel(rng: Rng, place: Place, floor_mm: float) -> tuple[Loop, ...]:
    u = rng.uniform
    positive = rng.random() < 0.3
    depth = max(0.0, -15 - floor_mm)
    loops = []
    for k in range(int(u(7, 14)) + int(depth / 4.5)):
        jejunum = k < 9
        at = np.array(
            [u(25, 92), u(-88, -30), u(-40, 8)] if jejunum else [u(-75, 95), u(-98, -35), u(floor_mm - 15, -28)]
        )
        heading = rng.normal(size=3) * (1, 1, 0.5)
        points = [at]
        for _ in range(5):
            heading = heading / np.linalg.norm(heading) + rng.normal(0, 0.7, 3) * (1, 1, 0.5)
            at = at + heading / np.linalg.norm(heading) * u(14, 22)
            at = np.clip(at, (-88, -102, floor_mm - 20), (98, -25, 10 if at[0] > 20 else -30))
            points.append(at)
        content = str(rng.choice(["fluid", "chyme", "collapsed"], p=[0.35, 0.35, 0.3]))
        if positive and rng.random() < 0.7:
            content = "oral contrast"
        loops.append(
            Loop(
                tube(place(points), rng.uniform(8, 13.5, 6), samples=16),
                u(1.8, 3.0),
                content,
                u(0.15, 0.5) if rng.random() < 0.2 else 0.0,
            )
        )
    return tuple(loops)
