"""One window centred on the label instead of all: what can be afforded where a window takes long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.method import Advance, Method
from unoise_engine.explanation.overlap import overlap
from unoise_engine.explanation.target import Target
from unoise_engine.models.preparation import Window
from unoise_engine.models.segmenter import Region, Segmenter
from unoise_engine.models.windowed import Windowed

AGREES = 0.9  # dice of the window's own prediction with the whole one; less is said


@dataclass(frozen=True, eq=False)
class Focus:
    """The window `box` of a block, and how well it stands for the whole.

    A net that normalises by what its window shows answers otherwise where the window lies elsewhere: `dice` is that of
    the window's own prediction with the whole one, within the window; `share` is the part of the label that it holds.
    """

    box: Region
    dice: float
    share: float

    @staticmethod
    def on(model: Segmenter, x: np.ndarray, target: Target) -> Focus | None:
        """On the label's middle; None where nothing was found. Raises Usage for a model that has no windows of its own.

        `x` (1, c, d, h, w) is a block.
        """
        if not isinstance(model, Windowed) or not model.recipe.window.size or x.ndim != 5:
            cure = "leave it out, or give an imported model of blocks"
            raise Usage("--focus", "is for models that look at a block window by window", cure)
        organ = target.mask[0, 0]
        if not organ.any():
            return None
        box = window_on(model.recipe.window, organ)
        inside = organ[box]
        seen = model.predict(x[(slice(None), slice(None), *box)])[0, 0] > 0
        return Focus(box, float(overlap(seen[None], inside)[0]), float(inside.sum() / organ.sum()))

    def map(self, method: Method, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        """As the method itself, within the window; 0 elsewhere."""
        inside = (slice(None), slice(None), *self.box)
        found = np.zeros((1, *x.shape[2:]), np.float32)
        found[(slice(None), *self.box)] = method(model, x[inside], Target(target.scores[inside]), advance)
        return found

    @property
    def told(self) -> dict[str, Any]:
        """For the report."""
        first, last = ([getattr(s, end) for s in self.box] for end in ("start", "stop"))
        return {"window": [first, last], "dice_with_whole": round(self.dice, 4), "share_of_label": round(self.share, 4)}

    @property
    def doubts(self) -> list[str]:
        found = []
        if self.dice < AGREES:
            found.append(
                f"The window that was looked at finds the label otherwise than the whole does (dice {self.dice:.2f}): "
                "its maps explain the window's own answer."
            )
        if self.share < AGREES:
            found.append(f"The window that was looked at holds {self.share:.0%} of the label.")
        return found


def window_on(window: Window, organ: np.ndarray) -> Region:
    """The box of one window's answer, centred on the organ (d, h, w) bool as far as the block allows."""
    middle = [int(np.round(np.mean(where))) for where in np.nonzero(organ)]
    core = [n - 2 * m for n, m in zip(window.size, window.margin or (0, 0, 0))]
    first = [max(0, min(m - c // 2, n - c)) for m, c, n in zip(middle, core, organ.shape)]
    return tuple(slice(f, min(f + c, n)) for f, c, n in zip(first, core, organ.shape))
