"""A whole body around the organs of one map."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.bowel import build_bowel
from unoise_engine.lab.painted.chest import build_chest
from unoise_engine.lab.painted.interior import fill_organs
from unoise_engine.lab.painted.kidney import mirror_kidney
from unoise_engine.lab.painted.muscles import build_muscles
from unoise_engine.lab.painted.placement import DX, DZ, SPINE, landmarks, place
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.skeleton import build_skeleton
from unoise_engine.lab.painted.surroundings import add_arms, add_table
from unoise_engine.lab.painted.tissues import Tissue
from unoise_engine.lab.painted.torso import build_torso
from unoise_engine.lab.painted.vessels import build_vessels, scatter_small

T = Tissue


def build(source: np.ndarray, rng: np.random.Generator, bent: bool = False) -> Scene:
    """(z, y, x) tissues of a map, as `read_map` gives them -> a finished scene; `bent` as in `place`."""
    u = rng.uniform
    organs = place(source, rng, bent)
    marks = landmarks(organs)
    heights = np.arange(organs.shape[0], dtype=np.float32)
    above = (heights - marks.kidney_z) * DZ
    # lordosis: the spine goes back towards the chest and, less, towards the sacrum
    spine_y = marks.spine_y + np.where(above > 0, above * u(0.06, 0.18), above * u(-0.03, 0.06)) / DX
    spine_x = marks.mid_x + u(0, 3) / DX * np.sin(heights * DZ / 150 + u(0, 6))
    scene = Scene(
        rng=rng,
        tissue=np.zeros_like(organs),
        organs=organs,
        marks=marks,
        given=frozenset(int(t) for t in np.unique(organs)),
        spine_x=spine_x,
        spine_y=spine_y,
        body_radius_mm=(u(20, 26), u(15, 18)),
    )
    if SPINE[organs].any():
        _follow_spine(scene)
    mirror_kidney(scene)
    build_torso(scene)
    build_muscles(scene)
    build_skeleton(scene)
    build_chest(scene)
    build_vessels(scene)
    build_bowel(scene)
    scatter_small(scene)
    fill_organs(scene)
    mask = scene.organs > 0
    scene.tissue[mask] = scene.organs[mask]
    add_table(scene)
    add_arms(scene)
    return scene


def _follow_spine(scene: Scene) -> None:
    """The map's own spine: front edge and middle per height."""
    from scipy import ndimage

    z, y, x = np.nonzero(SPINE[scene.organs])
    here = np.unique(z)
    middle = np.array([x[z == k].mean() for k in here])
    front = np.array([np.percentile(y[z == k], 3) for k in here]) + scene.body_radius_mm[1] / DX
    heights = np.arange(scene.shape[0])
    scene.spine_x = ndimage.gaussian_filter1d(np.interp(heights, here, middle), 4, mode="nearest")
    scene.spine_y = ndimage.gaussian_filter1d(np.interp(heights, here, front), 4, mode="nearest")
