"""Contests of occlusion: the exact map, of which nobody runs more than a sample, and the default map, whole."""

from __future__ import annotations

import math

import numpy as np

from unoise_engine.explanation.lattice import Lattice
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.overlap import overlap
from unoise_engine.explanation.search import PLACES_A_CALL
from unoise_engine.lab.benchmark.contest import OURS, Contest, Entry, Work
from unoise_engine.lab.benchmark.passes import EAGER
from unoise_engine.lab.benchmark.rivals import Rivals
from unoise_engine.lab.benchmark.subject import Subject
from unoise_engine.models.segmenter import occluded_items

PAPER = Occlusion(patch=15, stride=2)
EXACT, DEFAULT = "occlusion 15/2, every place", "occlusion, default"
FULL = "onnxruntime, a full pass a place"
LOOP = f"{EAGER}, a full pass a place"
FLIPS = 5  # pixels of the outline that another order of summing may decide otherwise
SQUARE = 3  # patches a side that libraries are timed on


def occlusion_contests(subject: Subject, rivals: Rivals | None, batches: int, seed: int) -> list[Contest]:
    """`batches` of random places are timed; the others' time does not depend on the place, so they do one."""
    image, bundle = subject.image, subject.bundle
    lattice = Lattice.every(PAPER.stride, subject.organ.shape, PAPER.patch)
    every = math.prod(lattice.shape)
    tried = np.argwhere(PAPER.tried(image, lattice))
    chance = np.random.default_rng(seed)
    size = min(PLACES_A_CALL if subject.organ.ndim == 2 else 1, len(tried))  # of a block each takes long
    drawn = [tried[chance.choice(len(tried), size, replace=False)] for _ in range(batches)]

    def batch(places: np.ndarray) -> Work:
        first = lattice.first_voxels(places)
        return lambda: bundle.occluded(image, first, PAPER.patch, PAPER.fill)

    telling = telling_places(subject)
    hidden = occluded_items(image, telling, PAPER.patch, PAPER.fill)

    def own() -> np.ndarray:
        return bundle.occluded(image, telling, PAPER.patch, PAPER.fill)

    entries = [
        Entry(
            OURS,
            [batch(places) for places in drawn],
            count=len(tried) / size,
            check=lambda: (own(), bundle.predict(hidden)),
            note=f"{len(tried)} of {every} places touch the body; batches of {size}",
        ),
        Entry(FULL, [lambda: bundle.predict(hidden[:1])], count=every),
    ]
    if rivals:
        eager = rivals.eager
        entries.append(
            Entry(
                LOOP,
                [lambda: eager.logits(hidden[:1])],
                count=every,
                check=lambda: (eager.logits(hidden), own()),
                note="what the paper's code does",
            )
        )
        entries += _peer_entries(subject, rivals, every)

    def adaptive() -> np.ndarray:
        bundle.forget()
        return Occlusion().one_item(bundle, image, subject.organ, silent)

    whole = [Entry(OURS, [adaptive], once=True)]
    return [Contest(subject.name, EXACT, entries), Contest(subject.name, DEFAULT, whole)]


def telling_places(subject: Subject) -> np.ndarray:
    """First pixels (3, rank) of three patches: on the organ, in its row at the left edge, and in the last corner."""
    there = np.argwhere(subject.organ)
    middle = np.median(there, axis=0).astype(int) if len(there) else np.array(subject.organ.shape) // 2
    last = [max(n - PAPER.patch, 0) for n in subject.organ.shape]
    first = [int(np.clip(v - PAPER.patch // 2, 0, end)) for v, end in zip(middle, last)]
    return np.array([first, [*first[:-1], 0], last])


def drops(subject: Subject, places: np.ndarray) -> np.ndarray:
    """1 - dice of our windows at k places (k, rank): (k,)."""
    seen = subject.bundle.occluded(subject.image, places, PAPER.patch, PAPER.fill)[:, 0] > 0
    return 1 - overlap(seen, subject.organ)


def _peer_entries(subject: Subject, rivals: Rivals, every: int) -> list[Entry]:
    """Each library over `SQUARE` x `SQUARE` patches around the organ's middle, each of them a pass of the whole net."""
    from unoise_engine.training.peers import captum_occlusion, monai_occlusion

    patch, side = PAPER.patch, SQUARE * PAPER.patch
    first = telling_places(subject)[0]
    row, column = (int(np.clip(v - patch, 0, n - side)) for v, n in zip(first, subject.organ.shape))
    square = np.stack(np.meshgrid(*(start + patch * np.arange(SQUARE) for start in (row, column)), indexing="ij"), -1)
    known = {"captum": captum_occlusion, "monai": monai_occlusion}
    asked = rivals.eager, subject.image, subject.organ, (row, column), side, patch, PAPER.fill
    entries = []
    for name in (name for name in known if name in rivals.peers):
        found, passes = known[name](*asked)
        entries.append(
            Entry(
                name,
                [lambda name=name: known[name](*asked)],  # type: ignore[misc]
                count=every / passes,
                check=lambda found=found: (found, drops(subject, square.reshape(-1, 2)).reshape(SQUARE, SQUARE)),  # type: ignore[misc]
                tolerance=FLIPS / max(int(subject.organ.sum()), 1),
                absolute=True,
                once=True,
                note=f"{passes} passes timed",
            )
        )
    return entries
