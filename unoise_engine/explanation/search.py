"""Which places to occlude next: of all items together, those that are likely to tell most for their time.

Every item with organ first gets places near its organ, some way apart. What comes then is chosen by how much it may
still correct, for each place that it takes: finer places where values vary, or coarse ones farther from the organ. So
whenever it is stopped, by the clock or by whoever waits, the time went where it mattered; what is left is estimated.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unoise_engine.explanation.items import Items
from unoise_engine.explanation.lattice import Lattice, Refinement
from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.overlap import overlap
from unoise_engine.models.segmenter import Region, Segmenter
from unoise_engine.progress import Enough

PLACES_A_CALL = 8
VOXELS_A_CALL = 1 << 24  # of all items with a patch hidden that are held at once
FAR = 32  # voxels from the region: places beyond are looked into later
FAR_LOSES = 0.02  # of the range: what a place there is taken to lose, until it was tried


@dataclass(frozen=True, eq=False)
class Sketch:
    """One item's map in the making: patches are set to `fill`, and changes of the prediction count in the `region`."""

    organ: np.ndarray
    lattice: Lattice
    refinement: Refinement
    fill: float
    region: Region | None

    @cached_property
    def near(self) -> np.ndarray:
        """Voxels of each place from the region, (*shape)."""
        return self.lattice.distance(self.region)

    def map(self) -> np.ndarray:
        return self.lattice.spread(self.refinement.values().astype(np.float32), self.organ.shape)

    def doubt(self, step: int, span: float) -> float:
        """About the squared error of all places, of a map of which every `step`-th place was looked into."""
        unknown = np.isnan(self.refinement.measured[np.ix_(*self.refinement.lines(self.refinement.coarse))]).sum()
        stands_for = self.refinement.coarse**self.organ.ndim
        return self.refinement.doubt(step) + float(unknown * stands_for * (FAR_LOSES * span) ** 2)


class Search:
    """Measures places of all items until none is left that is worth it, or `seconds` are over. `begin` makes an item's
    sketch. Without a limit what is measured does not depend on the clock."""

    def __init__(
        self,
        model: Segmenter,
        items: Items,
        begin: Callable[[np.ndarray, np.ndarray], Sketch],
        seconds: float,
        advance: Advance,
    ):
        self.model, self.items, self.begin, self.seconds, self.advance = model, items, begin, seconds, advance
        self.sketches: dict[int, Sketch] = {}
        self.places, self.shown, self.stopped = 0, 0, ""  # measured; items with organ; why it ended early
        self._steps: dict[int, int] = {}  # every how many places of an item were looked into
        self._doubts: dict[int, float] = {}
        self._shares: dict[int, float] = {}  # of an item's work, which nobody knows beforehand: half, and half again
        self._span = 0.0
        self._heap: list[tuple[float, int, int, bool]] = []  # -(gain a place), order, item, whether far from the organ
        self._told = 0.0

    def run(self) -> None:
        """Until it is finished, or the time is over, or whoever hears the progress has enough: that is raised on where
        an item was not looked at yet, or an exact map was wanted."""
        shown = [k for k in range(len(self.items)) if self.items.organ(k).any()]
        for order, place in enumerate(evenly_spread(len(shown))):
            heapq.heappush(self._heap, (-math.inf, order, shown[place], False))
        self.shown, self._begun = len(shown), time.monotonic()
        try:
            self._tell()
            while self._heap and not self.stopped:
                self._look(*heapq.heappop(self._heap)[1:])
            self.advance(len(self.items) - self._told)
        except Enough:
            exact = any(sketch.refinement.coarse == 1 for sketch in self.sketches.values())
            if exact or len(self.sketches) < self.shown:
                raise
            self.stopped = "asked to stop"

    def map(self, k: int) -> np.ndarray:
        """Of an item (*s); where it was not looked at, between those of the nearest ones that were."""
        organ = self.items.organ(k)
        if not organ.any() or not self.sketches:
            return np.zeros(organ.shape, np.float32)
        lower, upper = (max((j for j in self.sketches if j <= k), default=-1),
                        min((j for j in self.sketches if j >= k), default=-1))  # fmt: skip
        if lower == upper or min(lower, upper) < 0:
            return self.sketches[max(lower, upper)].map()
        share = (k - lower) / (upper - lower)
        return (1 - share) * self.sketches[lower].map() + share * self.sketches[upper].map()

    @property
    def error(self) -> float:
        """About the RMS error of the maps of those items that were looked at, as a share of their range."""
        size = sum(sketch.refinement.measured.size for sketch in self.sketches.values())
        return math.sqrt(sum(self._doubts.values()) / size) / self._span if self._span else 0.0

    def _look(self, order: int, k: int, far: bool) -> None:
        """Measures what comes next of an item, and says what may come then."""
        image, first = self.items.image(k), k not in self.sketches
        if first:
            self.sketches[k] = self.begin(image, self.items.organ(k))
        sketch = self.sketches[k]
        coarse = sketch.refinement.coarse
        step = coarse if first or far else self._finer(sketch, self._steps[k])
        self._steps.setdefault(k, coarse)
        places = sketch.refinement.places(step) if step else np.zeros((0, sketch.organ.ndim), int)
        if first:
            places = places[sketch.near[tuple(places.T)] <= FAR]
        self._measure(k, image, sketch, places)
        if not self.stopped:
            self._steps[k] = step or 1
        self._span = max(self._span, float(np.ptp(sketch.refinement.values())))
        self._doubts[k] = sketch.doubt(self._steps[k], self._span)
        if first and len(sketch.refinement.places(coarse)):
            worth = coarse**sketch.organ.ndim * (FAR_LOSES * self._span) ** 2
            heapq.heappush(self._heap, (-worth if math.isfinite(self.seconds) else -math.inf, order, k, True))
        if step > 1 and (finer := self._finer(sketch, step)):
            gain = sketch.refinement.doubt(step) / len(sketch.refinement.places(finer))
            heapq.heappush(self._heap, (-gain, order, k, False))

    def _finer(self, sketch: Sketch, step: int) -> int:
        """The next step at which something is worth measuring; 0 if none is."""
        while step > 1:
            step //= 2
            if len(sketch.refinement.places(step)):
                return step
        return 0

    def _measure(self, k: int, image: np.ndarray, sketch: Sketch, places: np.ndarray) -> None:
        """The nearest first, as long as there is time."""
        organ, lattice, share = sketch.organ, sketch.lattice, (1 - self._shares.get(k, 0.0)) / 2
        order = np.argsort(sketch.near[tuple(places.T)], kind="stable")
        a_call = max(1, min(PLACES_A_CALL, VOXELS_A_CALL // organ.size))
        for start in range(0, len(places), a_call):
            if time.monotonic() - self._begun > self.seconds:
                self.stopped = "out of time"
                return
            some = places[order[start : start + a_call]]
            first = lattice.first_voxels(some)
            seen = self.model.occluded(image, first, lattice.patch, sketch.fill, sketch.region)[:, 0] > 0
            sketch.refinement.measured[tuple(some.T)] = 1 - overlap(seen, organ)
            self.places += len(some)
            self._shares[k] = self._shares.get(k, 0.0) + share * len(some) / len(places)
            self._tell()

    def _tell(self) -> None:
        done = sum(self._shares.values())
        if math.isfinite(self.seconds):
            passed = (time.monotonic() - self._begun) / self.seconds
            done = max(done, self.shown * min(1.0, passed))
        done += len(self.items) - self.shown
        before, self._told = self._told, max(self._told, done)
        note = {"note": f"error about {self.error:.1%}"} if math.isfinite(self.seconds) and self._span else {}
        self.advance(self._told - before, **note)


def evenly_spread(n: int) -> list[int]:
    """0 .. n - 1 in an order of which the first few lie all over the range: from the middle on, bits reversed."""
    bits = max(n - 1, 1).bit_length()
    reversed_bits = (int(f"{k:0{bits}b}"[::-1], 2) for k in range(1 << bits))
    return [(k + n // 2) % n for k in reversed_bits if k < n]
