"""The memory that a CT of 512 x 512 x 300 voxels takes with an imported model that sees every voxel:
python -m Testing.benchmarks.foreign_memory [LABELS] [WINDOW]

The net is small, its windows and labels as many as a large model's: what is measured is everything around the net.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from Testing.engine.models.foreign_net import write_foreign
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.preparation import Preparation, Resampling, Step, Window
from unoise_engine.volume.volume import Grid, Volume


def main(labels: int = 25, side: int = 128) -> None:
    grid = Grid((512, 512, 300), (0.8, 0.8, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    voxels = np.random.default_rng(0).integers(-200, 300, grid.shape, np.int16)
    steps = (Step("clip", (-200, 300)), Step("normalise", (50, 100)), Step("resample"))
    window = Window((side,) * 3, 0.5, "nnunet", "gaussian-nnunet")
    recipe = Preparation("kji", 3, (1.1, 0.8, 0.8), steps, Resampling(order=3), window)
    with tempfile.TemporaryDirectory() as home:
        bundle = load_bundle(write_foreign(Path(home), recipe, count=labels), "cpu", label="one", tried=True)
        began = time.perf_counter()
        for name, result in explain_volume(Volume(voxels, grid), bundle, Settings(("gradcam",))):
            found = sum(np.count_nonzero(one) for one in result.slices())
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
            print(f"{name}: {found} voxels, {time.perf_counter() - began:.0f} s, at most {peak:.2f} GiB so far")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
