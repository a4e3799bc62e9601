"""The measured figures as CSV: curves, summary, one line a patient, one line a case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.evaluate.curves import POINTS, Curves, Measure
from unoise_engine.evaluate.interval import Estimate
from unoise_engine.evaluate.sanity import Check
from unoise_engine.evaluate.segmentation import CaseResult, as_row
from unoise_engine.explanation.slices import LabelledItem
from unoise_engine.files import write
from unoise_engine.spreadsheet import csv_text


def write_tables(
    out: Path,
    curves: Curves,
    measures: Sequence[Measure],
    results: Sequence[CaseResult],
    overall: Mapping[str, Estimate],
) -> None:
    """OUT/curves.csv, summary.csv, per-patient.csv, segmentation.csv"""
    write_csv(out / "curves.csv", _curve_rows(curves))
    write_csv(out / "per-patient.csv", _patient_rows(curves))
    write_segmentation(out, results, overall, measures)


def write_segmentation(
    out: Path, results: Sequence[CaseResult], overall: Mapping[str, Estimate], measures: Sequence[Measure] = ()
) -> None:
    """OUT/summary.csv, segmentation.csv"""
    write_csv(out / "summary.csv", [*_segmentation_rows(overall), *map(_measure_row, measures)])
    write_csv(out / "segmentation.csv", [as_row(r) for r in results])


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Columns are those of the first row. Numbers with six digits; NaN is an empty cell."""
    rows = list(rows)
    columns = list(rows[0]) if rows else []
    write(path, csv_text([columns, *([row[key] for key in columns] for row in rows)], digits=6), replace=True)


def check_rows(checks: Sequence[Check], slices: Sequence[LabelledItem]) -> Iterable[dict[str, Any]]:
    for check in checks:
        one = slices[check.slice_index]
        yield {
            "case": one.case,
            "patient": one.patient,
            "slice": one.index + 1,
            "method": check.method,
            "check": check.name,
            "value": check.value,
        }


def _parts(prefix: str, estimate: Estimate | None) -> dict[str, float]:
    one = estimate or Estimate(np.nan, np.nan, np.nan)
    return {prefix: one.value, f"{prefix}_low": one.low, f"{prefix}_high": one.high}


def _measure_row(measure: Measure) -> dict[str, Any]:
    return {
        "method": measure.method,
        "fill": measure.fill,
        "ranking": measure.ranking,
        "measure": measure.name,
        **_parts("value", measure.estimate),
        **_parts("lead_of_first", measure.lead),
    }


def _segmentation_rows(overall: Mapping[str, Estimate]) -> Iterable[dict[str, Any]]:
    for name, estimate in overall.items():
        yield _measure_row(Measure("segmentation", "", "", name, estimate, None))


def _curve_rows(curves: Curves) -> Iterable[dict[str, Any]]:
    """`share` is kept or hidden, as `order` says; `visible` is what was seen in the mean."""
    answers = curves.answers
    full = float(curves.full.mean()) if len(curves.full) else np.nan
    for name in answers.names:
        for order, ranking, fill in _orders(curves):
            truth = curves.of_patients(name, ranking, fill, order)
            own = curves.of_patients(name, ranking, fill, order, "own")
            shown = curves.of_patients(name, ranking, fill, order, "shown")
            cm2 = np.array([[math.prod(one.side_mm) / 100] for one in answers.slices])
            false = curves.patients_empty.mean(answers.curve(name, ranking, fill, order, "found") * cm2)
            for k, share in enumerate(answers.how.ends(order)):
                estimate = curves.bootstrap.estimate(truth[:, k])
                yield {
                    "method": name,
                    "order": order,
                    "ranking": ranking,
                    "fill": fill,
                    "share": float(share),
                    "visible": float(shown[:, k].mean()) if len(shown) else np.nan,
                    **_parts("dice", estimate),
                    "dice_of_full": estimate.value / full if full else np.nan,
                    **_parts("dice_own", curves.bootstrap_own.estimate(own[:, k])),
                    **_parts("false_cm2", curves.bootstrap_empty.estimate(false[:, k])),
                }


def _orders(curves: Curves) -> list[tuple[str, str, str]]:
    kept = [("keep", ranking, fill) for ranking, fill in curves.combinations]
    how = curves.answers.how
    return kept + ([("hide", "image", fill) for fill in how.fills] if "image" in how.rankings else [])


def _patient_rows(curves: Curves) -> Iterable[dict[str, Any]]:
    for name in curves.answers.names:
        for ranking, fill in curves.combinations:
            truth = curves.of_patients(name, ranking, fill)
            own = curves.of_patients(name, ranking, fill, against="own")
            area, own_area = curves.area(truth), dict(zip(curves.patients_own.names, curves.area(own)))
            for p, patient in enumerate(curves.patients.names):
                yield {
                    "patient": patient,
                    "method": name,
                    "ranking": ranking,
                    "fill": fill,
                    "full_dice": float(curves.full[p]),
                    "area": float(area[p]),
                    "area_of_full": float(area[p] / curves.full[p]) if curves.full[p] else np.nan,
                    "area_own": float(own_area.get(patient, np.nan)),
                    **{f"dice_at_{100 * s:g}": float(curves.at(truth[p : p + 1], s)[0]) for s in POINTS},
                }
