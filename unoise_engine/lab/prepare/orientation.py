"""How a label array lies on its CT, found by looking at both: headers of some sets are wrong, so none is believed.

NIH Pancreas-CT ships labels whose axes are flipped against the images. Every way to lay the label on the CT (mirrored
along each axis, rows and columns swapped) is tried, and scored by what an outline drawn around an organ must show: soft
tissue inside, and less of it just outside. Fat surrounds the pancreas; an outline that landed in the liver or a kidney
has soft tissue on both sides, one that landed elsewhere has fat, gas or bone inside.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from unoise_engine.volume.distance import signed_distance

SOFT_HU = (-20.0, 220.0)  # parenchyma in any contrast phase, with the noise of a single voxel
SHELL_PX = (2.0, 5.0)  # outside the outline: what is looked at, beyond the voxel that an outline may be off
LEAST_INSIDE = 0.7  # share of soft tissue in a label that fits
LEAST_LEAD = 0.06  # of the best over the second
PARTS = 3  # of the CT along its length, which must agree by majority


@dataclass(frozen=True)
class Lay:
    """One way to lay a label array (z, y, x) on a CT array: rows and columns swapped first, then mirrored."""

    swapped: bool
    mirrored: tuple[bool, bool, bool]  # along z, y, x

    def apply(self, labels: np.ndarray) -> np.ndarray:
        """As a view."""
        turned = labels.transpose(0, 2, 1) if self.swapped else labels
        return turned[tuple(slice(None, None, -1) if m else slice(None) for m in self.mirrored)]

    def __str__(self) -> str:
        axes = [axis for axis, m in zip(("slices", "rows", "columns"), self.mirrored) if m]
        words = (["rows and columns swapped"] if self.swapped else []) + [f"{axis} mirrored" for axis in axes]
        return ", ".join(words) or "as stored"


@dataclass(frozen=True)
class Score:
    """Shares of soft tissue."""

    lay: Lay
    inside: float
    around: float
    parts: tuple[float, ...]  # inside - around, in each part of the CT's length

    @property
    def value(self) -> float:
        return self.inside - self.around


@dataclass(frozen=True)
class Finding:
    """All ways tried, best first; `lay` is the one that the evidence allows, or None."""

    scores: tuple[Score, ...]
    lay: Lay | None
    why: str

    def to_dict(self) -> dict[str, Any]:
        """For the record: the proof."""
        tried = [
            {"lay": str(s.lay), "soft_inside": round(s.inside, 4), "soft_around": round(s.around, 4)}
            for s in self.scores
        ]
        return {"chosen": None if self.lay is None else str(self.lay), "why": self.why, "tried": tried}


def find_lay(hu: np.ndarray, organ: np.ndarray) -> Finding:
    """CT (z, y, x) in HU and the organ's mask in its own array, of equal counts -> how the mask lies on the CT.

    Raises ValueError for counts that fit in no way.
    """
    lays = list(_lays(hu.shape, organ.shape))
    if not lays:
        raise ValueError(f"a label of {organ.shape} fits no CT of {hu.shape}")
    inside, around = np.argwhere(organ), np.argwhere(_shell(organ))
    scores = sorted((_score(hu, organ.shape, inside, around, lay) for lay in lays), key=lambda s: -s.value)
    best = scores[0]
    if best.inside < LEAST_INSIDE:
        return Finding(tuple(scores), None, f"at best {best.inside:.0%} of the labelled voxels are soft tissue")
    if len(scores) == 1:
        return Finding(tuple(scores), best.lay, "there is one way only")
    second = scores[1]
    lead = best.value - second.value
    won = sum(a > b for a, b in zip(best.parts, second.parts))
    told = f"{best.value:.3f} against {second.value:.3f} ({second.lay}) in soft tissue inside less around"
    if lead < LEAST_LEAD or 2 * won <= len(best.parts):
        return Finding(tuple(scores), None, f"two ways fit about equally: {best.lay} with {told}")
    return Finding(tuple(scores), best.lay, f"{told}, better in {won} of {len(best.parts)} parts of the CT")


def _lays(ct: tuple[int, ...], label: tuple[int, ...]) -> Iterator[Lay]:
    """Those that bring the label to the CT's counts; an axis of one voxel is not mirrored."""
    for swapped in (False, True):
        if (label if not swapped else (label[0], label[2], label[1])) != ct:
            continue
        for z, y, x in itertools.product(*((False, True) if n > 1 else (False,) for n in ct)):
            yield Lay(swapped, (z, y, x))


def _shell(organ: np.ndarray) -> np.ndarray:
    """In plane, outside the outline."""
    shell = np.zeros_like(organ)
    for k in np.flatnonzero(organ.any(axis=(1, 2))):
        rows, columns = (np.flatnonzero(organ[k].any(axis=axis)) for axis in (1, 0))
        reach = int(SHELL_PX[1]) + 1
        box = tuple(slice(max(0, int(line[0]) - reach), int(line[-1]) + reach + 1) for line in (rows, columns))
        if not organ[k][box].all():
            away = -signed_distance(organ[k][box])
            shell[k][box] = (away >= SHELL_PX[0]) & (away <= SHELL_PX[1])
    return shell


def _score(hu: np.ndarray, shape: tuple[int, ...], inside: np.ndarray, around: np.ndarray, lay: Lay) -> Score:
    soft_in, at = _soft(hu, shape, inside, lay)
    soft_out, beside = _soft(hu, shape, around, lay)
    edges = np.linspace(at.min(), at.max() + 1, PARTS + 1)
    parts = []
    for low, high in itertools.pairwise(edges):
        mine, others = (at >= low) & (at < high), (beside >= low) & (beside < high)
        if mine.any() and others.any():
            parts.append(float(soft_in[mine].mean() - soft_out[others].mean()))
    return Score(lay, float(soft_in.mean()), float(soft_out.mean()) if len(soft_out) else 1.0, tuple(parts))


def _soft(hu: np.ndarray, shape: tuple[int, ...], points: np.ndarray, lay: Lay) -> tuple[np.ndarray, np.ndarray]:
    """Whether the CT shows soft tissue at the label's points (n, 3), and their slices in the label."""
    z, y, x = points.T
    at = [z, x, y] if lay.swapped else [z, y, x]
    counts = (shape[0], shape[2], shape[1]) if lay.swapped else shape
    at = [n - 1 - i if m else i for i, n, m in zip(at, counts, lay.mirrored)]
    values = hu[tuple(at)]
    return (values > SOFT_HU[0]) & (values < SOFT_HU[1]), z
