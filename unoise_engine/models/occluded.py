"""A slice's layers, kept so that an occluded patch is computed only where it changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unoise_engine.errors import ModelFault
from unoise_engine.models.answers import ask, checked
from unoise_engine.models.segmenter import Region

if TYPE_CHECKING:
    from unoise_engine.models.runtime import onnxruntime


class Clean:
    """What every layer of the utility says about a slice (c, h, w) when nothing is hidden. Raises ModelFault."""

    def __init__(self, image: np.ndarray, session: onnxruntime.InferenceSession, path: Path):
        names = [port.name for port in session.get_outputs()]
        self.image = image.copy()
        self.layers = dict(zip(names, ask(path, session, names, {"slices": image[None]})))
        self.logits = checked(path, "logits", self.layers.pop("logits"), (1, *image.shape))[0]

    def is_of(self, image: np.ndarray) -> bool:
        return np.array_equal(self.image, image)

    def occluded(
        self,
        session: onnxruntime.InferenceSession,
        path: Path,
        place: np.ndarray,
        patch: int,
        fill: float,
        region: Region,
    ) -> np.ndarray:
        """Logits (1, h, w) with a square of `patch` pixels set to `fill`, first row and column `place`.

        Outside the region they stay as they were. Raises ModelFault.
        """
        part, window = ask(path, session, ["logits", "window"], self.feeds(place, patch, fill, region))
        logits, wanted = self.logits.copy(), window.shape == (4,) and window.dtype.kind == "i"
        top, left, bottom, right = window.tolist() if wanted else (-1,) * 4
        if not (0 <= top <= bottom <= logits.shape[1] and 0 <= left <= right <= logits.shape[2]):
            raise ModelFault(path, "answers for a place outside the slice: window", "do not use this model")
        logits[:, top:bottom, left:right] = checked(path, "logits", part, (1, 1, bottom - top, right - left))[0]
        return logits

    def feeds(self, place: np.ndarray, patch: int, fill: float, region: Region) -> dict[str, np.ndarray]:
        """What the graph of an occluded patch is given."""
        (row, column), (c, h, w), (rows, columns) = place, self.image.shape, region
        hidden = np.full((1, c, min(patch, h - row), min(patch, w - column)), fill, np.float32)
        box = np.array([rows.start, columns.start, rows.stop, columns.stop])
        return {"patch": hidden, "place": np.asarray(place, np.int64), "region": box, **self.layers}
