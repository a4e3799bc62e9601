"""What an explanation method is: slices in, one importance map a slice out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np


class Model(Protocol):
    """What a method may ask of the model; `bundle.session.Bundle` is one.

    Slices are (n, c, h, w) float32, normalised by the model's recipe; answers are (n, 1, h, w) float32.
    """

    @property
    def looks_at_logits(self) -> bool:
        """Whether the noise model is told what the utility found."""
        ...

    def predict(self, slices: np.ndarray) -> np.ndarray:
        """Logits of the organ; > 0 means organ."""
        ...

    def noise_logits(self, slices: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """U-Noise's z, given the organ's logits too; sigmoid(z) is the share of the largest noise a pixel can bear."""
        ...

    def occluded(
        self,
        image: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
        patch: int,
        fill: float,
        region: tuple[int, int, int, int] | None = None,
    ) -> np.ndarray:
        """Slice (c, h, w) -> logits (k, 1, h, w) with a square of `patch` pixels at each of k places set to `fill`.

        Outside the `region` (first row, first column, first row and column not any more) they are the slice's own.
        """
        ...

    def gradcam(self, slices: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Grad-CAM for the score sum(target * logits)."""
        ...


Advance = Callable[[float], None]  # so many slices' worth of work was done


def silent(_: float) -> None:
    """An `Advance` that tells nobody."""


class Method(Protocol):
    """A way to explain: what `METHODS` holds by name."""

    def __call__(self, model: Model, slices: np.ndarray, logits: np.ndarray, advance: Advance) -> np.ndarray:
        """Slices (n, c, h, w) and the model's own logits for them (n, 1, h, w) -> maps (n, h, w) float32.

        Larger means more important; magnitudes are kept, so that slices can be compared. Finite everywhere. A slice
        on which the model finds no organ gets zeros from methods that ask about the found organ. `advance` is called
        with 1.0 in sum for each slice.
        """
        ...
