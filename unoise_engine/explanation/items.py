"""What a method explains: the items of a CT, or some that are there already."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from unoise_engine.explanation.segment import Prediction
from unoise_engine.models.given import Given


class Items(Protocol):
    """What is explained: items (c, *s), each with the prediction (*s) bool that its map is about."""

    @property
    def rank(self) -> int: ...

    def __len__(self) -> int: ...

    def image(self, k: int) -> np.ndarray: ...

    def organ(self, k: int) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Items that are there already: x (k, c, *s), organs (k, *s)."""

    x: np.ndarray
    organs: np.ndarray

    @property
    def rank(self) -> int:
        return self.x.ndim - 2

    def __len__(self) -> int:
        return len(self.x)

    def image(self, k: int) -> np.ndarray:
        return self.x[k]

    def organ(self, k: int) -> np.ndarray:
        return self.organs[k]


@dataclass(frozen=True, eq=False)
class OfCT:
    """All items that a CT is cut into; their images are made when they are asked for."""

    given: Given
    found: Prediction

    @property
    def rank(self) -> int:
        return self.given.recipe.rank

    def __len__(self) -> int:
        return len(self.given)

    def image(self, k: int) -> np.ndarray:
        some = self._steps[k // self._each]
        return self.given.items(some)[k % self._each]

    def organ(self, k: int) -> np.ndarray:
        some = self._steps[0] if self.rank == 3 else slice(k, k + 1)
        mask: np.ndarray = self.found.target(some).mask[0, 0]
        return mask

    @cached_property
    def _steps(self) -> list[slice]:
        return [*self.given.steps()]

    @property
    def _each(self) -> int:
        """Items of a step; the last may have fewer."""
        return 1 if self.rank == 3 else self._steps[0].stop
