"""Cleaning a segmentation up: named steps that a bundle asks for, done on the model's own grid before all else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

LARGEST_LOGIT = 16.0  # beyond it a probability cannot be told from 0 or 1 in float32


@dataclass(frozen=True)
class CleanUp:
    """What to do with the utility's logits; the defaults do nothing.

    ``smooth_z_mm`` is the standard deviation of a Gaussian across slices: a 2-D model sees no neighbours, so its
    slices vote with their probabilities. ``one_piece`` keeps the piece with the most probability; pieces nearer than
    ``gap_mm`` are one.
    """

    smooth_z_mm: float = 0.0
    one_piece: bool = False
    gap_mm: float = 0.0

    def __post_init__(self) -> None:
        for name in ("smooth_z_mm", "gap_mm"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"clean_up {name} must lie in 0 .. 100 mm: {getattr(self, name)}")

    def apply(self, logits: np.ndarray, slice_mm: float, pixel_mm: float) -> tuple[np.ndarray, float]:
        """Logits (n, h, w) of neighbouring axial slices -> cleaned logits and the share of organ that was dropped.

        What is dropped gets the opposite sign, so that results still interpolate smoothly.
        """
        logits = smooth_slices(logits, self.smooth_z_mm / slice_mm)
        if not self.one_piece or not (logits > 0).any():
            return logits, 0.0
        kept = one_piece(logits, slice_mm, pixel_mm, self.gap_mm)
        found = logits > 0
        dropped = float(np.count_nonzero(found & ~kept)) / float(np.count_nonzero(found))
        return np.where(found & ~kept, -logits, logits), dropped


def smooth_slices(logits: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of `sigma` slices along the first axis, of probabilities: a slice that is very sure has one vote.

    The ends repeat. Narrower than a fifth of a slice: unchanged.
    """
    if sigma < 0.2 or len(logits) < 2:
        return logits
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    sure = 1 / (1 + np.exp(-np.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT)))
    out = np.empty_like(logits)
    last = len(logits) - 1
    for k in range(len(logits)):
        voted = sum(w * sure[min(max(j, 0), last)] for w, j in zip(weights, range(k - reach, k + reach + 1)))
        voted = np.clip(voted, 1e-7, 1 - 1e-7)
        out[k] = np.log(voted / (1 - voted))
    return out


def one_piece(logits: np.ndarray, slice_mm: float, pixel_mm: float, gap_mm: float) -> np.ndarray:
    """Mask (n, h, w) of the connected piece of ``logits > 0`` whose probabilities sum to the most."""
    found = logits > 0
    image = sitk.GetImageFromArray(found.astype(np.uint8))
    grow = [round(gap_mm / 2 / mm) for mm in (pixel_mm, pixel_mm, slice_mm)]
    if any(grow):
        image = sitk.BinaryDilate(image, grow, sitk.sitkBox)
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))  # a copy: a view would outlive its image
    probability = 1 / (1 + np.exp(-np.clip(logits[found], 0, 30)))
    weight = np.bincount(pieces[found], weights=probability)
    weight[0] = 0
    return found & (pieces == int(weight.argmax()))
