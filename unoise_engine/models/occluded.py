"""A slice's layers, kept so that an occluded patch is computed only where it changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from unoise_engine.models.runtime import onnxruntime


class Clean:
    """What every layer of the utility says about a slice (c, h, w) when nothing is hidden."""

    def __init__(self, image: np.ndarray, session: onnxruntime.InferenceSession):
        names = [port.name for port in session.get_outputs()]
        self.image = image.copy()
        self.layers = dict(zip(names, session.run(names, {"slices": image[None]})))
        self.logits = self.layers.pop("logits")[0]

    def is_of(self, image: np.ndarray) -> bool:
        return np.array_equal(self.image, image)

    def occluded(
        self,
        session: onnxruntime.InferenceSession,
        place: tuple[int, int],
        patch: int,
        fill: float,
        region: tuple[int, int, int, int],
    ) -> np.ndarray:
        """Logits (1, h, w) with a square of `patch` pixels set to `fill`, first row and column `place`.

        Outside the region (first row, first column, first row and column not any more) they stay as they were.
        """
        feeds = self.feeds(place, patch, fill, region)
        part, (top, left, bottom, right) = session.run(["logits", "window"], feeds)
        logits = self.logits.copy()
        logits[:, top:bottom, left:right] = part[0]
        return logits

    def feeds(
        self, place: tuple[int, int], patch: int, fill: float, region: tuple[int, int, int, int]
    ) -> dict[str, np.ndarray]:
        """What the graph of an occluded patch is given."""
        (row, column), (c, h, w) = place, self.image.shape
        hidden = np.full((1, c, min(patch, h - row), min(patch, w - column)), fill, np.float32)
        return {"patch": hidden, "place": np.array(place), "region": np.array(region), **self.layers}
