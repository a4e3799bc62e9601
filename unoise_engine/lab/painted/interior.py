"""What an expert's outline does not show: lumen, gas, cortex, vessels and lesions inside the organs."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.labelmap import STEP_MM
from unoise_engine.lab.painted.placement import DX
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue
from unoise_engine.lab.painted.tube import tube, wander
from unoise_engine.lab.phantom.fields import smooth

T = Tissue
DISC_SLICES = 7  # gaps between vertebrae up to 18 mm are discs


def fill_organs(scene: Scene) -> None:
    """Works on `scene.organs`."""
    _stomach(scene)
    _duodenum(scene)
    for cortex, medulla, sinus in (
        (T.CORTEX_LEFT, T.MEDULLA_LEFT, T.SINUS_LEFT),
        (T.CORTEX_RIGHT, T.MEDULLA_RIGHT, T.SINUS_RIGHT),
    ):
        _kidney(scene, cortex, medulla, sinus)
    _given_bowel(scene)
    _bones(scene)
    if not scene.has(T.HEPATIC_VEIN):
        _liver_vessels(scene)
    _lesions(scene)


def _box_of(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    if not mask.any():
        return None
    spans = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    z, y, x = (slice(max(0, int(s[0]) - 1), int(s[-1]) + 2) for s in spans)
    return z, y, x


def _shrink(mask: np.ndarray, mm: float, within_plane: bool = True) -> np.ndarray:
    """The part of `mask` further than about `mm` from its edge."""
    from scipy import ndimage

    shape = ndimage.generate_binary_structure(3, 1)
    if within_plane:
        shape[[0, 2]] = False
    return ndimage.binary_erosion(mask, shape, iterations=max(1, round(mm / DX)), border_value=1)


def _stomach(scene: Scene) -> None:
    rng, u = scene.rng, scene.rng.uniform
    whole = scene.organs == T.STOMACH
    box = _box_of(whole)
    if box is None:
        return
    part, whole = scene.organs[box], whole[box]
    state = u()  # a fasting patient's stomach is what gets taken for pancreas: many are drawn empty
    if state < 0.15:
        return  # wall upon wall
    collapsed = state < 0.5
    lumen = _shrink(whole, u(4, 9) if collapsed else u(2, 4))
    folds = smooth(rng, whole.shape, STEP_MM, u(5, 9))
    lumen &= folds < (u(0.2, 1.0) if collapsed else u(1.2, 3.0))  # rugae stand into the lumen
    part[lumen] = T.STOMACH_LUMEN
    if u() < (0.5 if collapsed else 0.8):
        level = np.percentile(np.nonzero(whole)[1], u(5, 60))
        rows = np.arange(whole.shape[1])[:, None]
        part[lumen & (rows < level)] = T.STOMACH_GAS


def _duodenum(scene: Scene) -> None:
    rng, u = scene.rng, scene.rng.uniform
    whole = scene.organs == T.DUODENUM
    box = _box_of(whole)
    if box is None:
        return
    part, whole = scene.organs[box], whole[box]
    if u() < 0.25:
        return  # collapsed: wall upon wall
    lumen = _shrink(whole, 2)
    open_here = smooth(rng, whole.shape, STEP_MM, u(14, 30)) > u(-1.5, 0.5)  # peristalsis
    lumen &= open_here
    part[lumen] = T.DUODENUM_LUMEN
    if u() < 0.45:
        gas = smooth(rng, whole.shape, STEP_MM, u(12, 25)) > u(0.6, 1.6)
        part[lumen & gas] = T.DUODENUM_GAS


def _kidney(scene: Scene, cortex: Tissue, medulla: Tissue, sinus: Tissue) -> None:
    rng, u = scene.rng, scene.rng.uniform
    whole = scene.organs == cortex
    box = _box_of(whole)
    if box is None:
        return
    part, whole = scene.organs[box], whole[box]
    pyramids = smooth(rng, whole.shape, STEP_MM, u(9, 13))
    inner = _shrink(whole, 5)
    part[inner & (pyramids > u(-0.9, 0.1))] = medulla
    deep = _shrink(inner, u(8, 13))
    part[deep] = sinus


def _given_bowel(scene: Scene) -> None:
    """Wall and content of bowel a map shows as one solid piece."""
    rng, u = scene.rng, scene.rng.uniform
    for wall, contents, gas, tall in (
        (T.COLON, (T.COLON_STOOL, T.COLON_FLUID), T.COLON_GAS, 60),
        (T.BOWEL, (T.BOWEL_FLUID, T.BOWEL_CHYME, T.BOWEL_CONTRAST, T.BOWEL_COLLAPSED), T.BOWEL_GAS, 40),
    ):
        whole = scene.organs == wall
        box = _box_of(whole)
        if box is None:
            continue
        part, whole = scene.organs[box], whole[box]
        lumen = _shrink(whole, 2)
        if wall == T.BOWEL:  # touching loops: walls between them, where a smooth field changes its sign
            lumen &= np.abs(smooth(rng, whole.shape, STEP_MM, u(16, 22))) > u(0.12, 0.25)
        kind = smooth(rng, whole.shape, STEP_MM, tall)
        cuts = np.quantile(kind[::3, ::3, ::3], np.linspace(0, 1, len(contents) + 1)[1:-1])
        order = rng.permutation(len(contents))
        part[lumen] = np.array([contents[i] for i in order], dtype=np.uint8)[np.digitize(kind[lumen], cuts)]
        _gas(scene, part, lumen, gas, u(0.1, 0.6) if wall == T.COLON else u(0.0, 0.25))


def _gas(scene: Scene, part: np.ndarray, lumen: np.ndarray, gas: Tissue, share: float) -> None:
    """Gas in the front of each piece of lumen of a slice, in about `share` of the pieces."""
    from scipy import ndimage

    flat = np.zeros((3, 3, 3), dtype=bool)
    flat[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    pieces, count = ndimage.label(lumen, flat)
    if not count:
        return
    numbers = np.arange(1, count + 1)
    centres = np.array(ndimage.center_of_mass(lumen, pieces, numbers)).astype(int)
    rows = np.broadcast_to(np.arange(lumen.shape[1], dtype=np.float32)[None, :, None], lumen.shape)
    first, last = ndimage.minimum(rows, pieces, numbers), ndimage.maximum(rows, pieces, numbers)
    along = smooth(scene.rng, lumen.shape, STEP_MM, 45)[tuple(centres.T)]  # neighbours agree
    fill = np.clip((along - np.quantile(along, 1 - share)) * 0.8, 0, 1)
    level = np.concatenate([[-1.0], first + fill * (np.asarray(last) - first + 1)])
    part[lumen & (rows < level[pieces])] = gas


def _bones(scene: Scene) -> None:
    if not scene.has(T.DISC):
        _discs(scene)
    for whole, marrow in ((T.VERTEBRA, T.VERTEBRA_MARROW), (T.BONE, T.MARROW)):
        mask = scene.organs == whole
        box = _box_of(mask)
        if box is not None:
            scene.organs[box][_shrink(mask[box], 2, within_plane=False)] = marrow


def _discs(scene: Scene) -> None:
    """Fills the gaps between the vertebrae of a map that leaves its discs out."""
    from scipy import ndimage

    mask = scene.organs == T.VERTEBRA
    box = _box_of(mask)
    if box is None:
        return
    part, mask = scene.organs[box], mask[box]
    closed = ndimage.maximum_filter1d(mask.view(np.uint8), DISC_SLICES, axis=0)
    closed = ndimage.minimum_filter1d(closed, DISC_SLICES, axis=0) > 0
    here = np.flatnonzero(mask.any(axis=(1, 2)))
    closed[: here[0]] = closed[here[-1] + 1 :] = False
    canal = np.argwhere(part == T.CANAL)
    before = np.ones(mask.shape, dtype=bool)
    if len(canal):  # bodies alone have discs, arches have none
        heights = np.arange(mask.shape[0])
        levels = np.unique(canal[:, 0])
        front = np.array([canal[canal[:, 0] == z, 1].min() for z in levels])
        before = np.arange(mask.shape[1])[None] < np.interp(heights, levels, front)[:, None] + 1
        before = np.broadcast_to(before[:, :, None], mask.shape)
    part[closed & before & (part == 0)] = T.DISC


def _liver_vessels(scene: Scene) -> None:
    rng, u = scene.rng, scene.rng.uniform
    allowed = scene.organs == T.LIVER
    places = np.argwhere(allowed[:, ::3, ::3])
    if len(places) < 50:
        return
    for _ in range(int(u(6, 16))):
        start = places[rng.integers(len(places))] * (1, 3, 3)
        path = wander(rng, start, int(u(10, 28)), 3.0, allowed, wobble=0.25)
        found = tube(path, np.linspace(u(2.5, 5), 1.4, len(path)), scene.shape)
        if found is not None:
            part = scene.organs[found.box]
            part[(found.depth_mm > 0) & (part == T.LIVER)] = T.HEPATIC_VEIN


def _lesions(scene: Scene) -> None:
    rng, u = scene.rng, scene.rng.uniform
    for organ, lesion, chance in (
        (T.LIVER, T.LIVER_LESION, 0.25),
        (T.SPLEEN, T.SPLEEN_LESION, 0.1),
        (T.CORTEX_LEFT, T.CYST_LEFT, 0.25),
        (T.CORTEX_RIGHT, T.CYST_RIGHT, 0.25),
    ):
        if u() > chance:
            continue
        places = np.argwhere(scene.organs[:, ::2, ::2] == organ) * (1, 2, 2)
        for _ in range(int(u(1, 5))):
            if not len(places):
                break
            centre = places[rng.integers(len(places))]
            found = tube(centre[None].astype(float), np.array([u(3, 14)]), scene.shape)
            if found is not None:
                part = scene.organs[found.box]
                part[(found.depth_mm > 0) & (part == organ)] = lesion
