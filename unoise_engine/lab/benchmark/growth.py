"""How the cost of our passes grows: with the slices, with their size, with the threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.benchmark.contest import OURS, Contest, Entry, hold
from unoise_engine.lab.benchmark.subject import framed
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.segmenter import NEAR
from unoise_engine.models.session import Bundle


@dataclass(frozen=True)
class Point:
    """Seconds of segmentation with Grad-CAM, and of U-Noise, for `slices` of `side` x `side` pixels."""

    by: str
    slices: int
    side: int
    threads: int
    segmentation: float
    unoise: float


def growth(
    bundle: Bundle, image: np.ndarray, threads: int, repeats: int, quick: bool, advance: Callable[[float], None]
) -> list[Point]:
    """`image` (c, h, w), normalised; larger ones have air around it. `threads` is what 1 is compared with."""
    many, sides, usual = ([1, 2], [64, 128], 96) if quick else ([1, 2, 4, 8, 16], [128, 192, 256, 384, 512], 256)
    wanted = [("slices", n, usual, threads) for n in many]
    wanted += [("size", 1, side, threads) for side in sides]
    wanted += [("threads", 4, usual, k) for k in sorted({1, threads})]
    opened = {k: load_bundle(bundle.folder, bundle.device, k) for k in {1, threads}}
    air = float(image.min())
    points = []
    for by, n, side, k in wanted:
        one = np.stack([framed(channel, side, air) for channel in image])[None]
        seconds = _time(opened[k], np.repeat(one, n, axis=0), repeats)
        points.append(Point(by, n, side, k, *seconds))
        advance(1 / len(wanted))
    return points


def _time(bundle: Bundle, slices: np.ndarray, repeats: int) -> list[float]:
    logits = bundle.predict(slices)
    both = bundle.predict_and_explain if bundle.one_pass else bundle.predict
    entries = [
        Entry(OURS, [lambda: both(slices)]),
        Entry("unoise", [lambda: bundle.noise_logits(slices, logits if NEAR in bundle.answers else None)]),
    ]
    return [row.seconds for row in hold(Contest("", "", entries), repeats, lambda amount: None)]
