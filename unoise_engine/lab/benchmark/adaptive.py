"""How far the default occlusion map is from the exact one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unoise_engine.explanation.lattice import Lattice
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.search import PLACES_A_CALL
from unoise_engine.lab.benchmark.occluding import PAPER, drops
from unoise_engine.lab.benchmark.subject import Subject


@dataclass(frozen=True)
class Apart:
    """Over `places` of the exact map that touch the body; `rms` and `largest` as shares of the exact map's range."""

    name: str
    places: int
    of: int
    range: float
    rms: float
    mean: float
    largest: float


def adaptive_apart(name: str, subject: Subject, places: int, seed: int, advance: Callable[[float], None]) -> Apart:
    """`places` = 0 is all of them, else a random sample; `advance` is called with shares of 1."""
    lattice = Lattice.every(PAPER.stride, subject.organ.shape, PAPER.patch)
    tried = np.argwhere(PAPER.tried(subject.image, lattice))
    drawn = tried
    if places and places < len(tried):
        drawn = tried[np.random.default_rng(seed).choice(len(tried), places, replace=False)]
    first = lattice.first_voxels(drawn)
    exact = np.empty(len(drawn))
    for start in range(0, len(drawn), PLACES_A_CALL):
        some = slice(start, start + PLACES_A_CALL)
        exact[some] = drops(subject, first[some])
        advance(len(exact[some]) / len(exact))
    found = Occlusion().one_item(subject.bundle, subject.image, subject.organ, silent)
    half = PAPER.patch // 2
    error = np.abs(found[tuple((first + half).T)] - exact)
    span = float(max(exact.max(), found.max()) - min(exact.min(), 0.0))  # beside the body it is 0
    share = error / span if span > 0 else np.full_like(error, np.nan)
    return Apart(
        name,
        len(drawn),
        len(tried),
        span,
        float(np.sqrt((share**2).mean())),
        float(share.mean()),
        float(share.max()),
    )
