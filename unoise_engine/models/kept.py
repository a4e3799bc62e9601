"""Every channel that a model answered for a whole image, kept until its mask is laid on the image's own grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from unoise_engine.models.labels import Channels
from unoise_engine.models.preparation import Preparation
from unoise_engine.volume.scratch import Stack, room

MOST_BYTES = 2 << 30  # more channels than that are not kept: the margin of the label has to do


class Kept:
    """Stitched logits as planes (n, h, w) a channel.

    Where three labels meet, a label's margin interpolated is not the interpolated labels' margin: sources bring every
    channel back and decide then, and so does `mask`.
    """

    def __init__(self, channels: Channels, shape: tuple[int, int, int], folder: Path | None = None):
        self.channels = channels
        self.stacks: list[Stack] = [room(shape, folder) for _ in range(channels.count)]

    @staticmethod
    def for_(
        recipe: Preparation, shape: tuple[int, int, int], channels: Channels, folder: Path | None = None
    ) -> Kept | None:
        """None where it would change nothing, or take too much."""
        how, several = recipe.resampling, channels.exclusive and channels.count > 2
        needed = several and any(recipe.spacing_mm) and (how.back or how.back_apart)
        fits = 4 * channels.count * math.prod(shape) <= MOST_BYTES
        return Kept(channels, shape, folder) if needed and fits else None

    def take(self, n: int, logits: np.ndarray) -> None:
        """The n-th plane, (k, h, w)."""
        for stack, one in zip(self.stacks, logits):
            stack[n] = one

    def margin(self, backward: Callable[[np.ndarray, float], np.ndarray], probabilities: bool) -> np.ndarray:
        """On the CT's voxels (z, y, x) float32: above 0 where the label is; -1 where the model saw nothing.

        `backward` lays planes on these voxels, with a value for what the model saw nothing of; `probabilities`: these,
        not logits, are brought back.
        """
        total = self._total() if probabilities else None
        best: dict[bool, np.ndarray] = {}
        for k, stack in enumerate(self.stacks):
            planes, mine = np.asarray(stack[:]), k in self.channels.chosen
            if total is not None:
                planes = np.exp(planes - np.asarray(total[:]))
            one = backward(planes, -1.0 if mine else 0.0)
            best[mine] = np.maximum(best[mine], one, out=one) if mine in best else one
        return np.subtract(best[True], best[False], out=best[True])

    def _total(self) -> Stack:
        """The logarithm of the sum of all channels' exponentials."""
        first = self.stacks[0]
        total = np.empty(first.shape, np.float32)
        for n in range(len(first)):
            planes = np.stack([stack[n] for stack in self.stacks])
            top = planes.max(axis=0)
            total[n] = top + np.log(np.exp(planes - top).sum(axis=0))
        return total
