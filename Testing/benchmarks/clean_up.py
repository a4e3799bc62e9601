"""What a bundle's clean-up is worth on the whole CTs that steer a run: it is chosen on them, not on those that judge.

python -m Testing.benchmarks.clean_up DATA RUN [--bundle B] --try 2,0.5,8 --try 4,0.35,16

DATA holds the folders a run was trained on (``painted``, ``phantoms``), RUN/split.json says who steers. Each --try is
smooth_z_mm, probability and gap_mm (one piece); the bundle's own comes first. A row a try and set: volume dice, recall,
ml of false organ in slices without any, means over the volumes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Testing.benchmarks.real_ct import ORGAN, names
from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.segment import Prediction, segment
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.clean_up import CleanUp
from unoise_engine.models.given import own
from unoise_engine.models.input import Input
from unoise_engine.models.session import Bundle
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import AxialView

SLICES_A_STEP = 8


@dataclass(frozen=True)
class Steering:
    """A whole CT with its truth, and what the model says of each slice alone."""

    set: str
    found: Prediction
    truth: np.ndarray  # (n, rows, columns) bool, axial


def main() -> None:
    """The bundle's own clean-up first, then each that is tried; a line for each set of CTs."""
    words = argparse.ArgumentParser()
    words.add_argument("data", type=Path)
    words.add_argument("run", type=Path)
    words.add_argument("--bundle", default=DEFAULT_BUNDLE)
    words.add_argument("--try", dest="tries", action="append", type=read, default=[])
    asked = words.parse_args()
    bundle = load_bundle(asked.bundle, "cpu")
    split = json.loads((asked.run / "split.json").read_text("utf-8"))
    phases = json.loads((asked.data / "painted" / "painted.json").read_text("utf-8"))
    cts = [
        one
        for folder in ("painted", "phantoms")
        for one in steering(bundle, asked.data / folder, names(split, "val", folder), phases)
    ]
    for how in (bundle.manifest.clean_up, *asked.tries):
        for of in sorted({ct.set for ct in cts}):
            figures = [judge(ct, how, own(bundle.recipe).spacing_mm) for ct in cts if ct.set == of]
            found, recall, false = np.mean(figures, axis=0)
            print(f"{how}: {of}, {len(figures)} volumes: dice {found:.3f}, recall {recall:.3f}, false {false:.2f} ml")


def read(words: str) -> CleanUp:
    smooth, probability, gap = map(float, words.split(","))
    return CleanUp(smooth_z_mm=smooth, probability=probability, one_piece=True, gap_mm=gap)


def steering(bundle: Bundle, folder: Path, cases: list[str], phases: dict[str, dict[str, str]]) -> Iterator[Steering]:
    for case in cases:
        ct, labels = (read_image(folder / f"{case}-{what}.nii.gz") for what in ("ct", "labels"))
        truth = AxialView.of(labels.grid).apply(labels.voxels) == ORGAN
        found = segment(bundle, Input.of(ct, own(bundle.recipe)))
        yield Steering(phases.get(case, {}).get("phase", "phantoms"), found, truth)


def judge(one: Steering, how: CleanUp, pixel_mm: float) -> tuple[float, float, float]:
    """Dice, recall, and ml of organ in slices without any."""
    given = one.found.given
    cleaned, _ = how.apply(one.found.scores, given.slice_mm, pixel_mm, jumps=one.found.jumps)
    found = np.stack([*given.restore(cleaned, label=1).slices()]) > 0
    without = ~one.truth.any(axis=(1, 2))
    recall = np.count_nonzero(found & one.truth) / np.count_nonzero(one.truth)
    return dice(found, one.truth), recall, float(found[without].sum()) * given.ct.grid.voxel_ml


if __name__ == "__main__":
    main()
