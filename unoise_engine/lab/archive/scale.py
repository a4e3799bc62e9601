"""How large a pixel is, where nobody wrote it down: from the width of the torso.

Two guesses are equally poor: that every patient was scanned with the set's usual spacing, and that every torso has
the same width (the radiographer fits the field of view to the patient, so both hold in part). Their geometric mean
is taken, within the range that abdominal CT uses; training adds a random scale on top (recipe, [augment] scale).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

USUAL_MM = 0.80  # a body CT's pixel: the NIH Pancreas-CT series have 0.66 to 0.98 mm
TORSO_MM = 293.0  # muscle to muscle, at the pancreas: the median of the 45 NIH patients at the usual spacing
RANGE_MM = (0.66, 0.98)
SOFT_HU = 20  # muscle and organs lie above, fat and air below


def torso_px(image: np.ndarray) -> int:
    """Width of the ring of muscle and ribs in a slice (h, w) of HU, skin and table left out; 0 if there is none."""
    soft = sitk.GetImageFromArray((image > SOFT_HU).astype(np.uint8))
    n = image.shape[1]
    close, open_ = max(1, n // 64), max(1, n // 42)  # gaps between muscles are closed, the table's thin shell opened
    soft = sitk.ConstantPad(soft, [close] * 2, [close] * 2)
    filled = sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(soft, [close] * 2))
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.BinaryMorphologicalOpening(filled, [open_] * 2)))
    columns = np.flatnonzero((sitk.GetArrayViewFromImage(parts) == 1).any(axis=0))
    return int(columns[-1] - columns[0] + 1) if len(columns) else 0


def guess_spacing_mm(frames: Sequence[np.ndarray]) -> float:
    """Pixel spacing of one patient's whole frames (h, w). A ring that is open in a slice reads too narrow there."""
    widths = [torso_px(frame) for frame in frames]
    width = float(np.percentile(widths, 75)) if widths else 0.0
    if not width:
        return USUAL_MM
    return float(np.clip(np.sqrt(USUAL_MM * TORSO_MM / width), *RANGE_MM))
