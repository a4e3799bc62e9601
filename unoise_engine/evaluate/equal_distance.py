"""Does a map know more than distance? The equal-distance test.

Most of what a segmenter needs lies near the organ, so a map of nothing but distance does well on every curve. Here only
places equally far from the organ are compared. Each ring around the organ found is cut into cells; what distance
explains of the map there (a quadratic fit) is taken away; the half of the cells that the map still ranks higher is
hidden, then the other half. A map that knows something loses more of the prediction with its upper half. A ruler has
nothing left to rank, and gets 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unoise_engine.evaluate.curves import Measure
from unoise_engine.evaluate.interval import Bootstrap
from unoise_engine.explanation.hiding import FILLS, Hider
from unoise_engine.explanation.method import Advance, silent
from unoise_engine.explanation.overlap import overlap
from unoise_engine.explanation.ranking import ranks
from unoise_engine.explanation.scan import enclosed
from unoise_engine.explanation.slices import LabelledItem, Patients, chance
from unoise_engine.explanation.visibility import How
from unoise_engine.models.segmenter import Predicts
from unoise_engine.volume.distance import signed_distance

RINGS_MM = ((8.0, 16.0), (16.0, 32.0), (32.0, 64.0))
CELL_MM = 8.0
AIR = 0.1  # of the image's range: what lies below on all sides of a pixel's row or column is outside the body
FEWEST = 8  # cells of a ring; a slice with fewer is left out of it
EXPLAINED = 1e-3  # of the map's spread in a ring: what is left beyond distance is rounding, and nothing is ranked


def measure_name(ring: tuple[float, float]) -> str:
    return f"at equal distance, {ring[0]:g}-{ring[1]:g} mm: dice lost, upper minus lower half"


class Cells:
    """The cells of an item: sides of `px` pixels, those of the rings that lie in the body. Lines that fill no whole
    cell, at the far edges, are left out."""

    def __init__(self, one: LabelledItem, found: np.ndarray, kept: np.ndarray | None = None):
        """`found` (*s) bool, neither empty nor full, is the organ; no cell holds a pixel of it or of `kept`."""
        self.px, self.shape = [max(1, round(CELL_MM / mm)) for mm in one.side_mm], found.shape
        self.distance = self.means(-signed_distance(found, one.side_mm))
        image = one.image.mean(axis=0)
        dense = (image > image.min() + AIR * np.ptp(image)).reshape(-1, *image.shape[-2:])
        body = self.means(enclosed(dense).reshape(image.shape)) > 0.5
        self.free = body & (self.means(found if kept is None else found | kept) == 0)

    def means(self, values: np.ndarray) -> np.ndarray:
        """(*s) -> means over the cells, as many along each axis as fit."""
        counts = [n // px for n, px in zip(values.shape, self.px)]
        whole = values[tuple(slice(0, n * px) for n, px in zip(counts, self.px))].astype(float)
        sides = [side for n, px in zip(counts, self.px) for side in (n, px)]
        return whole.reshape(sides).mean(axis=tuple(range(1, len(sides), 2)))

    def pixels(self, cells: np.ndarray) -> np.ndarray:
        """Cells, bool -> (*s) bool."""
        large = cells
        for axis, px in enumerate(self.px):
            large = np.repeat(large, px, axis=axis)
        return np.pad(large, [(0, n - m) for n, m in zip(self.shape, large.shape)])

    def ring(self, ring: tuple[float, float]) -> np.ndarray:
        return self.free & (self.distance >= ring[0]) & (self.distance < ring[1])

    def unexplained(self, importance: np.ndarray, ring: np.ndarray) -> np.ndarray:
        """What distance does not explain of a map (*s) in the cells of a ring, (cells,); zeros if that is nothing."""
        values, far = self.means(importance)[ring], self.distance[ring]
        terms = np.stack([np.ones(len(far)), far, far**2], axis=1)
        left = values - terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
        return np.zeros(len(far)) if left.std() <= EXPLAINED * values.std() else left

    def halves(self, importance: np.ndarray, ring: np.ndarray, tie: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """The pixels (*s) of the ring's upper and lower half; None where the map ranks nothing at equal distance."""
        left = self.unexplained(importance, ring)
        if not left.any():
            return None
        placed = ranks(left, tie[: len(left)])
        upper, lower = np.zeros((2, *ring.shape), bool)
        upper[ring], lower[ring] = placed < len(left) // 2, placed >= (len(left) + 1) // 2
        return self.pixels(upper), self.pixels(lower)


def unexplained(one: LabelledItem, found: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """What distance does not explain of a map in the cells of all rings, (cells,); none where the organ is all."""
    if found.all():
        return np.zeros(0)
    cells = Cells(one, found)
    rings = [ring for ring in map(cells.ring, RINGS_MM) if ring.sum() >= FEWEST]
    return np.concatenate([np.zeros(0), *(cells.unexplained(importance, ring) for ring in rings)])


def lost_at_equal_distance(
    model: Predicts,
    slices: Sequence[LabelledItem],
    found: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    how: How,
    advance: Advance = silent,
) -> dict[tuple[str, str], np.ndarray]:
    """(map, fill) -> dice lost with the upper half hidden minus that with the lower half, (slices, rings).

    Distance is from `found`, the organ that the maps explain; dice is with what the model finds when all is visible.
    NaN for slices where either is empty or a ring has fewer than FEWEST cells. Noise is that of `how`, the same for
    both halves and for all maps.
    """
    lost = {(name, fill): np.full((len(slices), len(RINGS_MM)), np.nan) for name in maps for fill in FILLS}
    for s, (one, organ) in enumerate(zip(slices, found)):
        own = model.predict(one.image[None])[0, 0] > 0
        if organ.any() and own.any() and not organ.all():
            cells, hider = Cells(one, organ, own), Hider(one, how.seed, how.draws, how.sigma)
            tie = chance(how.seed, one, "cells").random(cells.free.size)
            for r, ring in enumerate(map(cells.ring, RINGS_MM)):
                if ring.sum() < FEWEST:
                    continue
                for name, some in maps.items():
                    halves = cells.halves(some[s], ring, tie)
                    for fill in FILLS:
                        lost[name, fill][s, r] = 0.0 if halves is None else _lost(model, hider, halves, own, fill)
        advance(1)
    return lost


def equal_distance_measures(
    lost: Mapping[tuple[str, str], np.ndarray], slices: Sequence[LabelledItem], seed: int, resamples: int
) -> list[Measure]:
    """Means over patients, with intervals."""
    measures = []
    for (name, fill), values in lost.items():
        for r, ring in enumerate(RINGS_MM):
            patients = Patients.of(slices, ~np.isnan(values[:, r]))
            estimate = Bootstrap(len(patients.names), seed, resamples).estimate(patients.mean(values[:, r]))
            measures.append(Measure(name, fill, "ring", measure_name(ring), estimate, None))
    return measures


def _lost(model: Predicts, hider: Hider, halves: tuple[np.ndarray, np.ndarray], own: np.ndarray, fill: str) -> float:
    """One half at a time: what `hide` makes of both would be twice the memory, and no faster."""
    kept = []
    for hidden in halves:
        seen = model.predict(hider.hide(~hidden[None], fill))[:, 0] > 0
        kept.append(np.mean(overlap(seen, own)))
    return float(kept[1] - kept[0])
