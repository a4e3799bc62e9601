"""Dice of a bundle on synthetic CTs it was not trained on: python Testing/benchmarks/held_out_phantoms.py

Makes COUNT phantoms of a seed that no training used, segments each on its own grid, and prints dice per volume, mean,
spread and range; with --json FILE also the figures that `unoise_engine export --metrics` puts into bundle.json.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.settings import Settings
from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.lab.phantom.labels import LABELS
from unoise_engine.lab.phantom.write import case_seed
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--bundle", default=DEFAULT_BUNDLE)
    words.add_argument("--count", type=int, default=20)
    words.add_argument("--seed", type=int, default=9001)
    words.add_argument("--json")
    asked = words.parse_args()
    bundle, figures = load_bundle(asked.bundle, "cpu"), []
    for index in range(asked.count):
        phantom = synthesise(case_seed(asked.seed, index))
        (_, found) = next(explain_volume(phantom.ct, bundle, Settings(("unoise",))))
        figures.append(dice(found.voxels > 0, phantom.labels.voxels == LABELS[bundle.manifest.organ]))
        print(f"case {index:2d}  {phantom.phase:15s} {figures[-1]:.3f}", flush=True)
    summary = {
        "data": f"{asked.count} held-out synthetic CTs, seed {asked.seed}",
        "dice_mean": round(float(np.mean(figures)), 3),
        "dice_sd": round(float(np.std(figures, ddof=1)), 3),
        "dice_min": round(float(min(figures)), 3),
        "dice_max": round(float(max(figures)), 3),
    }
    print(summary)
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:
            json.dump({"held_out": summary}, file)


if __name__ == "__main__":
    main()
