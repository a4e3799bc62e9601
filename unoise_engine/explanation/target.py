"""Which part of a prediction a map explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Target:
    """The voxels where the model finds the label, by its own scores (k, 1, *s): those above 0.

    The prediction is asked about, since a CT comes without ground truth. Items that clean-up has emptied are below 0
    everywhere.
    """

    scores: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """(k, 1, *s) bool."""
        return self.scores > 0

    @property
    def found(self) -> np.ndarray:
        """(k,) bool: which items show any of it."""
        return np.array([mask.any() for mask in self.mask], bool)
