"""U-Noise made for one item: the published objective minimised on it, by gradient steps from the learnt map or none."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.hiding import body_of
from unoise_engine.explanation.method import Advance, silent
from unoise_engine.explanation.objective import Objective
from unoise_engine.explanation.target import Target
from unoise_engine.explanation.unoise import UNoise
from unoise_engine.models.enlarge import weights
from unoise_engine.models.segmenter import GRADIENT, NEAR, NOISE, Segmenter
from unoise_engine.progress import Enough
from unoise_engine.typed import bounded

RATE, DECAY = 0.5, (0.9, 0.99)  # Adam's step, and how slowly its means forget
LOOK_EVERY, LOOK_DRAWS = 10, 8  # steps between looks at the loss with noise that was not learnt from
PASSES_A_SLOPE = 5  # what a gradient costs, and the prediction before it, in passes forward
LEVELS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)  # even maps to begin with where nothing was learnt
FARTHEST = 12.0  # of z from 0: beyond, the noise changes no more
WORSE = 0.5  # a loss higher than the best by this share is no way to a lower one


@dataclass(frozen=True, eq=False)
class Look:
    """After so many steps: the map z (*s), and the loss with noise that was not learnt from."""

    step: int
    loss: float
    z: np.ndarray


@dataclass(frozen=True)
class RefinedUNoise:
    """importance = -z, z the map for which this model on this item bears most noise and still finds what it found.

    Adam moves the values of a grid with a value every `cell` voxels, linear between them, that is added to the map
    U-Noise learnt, or to an even one where the model has none. Each step draws new noise; every ten steps the loss is
    measured with other noise, always the same, and the best map is kept. It stops early where the loss runs away.
    For a model without U-Noise sigma counts in standard deviations of the item's body, as in the recipes of others a
    unit may be anything. An item's noise depends on the `seed` and the item alone.
    """

    name: ClassVar[str] = "unoise-refined"
    title: ClassVar[str] = "U-Noise, refined on this CT"
    about: ClassVar[str] = "where noise would spoil the segmentation, found on this CT by gradient steps"
    ends: ClassVar[tuple[str, str]] = UNoise.ends
    unit: ClassVar[str] = UNoise.unit
    needs: ClassVar[str] = GRADIENT
    chosen: ClassVar[bool] = False

    steps: int = bounded(60, least=1, most=10000, about="gradient steps for each item")
    draws: int = bounded(4, least=1, most=100, about="noisy copies a step, in pairs of opposite noise")
    seed: int = bounded(0, least=0, about="of the noise")
    strength: float = bounded(0.03, least=0, most=10, about="how much noise is rewarded; lambda of the paper")
    cell: int = bounded(4, least=1, most=64, about="voxels of the model between the grid's values")
    sigma_max: float = bounded(5.0, least=0.01, most=100, about="most noise, in units of the normalised item")
    floor: float = bounded(0.2, least=0, most=0.99, about="least noise, as a share of the most")
    learnt: bool = bounded(True, about="begin with the map that U-Noise learnt, where the model has one")

    def __post_init__(self) -> None:
        for one in fields(self):
            least, most = one.metadata.get("least"), one.metadata.get("most")
            value = getattr(self, one.name)
            if (least is not None and value < least) or (most is not None and value > most):
                cure = f"give {least} or more" if most is None else f"give {least} to {most}"
                raise Usage(f"{self.name}.{one.name} {value}", "is out of its range", cure)

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        maps, enough = np.zeros((len(x), *x.shape[2:]), np.float32), False
        for k in range(len(x)):
            if target.found[k]:
                one = model, x[k : k + 1], Target(target.scores[k : k + 1])
                maps[k], stopped = self._one_item(*one, 0 if enough else self.steps, silent if enough else advance)
                enough = enough or stopped
            elif not enough:
                advance(1.0)
        return maps

    def _one_item(
        self, model: Segmenter, x: np.ndarray, target: Target, steps: int, advance: Advance
    ) -> tuple[np.ndarray, bool]:
        """The best map (*s), and whether whoever hears the progress wanted no more."""
        best, told = Look(0, np.inf, np.zeros(x.shape[2:])), 0.0

        def tell(step: int) -> None:
            nonlocal told
            before, told = told, step / self.steps
            advance(told - before, note=f"loss {best.loss:.5f} after {step} steps")

        try:
            for look in self.looks(model, x, target, steps, tell):
                best = look if look.loss < best.loss else best
            advance(1.0 - told)
        except Enough:
            return -best.z, True
        return -best.z, False

    def places(self, *size: int) -> int:
        """About how many passes an item takes: its slopes, the looks at the loss, and the even maps tried at first."""
        looks = len(LEVELS) + 1 + -(-self.steps // LOOK_EVERY)
        return self.steps * self.draws * PASSES_A_SLOPE + looks * LOOK_DRAWS

    def looks(
        self,
        model: Segmenter,
        x: np.ndarray,
        target: Target,
        steps: int | None = None,
        tell: Callable[[int], None] = lambda step: None,
    ) -> Iterator[Look]:
        """One item x (1, c, *s), where something was found -> the map to begin with, then those after every ten steps
        and after the last. Whoever listens may stop at any time and keep what there is. `tell` hears of each step."""
        steps = self.steps if steps is None else steps
        found = target.mask[0, 0]
        unit = 1.0 if model.answers & {NEAR, NOISE} else body_of(x[0])[1]
        most = self.sigma_max * unit
        aim = Objective(model, x[0], found, self.strength, self.floor * most, most)
        chance = np.random.default_rng([self.seed, zlib.crc32(x.tobytes())])
        other = aim.noise(chance, LOOK_DRAWS)
        begin = self._begin(aim, target, other)
        grid = Grid.over(found.shape, self.cell)
        moved = np.zeros(grid.shape)
        first, second = np.zeros(grid.shape), np.zeros(grid.shape)
        z, best = begin, aim.value(begin, other)
        yield Look(0, best, z)
        tell(0)
        for step in range(1, steps + 1):
            slope = grid.summed(aim.slope(z, aim.noise(chance, self.draws)))
            if not np.isfinite(slope).all():
                return
            first = DECAY[0] * first + (1 - DECAY[0]) * slope
            second = DECAY[1] * second + (1 - DECAY[1]) * slope**2
            rate = RATE * min(1.0, 2 * (1 - (step - 1) / steps))  # even for half of the way, then less and less
            ratio = (first / (1 - DECAY[0] ** step)) / (np.sqrt(second / (1 - DECAY[1] ** step)) + 1e-12)
            moved = moved - rate * ratio
            z = np.clip(begin + grid.spread(moved), -FARTHEST, FARTHEST)
            if step % LOOK_EVERY == 0 or step == steps:
                loss = aim.value(z, other)
                if not np.isfinite(loss) or loss > best + WORSE * abs(best):
                    return
                best = min(best, loss)
                yield Look(step, loss, z)
            tell(step)

    def _begin(self, aim: Objective, target: Target, noise: np.ndarray) -> np.ndarray:
        known = aim.model.answers if self.learnt else ()
        if NEAR in known or NOISE in known:
            told = target.scores if NEAR in known else None
            return aim.model.noise_logits(aim.item[None], told)[0, 0].astype(float)
        even = [np.full(aim.found.shape, level) for level in LEVELS]
        return min(even, key=lambda z: aim.value(z, noise))


@dataclass(frozen=True, eq=False)
class Grid:
    """Few values that stand for an item's many: linear between them. `lines` (many, few), one an axis."""

    lines: tuple[np.ndarray, ...]

    @classmethod
    def over(cls, size: tuple[int, ...], cell: int) -> Grid:
        return cls(tuple(weights(max(1, round(n / cell)), n).astype(float) for n in size))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(line.shape[1] for line in self.lines)

    def spread(self, few: np.ndarray) -> np.ndarray:
        return self._along(few, list(self.lines))

    def summed(self, many: np.ndarray) -> np.ndarray:
        """The transpose: from the slope of each voxel to that of each value."""
        return self._along(many, [line.T for line in self.lines])

    def _along(self, values: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
        for axis, matrix in enumerate(matrices):
            values = np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
        return values
