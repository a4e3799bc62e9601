"""Where the organs of one patient lie: random parameters are sampled here and drawn elsewhere.

Millimetres in the patient frame (x to the left, y to the back, z to the head) around the middle of the vertebral body
at the level of the pancreatic neck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.phantom import gut, habitus, solids
from unoise_engine.lab.phantom.gut import Loop
from unoise_engine.lab.phantom.habitus import Place, Rng, Trunk
from unoise_engine.lab.phantom.shapes import Point, Shape, Tube, tube


@dataclass(frozen=True)
class Anatomy:
    scale: Point  # of the whole patient
    fat_gap_mm: float  # fat between neighbouring organs
    trunk: Trunk
    organs: dict[str, tuple[Shape, ...]]
    loops: dict[str, tuple[Loop, ...]]  # stomach, duodenum, colon, small_bowel
    twigs: tuple[Tube, ...]  # unlabelled small vessels
    lobulation_mm: float
    pancreas_fat: float  # 0 = dense gland, 1 = mostly replaced by fat
    pancreas_z: tuple[float, float]  # lowest and highest point


def sample(rng: Rng, floor_mm: float) -> Anatomy:
    """One patient; the gut is sampled down to `floor_mm`."""
    u = rng.uniform
    adiposity = float(np.clip(rng.beta(1.6, 2.2), 0, 1))
    visceral = float(np.clip(adiposity + rng.normal(0, 0.22), 0, 1))
    trunk = habitus.trunk(rng, adiposity, visceral)
    place = habitus.Place(trunk.half_width, trunk.front)
    organs: dict[str, tuple[Shape, ...]] = {}
    solids.solid(rng, place, trunk, organs)
    nodes = solids.pancreas(rng, place, organs)
    solids.vessels(rng, place, nodes, organs)
    loops = {
        "stomach": gut.stomach(rng, place, trunk),
        "duodenum": gut.duodenum(rng, place, nodes),
        "colon": gut.colon(rng, place, floor_mm),
        "small_bowel": gut.small_bowel(rng, place, floor_mm),
    }
    tubes = [s for s in organs["pancreas"] if isinstance(s, Tube)]
    low = min(float((t.points[:, 2] - t.radii * t.stretch).min()) for t in tubes)
    high = max(float((t.points[:, 2] + t.radii * t.stretch).max()) for t in tubes)
    return Anatomy(
        scale=tuple(float(np.clip(rng.normal(1.0, 0.045), 0.9, 1.12)) * k for k in (1.0, u(0.96, 1.04), u(0.95, 1.05))),  # type: ignore[arg-type]
        fat_gap_mm=0.4 + 4.0 * visceral,
        trunk=trunk,
        organs=organs,
        loops=loops,
        twigs=_twigs(rng, place, floor_mm),
        lobulation_mm=u(0.5, 2.2),
        pancreas_fat=u(0.3, 1.0) if rng.random() < 0.35 else u(0.0, 0.2),
        pancreas_z=(low, high),
    )


def _twigs(rng: Rng, place: Place, floor_mm: float) -> tuple[Tube, ...]:
    u = rng.uniform
    twigs = []
    for _ in range(80):
        at = np.array([u(-60, 95), u(-100, -40), u(floor_mm, 40)])
        way = rng.normal(size=3)
        way *= u(14, 34) / np.linalg.norm(way)
        twigs.append(tube(place([at - way, at + rng.normal(0, 5, 3), at + way]), u(0.9, 2.3), samples=6))
    return tuple(twigs)
