"""A label map on the painter's grid: 3 x 2 x 2 mm, LPS order, tissues for numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.lab.painted.names import Names
from unoise_engine.lab.painted.tissues import Tissue, tissue_of
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import AxialView

STEP_MM = (3.0, 2.0, 2.0)  # (z, y, x) of everything that is painted
SMALLEST_ML = 2.0  # of pancreas: less is a map of something else


def read_map(path: Path, names: Names) -> np.ndarray:
    """(z, y, x) uint8 tissues, nearest neighbour.

    Raises CaseRefused: NO_PANCREAS, and whatever `read_image` refuses.
    """
    volume = read_image(path)
    view = AxialView.of(volume.grid)
    upright = view.apply(volume.voxels)
    picks = [
        np.minimum(((np.arange(round(n * mm / step)) + 0.5) * step / mm).astype(int), n - 1)
        for n, mm, step in zip(upright.shape, view.spacing_mm, STEP_MM)
    ]
    coarse = upright[np.ix_(*picks)]
    tissue = np.zeros(coarse.shape, dtype=np.uint8)
    for number in np.unique(coarse):
        name = names.get(int(number))
        if name is not None and (kind := tissue_of(name)):
            tissue[coarse == number] = kind
    found_ml = (tissue == Tissue.PANCREAS).sum() * np.prod(STEP_MM) / 1000
    if found_ml < SMALLEST_ML:
        what = f"shows {found_ml:.1f} ml of pancreas"
        raise CaseRefused("NO_PANCREAS", path, what, "check its table of label names, or leave it out")
    return tissue
