"""Default occlusion of the model that ships against the exact map, which is made here by full passes alone."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.explanation.lattice import Lattice
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import ADAPTIVE_ERROR, Occlusion
from unoise_engine.lab.benchmark.subject import fullest_slice
from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.models.bundles import load_bundle

SIDE = 96


def drop(bundle: Any, image: Any, organ: Any, y: Any, x: Any) -> Any:
    """1 - dice of a whole pass with the patch greyed out."""
    hidden = image.copy()
    hidden[:, y : y + 15, x : x + 15] = 0
    seen = bundle.predict(hidden[None])[0, 0] > 0
    return 1 - 2 * (seen & organ).sum() / (seen.sum() + organ.sum())


def is_beside_the_body(image: Any, y: Any, x: Any) -> Any:
    """The patch has no pixel in the box around all that is above the lowest value."""
    rows, columns = (np.flatnonzero((image > image.min()).any(axis=axis)) for axis in (1, 0))
    return y + 14 < rows[0] or y > rows[-1] or x + 14 < columns[0] or x > columns[-1]


def test_within_two_percent_of_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = fullest_slice("phantom", load_bundle(device="cpu"), synthesise(3, size=256, slices=10).ct, None, SIDE)
    image, organ, bundle = subject.image, subject.organ, subject.bundle
    assert organ.sum() > 100
    lattice = Lattice.every(2, organ.shape, 15)
    exact = np.array([[drop(bundle, image, organ, y, x) for x in lattice.lines[1]] for y in lattice.lines[0]])
    asked = 0
    measure = bundle.occluded

    def counting(image: Any, places: Any, *how: Any) -> Any:
        nonlocal asked
        asked += len(places)
        return measure(image, places, *how)

    monkeypatch.setattr(bundle, "occluded", counting)
    adaptive = Occlusion().one_item(bundle, image, organ, silent)
    assert np.ptp(exact) > 0.2, "the exact map says too little"
    got = adaptive[np.ix_(*(line + 7 for line in lattice.lines))]
    beside = np.array([[is_beside_the_body(image[0], y, x) for x in lattice.lines[1]] for y in lattice.lines[0]])
    assert beside.mean() < 0.1 and not got[beside].any()  # 0 by definition, also of the exact map (`Occlusion`)
    error = ((got - exact) / np.ptp(exact))[~beside]
    assert 0 < np.sqrt((error**2).mean()) < ADAPTIVE_ERROR
    assert np.mean(np.abs(error) > 0.2) < 0.005  # single places whose neighbours agree may be missed
    assert asked < 0.75 * lattice.shape[0] * lattice.shape[1]  # of a crop that the organ fills; of a slice far less
