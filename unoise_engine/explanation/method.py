"""What an explanation method is: items in, one importance map an item out."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np

from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import Segmenter

# So many items' worth of work was done; a method may add a `note` for whoever watches. It may raise
# progress.Enough: a method that gets better step by step then keeps what there is.
Advance = Callable[..., None]


def silent(_: float, note: str = "") -> None:
    """An `Advance` that tells nobody."""


class Method(Protocol):
    """A way to explain: a frozen dataclass whose fields are its parameters, which check themselves (Usage).

    `ends`, where there are any, say in a few words what 0 and the largest value mean, for the colour bar.
    """

    name: ClassVar[str]  # in options, files and reports
    title: ClassVar[str]  # for people
    about: ClassVar[str]  # one sentence: what the map shows
    unit: ClassVar[str]  # of the map's values, as short as a legend has room for
    needs: ClassVar[str]  # what the segmenter must be able to answer (models/segmenter.py); empty: any will do
    chosen: ClassVar[bool]  # whether it is used where nobody chooses

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        """Items x (k, c, *s) and what of the prediction is asked about -> maps (k, *s) float32.

        Larger means more important; magnitudes are kept, so that items can be compared. Finite everywhere. An item on
        which the model finds nothing gets zeros from methods that ask about what was found. `advance` is called with
        1.0 in sum for each item.
        """
        ...
