"""A large image through a model window by window, as the model's own pipeline does: places, weights, stitching."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from unoise_engine.models.preparation import Window

Box = tuple[slice, ...]
HELD_BYTES = 1 << 30  # of stitched channels in single precision; more are held in half precision, as nnU-Net holds all
LEAST_WEIGHT = 1e-3  # of MONAI's Gaussian (compute_importance_map)
LARGEST_WEIGHT = 10  # of nnU-Net's, which is rounded to half precision (compute_gaussian)


def starts(n: int, side: int, window: Window) -> list[int]:
    """First voxels of windows of that side on a line of `n` >= `side` voxels.

    nnU-Net: compute_steps_for_sliding_window; MONAI: dense_patch_slices.
    """
    last = n - side
    if window.places == "nnunet":
        count = math.ceil(last / (side * window.step)) + 1
        return [int(np.round(last / (count - 1) * k)) for k in range(count)] if count > 1 else [0]
    every = side if n == side else max(1, int(side * window.step))
    return [min(k * every, last) for k in range(math.ceil(last / every) + 1)]


@lru_cache(maxsize=4)
def weights(size: tuple[int, ...], kind: str, sigma: float) -> np.ndarray:
    """Of a window's voxels, (*size) float32, all above 0."""
    if kind == "constant":
        return np.ones(size, np.float32)
    lines = []
    for n in size:
        centre = n // 2 if kind == "gaussian-nnunet" else (n - 1) / 2
        apart = np.arange(n) - centre
        line = np.exp(-0.5 * (apart / (n * sigma)) ** 2)
        if kind == "gaussian-nnunet":
            line[np.abs(apart) > int(4 * n * sigma + 0.5)] = 0  # scipy's gaussian_filter looks so far
        lines.append(line)
    found = lines[0]
    for line in lines[1:]:
        found = found[..., None] * line
    if kind == "gaussian-monai":
        return np.maximum(found, max(float(found.min()), LEAST_WEIGHT)).astype(np.float32)
    found = (found / found.max() * LARGEST_WEIGHT).astype(np.float16).astype(np.float32)
    found[found == 0] = found[found > 0].min()
    return found


@dataclass(frozen=True, eq=False)
class Tiling:
    """The windows of an image of `shape`: what the model is given, and where its answers belong."""

    window: Window
    shape: tuple[int, ...]

    @property
    def margin(self) -> tuple[int, ...]:
        return self.window.margin or (0,) * len(self.shape)

    @property
    def core(self) -> tuple[int, ...]:
        """Of a window's answer."""
        if self.window.size:
            return tuple(n - 2 * m for n, m in zip(self.window.size, self.margin))
        step = self.window.multiple_of
        return tuple(-(-n // step) * step for n in self.shape)

    @property
    def padded(self) -> tuple[int, ...]:
        """The image, large enough for one window's answer."""
        return tuple(max(n, c) for n, c in zip(self.shape, self.core))

    @property
    def before(self) -> tuple[int, ...]:
        """Voxels put before the image along each axis, the margin not counted."""
        return tuple((p - n) // 2 for p, n in zip(self.padded, self.shape))

    @property
    def weights(self) -> np.ndarray:
        return weights(self.core, self.window.weights, self.window.sigma)

    def boxes(self) -> list[Box]:
        """Where the answers belong in the padded image, in the order of their first planes."""
        lines = [starts(p, c, self.window) for p, c in zip(self.padded, self.core)]
        return [tuple(slice(k, k + c) for k, c in zip(place, self.core)) for place in itertools.product(*lines)]

    def pad(self, image: np.ndarray, fill: float | None = None) -> np.ndarray:
        """(c, *shape) -> (c, *padded and the margins); `fill` in place of the window's own padding."""
        widths = [(0, 0)]
        for n, p, b, m in zip(self.shape, self.padded, self.before, self.margin):
            widths.append((b + m, p - n - b + m))
        if not any(map(any, widths)):
            return image
        if self.window.padding == "edge" and fill is None:
            return np.pad(image, widths, mode="edge")
        return np.pad(image, widths, constant_values=self.window.fill if fill is None else fill)

    def seen(self, box: Box) -> Box:
        """What the model is given for an answer, in the padded image with its margins."""
        return tuple(slice(s.start, s.stop + 2 * m) for s, m in zip(box, self.margin))

    def given(self, padded: np.ndarray, box: Box) -> np.ndarray:
        """The same, (1, c, *size)."""
        return np.ascontiguousarray(padded[(slice(None), *self.seen(box))][None])

    def embed(self, values: np.ndarray, outside: float = 0, dtype: type = np.float32) -> np.ndarray:
        """(c, *shape) -> (c, *padded)."""
        found: np.ndarray = np.full((len(values), *self.padded), outside, dtype)
        self.unpad(found)[:] = values
        return found

    def without_margin(self, padded: np.ndarray) -> np.ndarray:
        """(c, *padded and the margins) -> (c, *padded)."""
        inside = tuple(slice(m, m + n) for m, n in zip(self.margin, self.padded))
        return padded[(slice(None), *inside)]

    def padded_box(self, box: Box, margin: bool = False) -> Box:
        """A box of the image in the padded one; with `margin` all answers that windows holding some of it give."""
        found = []
        for s, b, m, n in zip(box, self.before, self.margin, self.padded):
            more = m if margin else 0
            found.append(slice(max(s.start + b - more, 0), min(s.stop + b + more, n)))
        return tuple(found)

    def unpad(self, answer: np.ndarray) -> np.ndarray:
        """(c, *padded) -> (c, *shape)."""
        inside = tuple(slice(b, b + n) for b, n in zip(self.before, self.shape))
        return answer[(slice(None), *inside)]

    def unpad_plane(self, plane: np.ndarray) -> np.ndarray:
        """The same of one plane, (c, *padded[1:]) -> (c, *shape[1:])."""
        inside = tuple(slice(b, b + n) for b, n in zip(self.before[1:], self.shape[1:]))
        return plane[(slice(None), *inside)]

    def average(self, total: np.ndarray) -> None:
        """Divides sums (c, *padded) of weighted answers by the sums of the weights, a plane at a time: those of a large
        image would take as much memory as the image."""
        boxes = self.boxes()
        for k in range(self.padded[0]):
            share = np.zeros(self.padded[1:], np.float32)
            for first, *rest in boxes:
                if first.start <= k < first.stop:
                    share[tuple(rest)] += self.weights[k - first.start]
            total[:, k] /= share


def stitched(
    tiling: Tiling,
    image: np.ndarray,
    ask: Callable[[np.ndarray], np.ndarray],
    finish: Callable[[np.ndarray], np.ndarray],
    advance: Callable[[float], None] = lambda share: None,
    tap: Callable[[int, np.ndarray], None] = lambda plane, logits: None,
) -> np.ndarray:
    """An image (c, *shape) through `ask`, window (1, c, *size) -> (1, k, *core), then `finish`, (k, ...) -> (1, ...).

    Answers are averaged by their weights before they are finished. Only as many planes as a window has are held with
    all k channels at a time. `tap` is told of each plane (k, *rest) of the image, by its number. Returns (1, *shape)
    float32.
    """
    padded, boxes, weight = tiling.pad(image), tiling.boxes(), tiling.weights
    found = np.empty((1, *tiling.padded), np.float32)
    held: np.ndarray | None = None
    total = np.zeros((tiling.core[0], *tiling.padded[1:]), np.float32)
    done = 0
    for box in [*boxes, None]:
        first = tiling.padded[0] if box is None else box[0].start
        if held is not None and first > done:  # no later window reaches these planes
            planes = first - done
            for k in range(planes):  # one by one: in single precision all channels of many would be too much
                logits = (held[:, k] / total[k]).astype(np.float32, copy=False)
                found[:, done + k] = finish(logits)
                if 0 <= (number := done + k - tiling.before[0]) < tiling.shape[0]:
                    tap(number, tiling.unpad_plane(logits))
            kept = tiling.core[0] - planes
            for values in (*held, total):
                values[:kept] = values[planes:].copy()
                values[kept:] = 0
            done = first
        if box is None:
            break
        answer = ask(tiling.given(padded, box))[0]
        if held is None:
            single = 4 * len(answer) * total.size <= HELD_BYTES
            held = np.zeros((len(answer), *total.shape), np.float32 if single else np.float16)
        inside = (slice(0, tiling.core[0]), *box[1:])
        held[(slice(None), *inside)] += answer * weight
        total[inside] += weight
        advance(1 / len(boxes))
    return tiling.unpad(found)


def touching(boxes: list[Box], region: Box) -> Iterator[Box]:
    """Those that share a voxel with the region."""
    for box in boxes:
        if all(s.start < r.stop and r.start < s.stop for s, r in zip(box, region)):
            yield box
