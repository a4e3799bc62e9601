"""How near a pass comes to the least time its work can take on this processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unoise_engine.explanation.lattice import Lattice
from unoise_engine.lab.benchmark.contest import OURS, Row
from unoise_engine.lab.benchmark.occluding import EXACT, PAPER
from unoise_engine.lab.benchmark.passes import GRADCAM, SEGMENTATION, UNOISE
from unoise_engine.lab.benchmark.subject import Subject
from unoise_engine.models.profile import counted

PRODUCT = 2048  # rows and columns of the matrices that measure the peak


@dataclass(frozen=True)
class Floor:
    """Work of one pass (of one place, for occlusion) in GFLOP, and the seconds it took."""

    model: str
    what: str
    gflop: float
    seconds: float


def peak_gflops(tries: int = 8) -> float:
    """The best of several large single-precision matrix products, in GFLOP a second, on all cores."""
    a, b = np.random.default_rng(0).random((2, PRODUCT, PRODUCT), np.float32)
    best = min(_seconds(lambda: a @ b) for _ in range(tries))
    return 2 * PRODUCT**3 / best / 1e9


def floors(subject: Subject, rows: list[Row], places: int, seed: int) -> list[Floor]:
    """For our own passes; windows are counted over a sample of `places`."""
    bundle, x = subject.bundle, subject.slices
    looked_at = {"slices": x} | ({} if subject.told is None else {"logits": subject.told})
    target = subject.target if bundle.one_pass else None
    nothing = np.zeros((1, 1, 1, 1), np.float32)
    work = {
        SEGMENTATION: counted(bundle, "utility", {"slices": x} | ({"target": nothing} if bundle.one_pass else {})),
        UNOISE: counted(bundle, subject.noise_model, looked_at),
    }
    if target is not None:
        work[GRADCAM] = counted(bundle, "utility", {"slices": x, "target": target})
    took = {row.what: row.seconds for row in rows if row.by == OURS and row.model == subject.name}
    if bundle.windowed and EXACT in took:
        lattice = Lattice.every(PAPER.stride, subject.organ.shape, PAPER.patch)
        tried = np.argwhere(PAPER.tried(subject.image, lattice))
        drawn = tried[np.random.default_rng(seed).choice(len(tried), min(places, len(tried)), replace=False)]
        clean = bundle.clean(subject.image)
        whole = tuple(slice(0, n) for n in subject.organ.shape)
        feeds = [clean.feeds(place, PAPER.patch, PAPER.fill, whole) for place in lattice.first_voxels(drawn)]
        work[EXACT], took[EXACT] = counted(bundle, "occlusion", *feeds), took[EXACT] / len(tried)
    return [
        Floor(subject.name, what, flops / 1e9, took[what])
        for what, flops in work.items()
        if what in took and np.isfinite(took[what])
    ]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
