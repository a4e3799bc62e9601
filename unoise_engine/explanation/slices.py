"""What is judged: labelled slices as the model sees them, and whose they are."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LabelledSlice:
    """One axial slice. `index` counts from the feet of its case."""

    case: str
    patient: str
    index: int
    image: np.ndarray  # (c, h, w) float32, normalised by the model's recipe
    organ: np.ndarray  # (h, w) bool, the truth
    pixel_mm2: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.case} slice {self.index + 1}"


def chance(seed: int, one: LabelledSlice, purpose: str, draw: int = 0) -> np.random.Generator:
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
    def of(slices: Sequence[LabelledSlice], use: np.ndarray | None = None) -> Patients:
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


def facts(slices: Sequence[LabelledSlice]) -> dict[str, Any]:
    return {
        "patients": len({one.patient for one in slices}),
        "cases": len({one.case for one in slices}),
        "slices": len(slices),
    }
