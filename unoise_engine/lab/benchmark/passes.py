"""Contests of one pass: segmentation, and whichever of the quick methods the model can answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import LEARNT, METHODS, answerable
from unoise_engine.explanation.target import Target
from unoise_engine.lab.benchmark.contest import OURS, Contest, Entry
from unoise_engine.lab.benchmark.rivals import Rivals
from unoise_engine.lab.benchmark.subject import Subject
from unoise_engine.models.enlarge import enlarged
from unoise_engine.models.segmenter import GRADCAM as GRADCAM_ANSWER

OTHERS = ("gradient", "structures")
SEGMENTATION, UNOISE, GRADCAM = "segmentation", "U-Noise map", "Grad-CAM, its forward pass included"
EAGER, AUTOGRAD = "torch eager", "torch autograd"
# A near noise model takes the logarithm of nearly nothing.
NOISE_TOLERANCE = 1e-3
# Of the map's peak. A ReLU's gate whose input is nearly zero opens by rounding: on the 34M utility with random weights
# torch's own map in single precision was 4e-3 from its map in double precision, and so was ours.
MAP_TOLERANCE = 1e-2


def pass_contests(subject: Subject, rivals: Rivals | None) -> list[Contest]:
    bundle, x, logits = subject.bundle, subject.slices, subject.logits
    segmentation = [Entry(OURS, [lambda: bundle.predict(x)])]
    unoise = [Entry(OURS, [lambda: bundle.noise_logits(x, subject.told)])]
    if rivals:
        eager = rivals.eager

        def mine() -> np.ndarray:
            return bundle.noise_logits(x, subject.told)

        works: dict[str, Callable[[], np.ndarray]] = {EAGER: lambda: eager.logits(x)}
        works |= {name: partial(ask, slices=x) for name, ask in rivals.plain.items()}
        segmentation += [
            Entry(name, [work], check=lambda work=work: (work(), logits))  # type: ignore[misc]
            for name, work in works.items()
        ]
        works = {EAGER: lambda: eager.noise_logits(x, logits)}
        works |= {name: partial(ask, slices=x, logits=logits) for name, ask in rivals.plain_noise.items()}
        unoise += [
            Entry(name, [work], check=lambda work=work: (work(), mine()), tolerance=NOISE_TOLERANCE)  # type: ignore[misc]
            for name, work in works.items()
        ]
    contests = [Contest(subject.name, SEGMENTATION, segmentation)]
    if bundle.answers.intersection(LEARNT):
        contests.append(Contest(subject.name, UNOISE, unoise))
    if GRADCAM_ANSWER in bundle.answers:
        contests.append(gradcam_contest(subject, rivals))
    asked = Target(2 * subject.target - 1)
    for name in answerable(bundle, OTHERS):
        entry = Entry(OURS, [lambda method=METHODS[name]: method(bundle, x, asked, silent)], once=name == "structures")  # type: ignore[misc]
        contests.append(Contest(subject.name, f"{METHODS[name].title}, its forward pass included", [entry]))
    return contests


def gradcam_contest(subject: Subject, rivals: Rivals | None) -> Contest:
    bundle, x, target = subject.bundle, subject.slices, subject.target
    entries = [Entry(OURS, [lambda: bundle.gradcam(x, target)])]
    if rivals:
        from unoise_engine.training.peers import captum_gradcam, monai_gradcam

        works = {AUTOGRAD: lambda: rivals.eager.gradcam(x, target)}
        for name, make in (("captum", captum_gradcam), ("monai", monai_gradcam)):
            if name in rivals.peers:
                works[name] = make(rivals.eager, x, target)
        wanted = bundle.gradcam(x, target)
        entries += [
            Entry(name, [work], check=lambda w=work: (enlarged(w(), x.shape[2:]), wanted), tolerance=MAP_TOLERANCE)  # type: ignore[misc]
            for name, work in works.items()
        ]
    return Contest(subject.name, GRADCAM, entries)
