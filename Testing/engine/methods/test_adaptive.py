"""Default occlusion of the model that ships against the exact map, which is made here by full passes alone."""

import numpy as np
import pytest

from unoise_engine.benchmark.subject import fullest_slice
from unoise_engine.bundle.session import load_bundle
from unoise_engine.methods.lattice import Lattice
from unoise_engine.methods.occlusion import Occlusion
from unoise_engine.methods.protocol import silent
from unoise_engine.phantom import synthesise

SIDE, PLACES = 96, 240


@pytest.mark.parametrize("seed", [3, 2026])
def test_within_two_percent_of_the_range(seed):
    subject = fullest_slice("phantom", load_bundle(device="cpu"), synthesise(seed, size=256, slices=10).ct, None, SIDE)
    image, organ, bundle = subject.image, subject.organ, subject.bundle
    assert organ.sum() > 100
    lattice, chance = Lattice.every(2, organ.shape, 15), np.random.default_rng(seed)
    rows, columns = (chance.choice(line, PLACES) for line in (lattice.rows, lattice.columns))
    exact = []
    for y, x in zip(rows, columns):
        hidden = image.copy()
        hidden[:, y : y + 15, x : x + 15] = 0
        seen = bundle.predict(hidden[None])[0, 0] > 0
        exact.append(1 - 2 * (seen & organ).sum() / (seen.sum() + organ.sum()))
    exact = np.array(exact)
    asked = 0
    measure = bundle.occluded

    def counting(image, rows, columns, *how):
        nonlocal asked
        asked += len(rows)
        return measure(image, rows, columns, *how)

    bundle.occluded = counting
    adaptive = Occlusion().one_slice(bundle, image, organ, silent)
    assert np.ptp(exact) > 0.2, "the exact map says too little"
    error = (adaptive[rows + 7, columns + 7] - exact) / max(np.ptp(exact), np.ptp(adaptive))
    assert 0 < np.sqrt((error**2).mean()) < 0.02
    assert np.abs(error).max() < 0.2
    assert asked < 0.6 * lattice.shape[0] * lattice.shape[1]
