"""What is judged: labelled items, slices or blocks as the model sees them, and whose they are."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class HidingUnits:
    """What hides voxels, in units of the model's input: the value that says nothing, and the unit of noise. Those of
    the models trained here are 0 and 1, by their normalisation."""

    grey: float = 0.0
    noise: float = 1.0


@dataclass(frozen=True)
class LabelledItem:
    """A plane that the model is given, or a block. `index` is the plane's, or that of the block's middle; axial slices
    are counted from the feet of their case."""

    case: str
    patient: str
    index: int
    image: np.ndarray  # (c, *s) float32, normalised by the model's recipe
    organ: np.ndarray  # (*s) bool, the truth
    side_mm: tuple[float, ...] = (1.0, 1.0)  # of a pixel or voxel, along each axis of s
    scale: HidingUnits = HidingUnits()

    @property
    def image_plane(self) -> np.ndarray:
        """To look at, (h, w): the mean of the channels; of a block the plane that shows most of the organ."""
        return self.plane(self.image.mean(axis=0))

    def plane(self, values: np.ndarray) -> np.ndarray:
        """Of values (*s) the same plane."""
        if values.ndim == 2:
            return values
        return values[int(self.organ.sum(axis=(1, 2)).argmax())]

    @property
    def name(self) -> str:
        return f"{self.case} slice {self.index + 1}"


def chance(seed: int, one: LabelledItem, purpose: str, draw: int = 0) -> np.random.Generator:
    """Random numbers that depend on the slice's name and not on which others are evaluated beside it."""
    return np.random.default_rng([seed, zlib.crc32(f"{one.case}|{one.index}|{purpose}".encode()), draw])


def evenly(indices: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the indices, each from the middle of an equal part of them; 0 means all of them."""
    if not most or len(indices) <= most:
        return indices
    return indices[((np.arange(most) + 0.5) * len(indices) / most).astype(int)]


@dataclass(frozen=True)
class Patients:
    """Means over the slices of a case, then over the cases of a patient: so no patient counts for its many slices."""

    names: tuple[str, ...]
    weights: np.ndarray  # (patients, slices), rows sum to 1

    @staticmethod
    def of(slices: Sequence[LabelledItem], use: np.ndarray | None = None) -> Patients:
        """`use` (slices,) bool leaves slices out, and with them patients that have no other."""
        used = np.ones(len(slices), bool) if use is None else use
        chosen = [(one.patient, one.case) for one, u in zip(slices, used) if u]
        names = tuple(sorted({patient for patient, _ in chosen}))
        weights = np.zeros((len(names), len(slices)))
        for row, name in enumerate(names):
            cases = sorted({case for patient, case in chosen if patient == name})
            for case in cases:
                mine = np.array([u and one.case == case and one.patient == name for one, u in zip(slices, used)])
                weights[row, mine] += 1 / (len(cases) * mine.sum())
        return Patients(names, weights)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(slices, ...) -> (patients, ...); values of slices that are left out may be NaN."""
        flat = np.where((self.weights.sum(axis=0) > 0)[:, None], values.reshape(len(values), -1), 0)
        return (self.weights @ flat).reshape(len(self.names), *values.shape[1:])


def facts(slices: Sequence[LabelledItem]) -> dict[str, Any]:
    return {
        "patients": len({one.patient for one in slices}),
        "cases": len({one.case for one in slices}),
        "slices": len(slices),
    }
