"""How good the segmentation itself is, before anything is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unoise_engine.evaluate.data import Scan
from unoise_engine.evaluate.interval import Bootstrap, Estimate
from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.segment import Prediction

MEAN_DICE, LEAST_DICE = "slice dice, mean over patients", 0.1


@dataclass(frozen=True)
class CaseResult:
    """One case. Slices are judged on the model's grid, volumes on the CT's own."""

    case: str
    patient: str
    slices: int
    slices_with_organ: int
    slice_dice: float  # mean over the slices with organ
    pooled_dice: float  # of those slices together
    volume_dice: float  # of the whole CT
    true_ml: float
    found_ml: float
    false_ml: float  # found on slices without organ; NaN where there is none
    shared: int  # pixels of the pooled dice: both
    total: int  # sum of both masks


def judge(scan: Scan, prediction: Prediction) -> CaseResult:
    """What `segment` finds in all slices of a case, cleaned up: what `explain` delivers."""
    found = np.stack([plane > 0 for plane in prediction.cleaned])
    on_ct = np.stack([*prediction.mask(1).slices()]) > 0
    shows = scan.organ.any(axis=(1, 2))
    truly = scan.truth.any(axis=(1, 2))
    a, b = found[shows], scan.organ[shows]
    shared, total = int((a & b).sum()), int(a.sum() + b.sum())
    ml = scan.ct.grid.voxel_ml
    return CaseResult(
        case=scan.entry.name,
        patient=scan.entry.patient,
        slices=len(found),
        slices_with_organ=int(shows.sum()),
        slice_dice=float(np.mean([dice(x, y) for x, y in zip(a, b)])) if shows.any() else float("nan"),
        pooled_dice=2 * shared / total if total else float("nan"),
        volume_dice=dice(on_ct, scan.truth),
        true_ml=float(scan.truth.sum() * ml),
        found_ml=float(on_ct.sum() * ml),
        false_ml=float(on_ct[~truly].sum() * ml) if not truly.all() else float("nan"),
        shared=shared,
        total=total,
    )


def summarise(results: Sequence[CaseResult], seed: int, resamples: int) -> dict[str, Estimate]:
    """Means over the cases of a patient, then over patients; the pooled dice over all slices of all patients."""
    rows: dict[str, Estimate] = {}
    by_patient: dict[str, list[CaseResult]] = {}
    for result in results:
        by_patient.setdefault(result.patient, []).append(result)
    people = [by_patient[name] for name in sorted(by_patient)]
    measures = {
        MEAN_DICE: "slice_dice",
        "pooled dice": "",
        "volume dice": "volume_dice",
        "organ, truth (ml)": "true_ml",
        "organ, found (ml)": "found_ml",
        "false organ on slices without organ (ml)": "false_ml",
    }
    for title, field in measures.items():
        if not field:
            shared = np.array([sum(2.0 * r.shared for r in person) for person in people])
            total = np.array([float(sum(r.total for r in person)) for person in people])
            rows[title] = Bootstrap(len(people), seed, resamples).estimate(shared, total)
            continue
        values = [np.array([getattr(r, field) for r in person]) for person in people]
        means = np.array([v[~np.isnan(v)].mean() for v in values if not np.isnan(v).all()])
        if len(means):
            rows[title] = Bootstrap(len(means), seed, resamples).estimate(means)
    return rows


def finds_nothing(overall: Mapping[str, Estimate]) -> str:
    """A sentence for a model that segments nearly nothing of these cases; else empty."""
    told = overall.get(MEAN_DICE)
    if told is None or not told.value < LEAST_DICE:
        return ""
    return (
        f"The model finds nearly nothing of the organ here (mean dice {told.value:.3f}): there is nothing that a map "
        "could explain. Train the model longer, or look at the data and the labels."
    )


def as_row(result: CaseResult) -> dict[str, Any]:
    row = asdict(result)
    del row["shared"], row["total"]
    return row
