"""Whether a map is more than an accident: it stays under noise that a CT has anyway, and goes with what was learned.

Both are told as rank correlation (Spearman) with the map itself: near 1 under small noise, near 0 once the weights are
shuffled (Adebayo et al. 2018). What was shuffled matters. Grad-CAM and occlusion run the utility, so its weights are
shuffled. U-Noise is a net of its own: shuffling that net shows that the map is learned. A net that starts from distance
keeps that with any weights, so the correlation of what distance does not explain stands beside the whole map's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unoise_engine.evaluate.curves import Measure
from unoise_engine.evaluate.equal_distance import unexplained
from unoise_engine.evaluate.interval import Bootstrap
from unoise_engine.explanation.baselines import BASELINES
from unoise_engine.explanation.method import Advance, Method, silent
from unoise_engine.explanation.methods import LEARNT
from unoise_engine.explanation.slices import LabelledSlice, Patients, chance
from unoise_engine.explanation.target import Target
from unoise_engine.models.given import own
from unoise_engine.models.segmenter import GRADCAM, GRADIENT, Region, Segmenter, Wrapped
from unoise_engine.models.session import Bundle

NOISE_HU = 10.0  # usual in an abdominal CT
STABILITY = f"rank correlation under noise of {NOISE_HU:g} HU"
UTILITY = "rank correlation, utility's weights shuffled"
EXPLAINER = "rank correlation, U-Noise's own weights shuffled"
BEYOND = "the same, of what distance does not explain"


@dataclass(frozen=True)
class Check:
    """One correlation of one map on one slice."""

    method: str
    name: str
    slice_index: int  # among those evaluated
    value: float


def check_maps(
    bundle: Bundle,
    slices: Sequence[LabelledSlice],
    found: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    methods: Mapping[str, Method],
    at: Sequence[int],
    seed: int,
    advance: Advance = silent,
) -> list[Check]:
    """All checks on the slices `at`, which show a prediction. Maps that are no method or baseline are left out."""
    shuffled = {
        "utility": bundle.shuffled(("utility", "gradcam"), seed),
        "unoise": bundle.shuffled((*bundle.manifest.noise_models.values(),), seed),
    }
    checks = []
    for s in at:
        one, organ = slices[s], found[s]
        noisy = _noisy(one, bundle, seed)
        broken = SameArea(shuffled["utility"], int(organ.sum()))
        for name in maps:
            if name not in methods and name not in BASELINES:
                continue
            for title, again in _questions(name, one, organ, noisy, bundle, broken, shuffled["unoise"], methods, seed):
                pair = maps[name][s], again()
                checks.append(Check(name, title, s, spearman(*pair)))
                if title == EXPLAINER:
                    checks.append(Check(name, BEYOND, s, spearman(*(unexplained(one, organ, m) for m in pair))))
            advance(1 / len(maps))
    return checks


def _questions(
    name: str,
    one: LabelledSlice,
    organ: np.ndarray,
    noisy: LabelledSlice,
    bundle: Bundle,
    broken: SameArea,
    broken_unoise: Bundle,
    methods: Mapping[str, Method],
    seed: int,
) -> list[tuple[str, Callable[[], np.ndarray]]]:
    """(what is checked, how the map is made again)"""

    def explained(model: Segmenter, this: LabelledSlice, scores: np.ndarray | None = None) -> np.ndarray:
        image = this.image[None]
        return methods[name](model, image, Target(model.predict(image) if scores is None else scores), silent)[0]

    def measured(model: Segmenter, this: LabelledSlice) -> np.ndarray:
        return BASELINES[name](this, model.predict(this.image[None])[0, 0] > 0, seed)

    if name in BASELINES:
        asked = [] if name == "random" else [(STABILITY, lambda: measured(bundle, noisy))]
        return asked + ([(UTILITY, lambda: measured(broken, one))] if name == "distance" else [])
    again = [(STABILITY, lambda: explained(bundle, noisy))]
    if methods[name].needs in LEARNT:
        again += [(EXPLAINER, lambda: explained(broken_unoise, one))]
    if methods[name].needs in (GRADCAM, GRADIENT):  # the same question: the score sums the same pixels
        return [*again, (UTILITY, lambda: explained(broken, one, np.where(organ, 1.0, -1.0)[None, None]))]
    return [*again, (UTILITY, lambda: explained(broken, one))]


def check_measures(
    checks: Sequence[Check], slices: Sequence[LabelledSlice], seed: int, resamples: int
) -> list[Measure]:
    """Means over patients of every check; slices where a map says nothing are left out."""
    measures = []
    for method, name in dict.fromkeys((check.method, check.name) for check in checks):
        values = np.full(len(slices), np.nan)
        for check in checks:
            if (check.method, check.name) == (method, name):
                values[check.slice_index] = check.value
        patients = Patients.of(slices, ~np.isnan(values))
        strap = Bootstrap(len(patients.names), seed, resamples)
        measures.append(Measure(method, "", "", name, strap.estimate(patients.mean(values)), None))
    return measures


class SameArea(Wrapped):
    """A model with another threshold: on the first slice it is asked about it finds so many pixels.

    Without that, shuffled weights find all or nothing, and methods that ask about the organ found say nothing.
    """

    def __init__(self, model: Segmenter, pixels: int):
        super().__init__(model)
        self.pixels = pixels
        self.shift: float | None = None

    def predict(self, x: np.ndarray) -> np.ndarray:
        scores = self.model.predict(x)
        if self.shift is None:
            ordered = np.sort(scores[0].ravel())[::-1]
            self.shift = float(ordered[min(self.pixels, len(ordered) - 1)])
        return scores - np.float32(self.shift)

    def occluded(
        self, image: np.ndarray, places: np.ndarray, patch: int, fill: float, region: Region | None = None
    ) -> np.ndarray:
        return self.model.occluded(image, places, patch, fill, region) - np.float32(self.shift or 0)

    def replaced(self, image: np.ndarray, other: np.ndarray, changed: Region, region: Region | None) -> np.ndarray:
        return self.model.replaced(image, other, changed, region) - np.float32(self.shift or 0)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two maps; NaN where one of them says nothing (is constant, or empty)."""
    if not a.size:
        return float("nan")
    ranks = [_mean_ranks(x.ravel()) for x in (a, b)]
    spread = [r - r.mean() for r in ranks]
    size = np.sqrt((spread[0] ** 2).sum() * (spread[1] ** 2).sum())
    return float((spread[0] * spread[1]).sum() / size) if size else float("nan")


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    """Equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _noisy(one: LabelledSlice, bundle: Bundle, seed: int) -> LabelledSlice:
    """The slice with white noise, as much more as `NOISE_HU`, in the units the model sees."""
    low, high = own(bundle.recipe).window_hu
    size = NOISE_HU / (high - low) / np.asarray(own(bundle.recipe).std, np.float32)[:, None, None]
    noise = chance(seed, one, "stability").standard_normal(one.organ.shape).astype(np.float32)
    image = (one.image + size * noise).astype(np.float32)
    return LabelledSlice(one.case, one.patient, one.index, image, one.organ, one.pixel_mm2)
