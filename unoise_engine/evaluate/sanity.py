"""Whether a map is more than an accident: it stays under noise that a CT has anyway, and goes with what was learned.

Both are told as rank correlation (Spearman) with the map itself: near 1 under small noise, near 0 once the weights are
shuffled (Adebayo et al. 2018). What was shuffled matters. Grad-CAM and occlusion run the utility, so its weights are
shuffled. U-Noise is a net of its own: shuffling that net shows that the map is learned. A net that starts from distance
keeps that with any weights, so the correlation of what distance does not explain stands beside the whole map's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unoise_engine.evaluate.curves import Measure
from unoise_engine.evaluate.equal_distance import unexplained
from unoise_engine.evaluate.interval import Bootstrap
from unoise_engine.explanation.baselines import BASELINES
from unoise_engine.explanation.hiding import body_of
from unoise_engine.explanation.method import Advance, Method, silent
from unoise_engine.explanation.methods import LEARNT
from unoise_engine.explanation.slices import LabelledItem, Patients, chance
from unoise_engine.explanation.target import Target
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.segmenter import GRADCAM, GRADIENT, Region, Segmenter, Wrapped
from unoise_engine.models.session import Bundle

NOISE_HU = 10.0  # usual in an abdominal CT
NOISE_SHARE = (
    0.1  # of the body's standard deviation, where values are no HU or a model's recipe may do anything to them
)
STABILITY = f"rank correlation under noise of {NOISE_HU:g} HU"
STABILITY_ELSEWHERE = f"rank correlation under noise of {NOISE_SHARE:g} of the body's standard deviation"
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
    slices: Sequence[LabelledItem],
    found: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    methods: Mapping[str, Method],
    at: Sequence[int],
    seed: int,
    advance: Advance = silent,
) -> list[Check]:
    """All checks on the slices `at`, which show a prediction. Maps that are no method or baseline are left out.

    Without those of shuffled weights where a model has no kernel to shuffle.
    """
    unlearnt = _without_weights(bundle, ("utility", "gradcam"), seed)
    unlearnt_unoise = bundle.shuffled((*bundle.manifest.noise_models.values(),), seed)
    checks = []
    for s in at:
        one, organ = slices[s], found[s]
        noisy = _noisy(one, bundle, seed)
        broken = SameArea(unlearnt, int(organ.sum())) if unlearnt else None
        for name in maps:
            if name not in methods and name not in BASELINES:
                continue
            for title, again in _questions(name, one, organ, noisy, bundle, broken, unlearnt_unoise, methods, seed):
                pair = maps[name][s], again()
                checks.append(Check(name, title, s, spearman(*pair)))
                if title == EXPLAINER:
                    checks.append(Check(name, BEYOND, s, spearman(*(unexplained(one, organ, m) for m in pair))))
            advance(1 / len(maps))
    return checks


def _questions(
    name: str,
    one: LabelledItem,
    organ: np.ndarray,
    noisy: LabelledItem,
    bundle: Bundle,
    broken: SameArea | None,
    broken_unoise: Bundle,
    methods: Mapping[str, Method],
    seed: int,
) -> list[tuple[str, Callable[[], np.ndarray]]]:
    """(what is checked, how the map is made again)"""

    def explained(model: Segmenter, this: LabelledItem, scores: np.ndarray | None = None) -> np.ndarray:
        image = this.image[None]
        return methods[name](model, image, Target(model.predict(image) if scores is None else scores), silent)[0]

    def measured(model: Segmenter, this: LabelledItem) -> np.ndarray:
        return BASELINES[name](this, model.predict(this.image[None])[0, 0] > 0, seed)

    if name in BASELINES:
        asked = [] if name == "random" else [(stability_of(bundle), lambda: measured(bundle, noisy))]
        return asked + ([(UTILITY, lambda: measured(broken, one))] if broken and name == "distance" else [])
    again = [(stability_of(bundle), lambda: explained(bundle, noisy))]
    if methods[name].needs in LEARNT:
        again += [(EXPLAINER, lambda: explained(broken_unoise, one))]
    if broken is None:
        return again
    if methods[name].needs in (GRADCAM, GRADIENT):  # the same question: the score sums the same pixels
        return [*again, (UTILITY, lambda: explained(broken, one, np.where(organ, 1.0, -1.0)[None, None]))]
    return [*again, (UTILITY, lambda: explained(broken, one))]


def _without_weights(bundle: Bundle, models: Sequence[str], seed: int) -> Bundle | None:
    """None, and a line, for a model that has no weights to shuffle."""
    try:
        return bundle.shuffled(models, seed)
    except ValueError as error:
        print(f"no check with shuffled weights: the model {error}", file=sys.stderr)
        return None


def check_measures(checks: Sequence[Check], slices: Sequence[LabelledItem], seed: int, resamples: int) -> list[Measure]:
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


def stability_of(bundle: Bundle) -> str:
    """What the noise is that a map of this model is made again under."""
    return STABILITY if isinstance(bundle.recipe, Recipe) else STABILITY_ELSEWHERE


def _noisy(one: LabelledItem, bundle: Bundle, seed: int) -> LabelledItem:
    """The item with white noise, as much more as `NOISE_HU` or `NOISE_SHARE`, in the units the model sees."""
    recipe, shape = bundle.recipe, (-1, *[1] * one.organ.ndim)
    size: np.ndarray | np.float32 = np.float32(NOISE_SHARE * body_of(one.image)[1])
    if isinstance(recipe, Recipe):
        low, high = recipe.window_hu
        size = NOISE_HU / (high - low) / np.asarray(recipe.std, np.float32).reshape(shape)
    noise = chance(seed, one, "stability").standard_normal(one.organ.shape).astype(np.float32)
    return replace(one, image=(one.image + size * noise).astype(np.float32))
