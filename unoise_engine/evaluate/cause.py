"""Where the cause is known (planted CTs): how much of a map's importance falls on it, and how much on what looks alike.

The cause is the organ together with its landmark. Decoys look the same and decide nothing. All measures use the order
of the pixels alone, so maps of any scale compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unoise_engine.evaluate.curves import Measure
from unoise_engine.evaluate.interval import Bootstrap, Estimate
from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.ranking import ranks
from unoise_engine.explanation.slices import LabelledItem, Patients, chance

SOLVED = 0.5  # dice: where the model did not solve the task, there is nothing to explain
AREA = "precision-recall area, organ and landmark"
LANDMARK_AREA = "precision-recall area, landmark among all but the organ"
POINTING = "pointing: the most important pixel is on organ or landmark"
LANDMARK_POINTING = "pointing: of all but the organ, it is on the landmark"
APART = "landmark pixel ranks above a decoy's pixel"
SHARES = ("organ", "landmark", "decoys", "elsewhere")
TAKEN = "decoy organs taken for the target (share of their pixels)"


@dataclass(frozen=True)
class Cause:
    """Masks (h, w) bool of one slice; the organ is the slice's own."""

    landmark: np.ndarray
    decoys: np.ndarray


def share_name(part: str) -> str:
    return f"of the most important pixels, as many as the cause has: share on {part}"


def judge_cause(importance: np.ndarray, organ: np.ndarray, cause: Cause, tie: np.ndarray) -> dict[str, float]:
    """All measures of one map on one slice that shows organ and landmark."""
    placed = ranks(importance, tie)
    both = organ | cause.landmark
    best = placed < both.sum()
    inside = {"organ": organ, "landmark": cause.landmark & ~organ, "decoys": cause.decoys & ~both}
    on = {name: float(mask[best].mean()) for name, mask in inside.items()}
    on["elsewhere"] = 1 - sum(on.values())
    outside = ~organ
    among = _again(placed[outside])
    return {
        AREA: average_precision(placed, both),
        LANDMARK_AREA: average_precision(among, cause.landmark[outside]),
        POINTING: float(both.ravel()[placed.argmin()]),
        LANDMARK_POINTING: float(cause.landmark[outside][among.argmin()]),
        APART: above(placed[cause.landmark], placed[cause.decoys & ~both]),
        **{share_name(part): on[part] for part in SHARES},
    }


def average_precision(placed: np.ndarray, wanted: np.ndarray) -> float:
    """Area under the precision-recall curve: the mean, over the wanted pixels, of the precision down to each."""
    mine = np.sort(placed[wanted])
    return float(np.mean(np.arange(1, len(mine) + 1) / (mine + 1))) if len(mine) else float("nan")


def above(first: np.ndarray, second: np.ndarray) -> float:
    """How often a pixel of the first ranks above one of the second (lower rank); NaN where one is empty."""
    if not len(first) or not len(second):
        return float("nan")
    ordered = np.sort(second)
    return float((len(ordered) - np.searchsorted(ordered, first)).mean() / len(ordered))


def cause_measures(
    slices: Sequence[LabelledItem],
    causes: Sequence[Cause],
    found: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    seed: int,
    resamples: int,
) -> list[Measure]:
    """Means over patients, of the slices with organ and landmark on which the model solves the task."""
    shown = [
        one.organ.any() and c.landmark.any() and dice(f, one.organ) >= SOLVED
        for one, c, f in _zip(slices, causes, found)
    ]
    measures = [Measure("segmentation", "", "", TAKEN, _taken(slices, causes, found, seed, resamples), None)]
    values: dict[tuple[str, str], np.ndarray] = {}
    for s in [s for s, solved in enumerate(shown) if solved]:
        one = slices[s]
        tie = chance(seed, one, "ties").random(one.organ.shape, np.float32)
        for method, some in maps.items():
            for name, value in judge_cause(some[s], one.organ, causes[s], tie).items():
                values.setdefault((name, method), np.full(len(slices), np.nan))[s] = value
    first = next(iter(maps))
    for (name, method), found_values in values.items():
        patients = Patients.of(slices, ~np.isnan(found_values))
        strap = Bootstrap(len(patients.names), seed, resamples)
        mine = patients.mean(found_values)
        lead = None if method == first else strap.estimate(patients.mean(values[name, first]) - mine)
        measures.append(Measure(method, "", "", name, strap.estimate(mine), lead))
    return measures


def _taken(
    slices: Sequence[LabelledItem], causes: Sequence[Cause], found: Sequence[np.ndarray], seed: int, resamples: int
) -> Estimate:
    """On all slices with decoys."""
    values = np.full(len(slices), np.nan)
    for s, (one, cause, seen) in enumerate(_zip(slices, causes, found)):
        decoys = cause.decoys & ~one.organ & ~cause.landmark
        if decoys.any():
            values[s] = seen[decoys].mean()
    patients = Patients.of(slices, ~np.isnan(values))
    return Bootstrap(len(patients.names), seed, resamples).estimate(patients.mean(values))


def _zip(
    slices: Sequence[LabelledItem], causes: Sequence[Cause], found: Sequence[np.ndarray]
) -> list[tuple[LabelledItem, Cause, np.ndarray]]:
    return list(zip(slices, causes, found))


def _again(placed: np.ndarray) -> np.ndarray:
    """Ranks among fewer pixels: 0, 1, 2 ... in the same order."""
    again = np.empty(len(placed), np.int64)
    again[np.argsort(placed)] = np.arange(len(placed))
    return again
