"""How far the learnt U-Noise is from the best map of a slice, and how much of that refining closes; seconds a slice.

python Testing/benchmarks/refined_maps.py ARCHIVE.npz [--patients 47,48] [--slices 1] [--steps 60] [--many 240]

Each patient's fullest slices. `gap` = (loss of the learnt map - least loss seen) / (loss of the best even map - least
loss seen); `closed` = the share of (learnt - least) that so many steps close. The least loss is that of `--many` steps,
or a lower one met on the way. All losses are measured with noise that nothing was learnt from.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from unoise_engine.explanation.refine import Look, RefinedUNoise
from unoise_engine.explanation.target import Target
from unoise_engine.lab.archive.slices import read_archive
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.given import own
from unoise_engine.models.input import Input
from unoise_engine.models.session import Bundle
from unoise_engine.volume.volume import Grid, Volume

PIXEL_MM = 0.8  # the archive stores none; of the series 0.66 to 0.98


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("archive", type=Path)
    words.add_argument("--patients", default="")
    words.add_argument("--slices", type=int, default=1)
    words.add_argument("--steps", type=int, default=60)
    words.add_argument("--many", type=int, default=240)
    words.add_argument("--bundle", default=DEFAULT_BUNDLE)
    asked = words.parse_args()
    bundle, archive = load_bundle(asked.bundle, "cpu", threads=1), read_archive(asked.archive)
    patients = [int(one) for one in asked.patients.split(",") if one] or archive.patients
    print("patient slice   ml/mm  even  learnt  refined   least    gap  closed  cpu-s", flush=True)
    rows = []
    for patient in patients:
        mine = archive.of(patient)
        fullest = sorted(mine, key=lambda k: int(archive.mask[k].sum()), reverse=True)[: asked.slices]
        for k in fullest:
            if row := _row(bundle, archive.frame(k)[0], asked.steps, asked.many):
                rows.append(row)
                print(f"{patient:7} {int(archive.instance[k]):5} " + _text(row), flush=True)
    print(f"{'mean':>13} " + _text(np.mean(rows, axis=0)), flush=True)


def _row(bundle: Bundle, hu: np.ndarray, steps: int, many: int) -> list[float]:
    size = (hu.shape[1], hu.shape[0], 1)
    grid = Grid(size, (PIXEL_MM, PIXEL_MM, 2.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    recipe = own(bundle.recipe)
    x = Input.of(Volume(hu[None].astype(np.float32), grid), recipe).items(slice(0, 1))
    target = Target(bundle.predict(x))
    if not target.found[0]:
        return []
    even = next(RefinedUNoise(learnt=False).looks(bundle, x, target)).loss
    began = time.process_time()
    short = [*RefinedUNoise(steps=steps).looks(bundle, x, target)]
    took = time.process_time() - began
    long: list[Look] = [*RefinedUNoise(steps=many).looks(bundle, x, target)] if many > steps else short
    learnt, refined = short[0].loss, min(look.loss for look in short)
    least = min(look.loss for look in (*short, *long))
    ml = float(target.mask.sum()) * recipe.spacing_mm**2 / 1000  # of a slice of 1 mm
    return [
        ml,
        even,
        learnt,
        refined,
        least,
        (learnt - least) / (even - least),
        (learnt - refined) / (learnt - least),
        took,
    ]


def _text(row: list[float] | np.ndarray) -> str:
    ml, even, learnt, refined, least, gap, closed, took = row
    return f"{ml:6.2f} {even:.4f} {learnt:.4f}   {refined:.4f}  {least:.4f}  {gap:5.2f}  {closed:5.0%}  {took:5.1f}"


if __name__ == "__main__":
    main()
