"""Cleaning a segmentation up: named steps that a bundle asks for, done on the model's own grid before all else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from unoise_engine.volume.scratch import Stack, room

LARGEST_LOGIT = 16.0  # beyond it a probability cannot be told from 0 or 1 in float32


@dataclass(frozen=True)
class CleanUp:
    """What to do with the utility's logits; the defaults do nothing.

    ``smooth_z_mm`` is the standard deviation of a Gaussian across slices: a 2-D model sees no neighbours, so its
    slices vote with their probabilities. ``probability`` is what a pixel then needs to be organ: below one half, the
    vote closes gaps of single slices. ``one_piece`` keeps the piece with the most probability; pieces nearer than
    ``gap_mm`` are one.
    """

    smooth_z_mm: float = 0.0
    probability: float = 0.5
    one_piece: bool = False
    gap_mm: float = 0.0

    def __post_init__(self) -> None:
        for name in ("smooth_z_mm", "gap_mm"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"clean_up {name} must lie in 0 .. 100 mm: {getattr(self, name)}")
        if not 0 < self.probability < 1:
            raise ValueError(f"clean_up probability must lie between 0 and 1: {self.probability}")

    def apply(
        self,
        logits: Stack,
        slice_mm: float,
        pixel_mm: float,
        folder: Path | None = None,
        jumps: np.ndarray | None = None,
    ) -> tuple[Stack, float]:
        """Logits (n, h, w) of neighbouring axial slices -> cleaned logits and the share of organ that was dropped.

        Cleaned logits are above 0 where organ is, whatever `probability` that asks for. What is dropped gets the
        opposite sign, so that results still interpolate smoothly. `logits` stay as they are; where they are many, the
        cleaned ones lie in a file in `folder`. No vote crosses the `jumps` of the CT (jumps.py).
        """
        logits = smooth_slices(logits, self.smooth_z_mm / slice_mm, folder, jumps)
        if self.probability != 0.5:
            logits = lowered(logits, float(np.log(self.probability / (1 - self.probability))), folder)
        if not self.one_piece:
            return logits, 0.0
        kept = one_piece(logits, slice_mm, pixel_mm, self.gap_mm)
        cleaned, found, dropped = room(kept.shape, folder), 0, 0
        for k, one in enumerate(logits):
            drop = (one > 0) & ~kept[k]
            cleaned[k] = np.where(drop, -one, one)
            found += int(np.count_nonzero(one > 0))
            dropped += int(np.count_nonzero(drop))
        return cleaned, dropped / max(found, 1)


def smooth_slices(logits: Stack, sigma: float, folder: Path | None = None, jumps: np.ndarray | None = None) -> Stack:
    """Gaussian of `sigma` slices along the first axis, of probabilities: a slice that is very sure has one vote.

    The ends repeat, and so does what lies at either side of a jump (n,) bool, which is one before its slice. Narrower
    than a fifth of a slice: unchanged.
    """
    if sigma < 0.2 or len(logits) < 2:
        return logits
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    n, h, w = logits.shape
    out = room((n, h, w), folder)

    @lru_cache(2 * reach + 1)
    def sure(k: int) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(logits[k], -LARGEST_LOGIT, LARGEST_LOGIT)))

    starts = np.flatnonzero(jumps) if jumps is not None else np.zeros(0, int)
    for k in range(n):
        first = int(starts[starts <= k].max(initial=0))
        last = int(starts[starts > k].min(initial=n)) - 1
        near = range(k - reach, k + reach + 1)
        voted = sum(weight * sure(min(max(j, first), last)) for weight, j in zip(weights, near))
        voted = np.clip(voted, 1e-7, 1 - 1e-7)
        out[k] = np.log(voted / (1 - voted))
    return out


def lowered(logits: Stack, by: float, folder: Path | None = None) -> Stack:
    """Logits (n, h, w) less `by`, slice by slice."""
    n, h, w = logits.shape
    out = room((n, h, w), folder)
    for k, one in enumerate(logits):
        out[k] = one - np.float32(by)
    return out


def one_piece(logits: Stack, slice_mm: float, pixel_mm: float, gap_mm: float) -> np.ndarray:
    """Mask (n, h, w) of the connected piece of ``logits > 0`` whose probabilities sum to the most.

    Only the box around all pieces is looked at: labels take four times the memory of a mask.
    """
    n, h, w = logits.shape
    mask = np.empty((n, h, w), bool)
    for k, one in enumerate(logits):
        np.greater(one, 0, out=mask[k])
    if not mask.any():
        return mask
    grow = [round(gap_mm / 2 / mm) for mm in (pixel_mm, pixel_mm, slice_mm)]
    box = _box(mask, grow[::-1])
    found = mask[box]
    image = sitk.GetImageFromArray(found.astype(np.uint8))
    if any(grow):
        image = sitk.BinaryDilate(image, grow, sitk.sitkBox)
    labelled = sitk.ConnectedComponent(image, True)
    pieces = sitk.GetArrayViewFromImage(labelled)
    values = np.concatenate([logits[box[0].start + k][box[1:]][one] for k, one in enumerate(found)])
    probability = 1 / (1 + np.exp(-np.clip(values, 0, 30)))
    weight = np.bincount(pieces[found], weights=probability)
    found &= pieces == weight.argmax()  # `found` is a view: what lies outside the box was no organ
    return mask


def _box(mask: np.ndarray, margin: Sequence[int]) -> tuple[slice, ...]:
    """The box around all that is true in (n, h, w), with a margin on each side, within the array."""
    ends = []
    for axis, beyond in enumerate(margin):
        there = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append(slice(max(int(there[0]) - beyond, 0), min(int(there[-1]) + 1 + beyond, mask.shape[axis])))
    return tuple(ends)
