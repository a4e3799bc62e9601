"""The process in which a bundle is tried out: python -P -c ... unoise_engine.models.probe FOLDER SECONDS

Prints a sentence as JSON, empty if all is well. Whatever a model does here - loop for ever, ask for all memory, crash -
harms nobody else. The caller's limit of time holds on every system, that of memory on Linux alone: macOS does not
enforce it, Windows has none of the kind.
"""

from __future__ import annotations

import functools
import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from unoise_engine.errors import EngineError, Integrity
from unoise_engine.models.bundles import opened
from unoise_engine.models.manifest import Manifest, read_manifest, verify
from unoise_engine.models.preparation import Preparation, cubes_of
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.segmenter import GRADCAM, NEAR, NOISE
from unoise_engine.models.session import Bundle

MEMORY_BYTES = 4 << 30  # address space; and a multiple of the models' size
COPIES = 6  # of the models in memory: file, message, session, twice where two share weights
SMALLEST = (32, 48)  # rows and columns of a slice, at least
PATCH = 9


def main() -> None:
    folder, said = Path(sys.argv[1]), {}
    try:
        manifest = read_manifest(folder)
        _limit(manifest, float(sys.argv[2]))
        manifest = verify(folder)
        manifest = replace(manifest, chosen=(manifest.organ,))
        answer_all(opened(folder, manifest, ["CPUExecutionProvider"], threads=1))
    except EngineError as error:
        said = error.facts
    except MemoryError:
        what = "its models ask for too much memory"
        said = Integrity(folder, what, "do not use this bundle").facts
    print(json.dumps(said))


def answer_all(bundle: Bundle) -> None:
    """Asks every model of an opened bundle for every answer. Raises EngineError or MemoryError."""
    bundle.open_all()
    if isinstance(bundle.recipe, Preparation):
        window = one_window(bundle.recipe)
        scores = bundle.predict(window)
        if GRADCAM in bundle.answers:
            bundle.gradcam(window, np.ones_like(scores))
        _ask_noise(bundle, window, scores)
        return
    slices = small_slices(bundle.recipe)
    for some in (slices[:1], slices):
        scores = bundle.predict(some)
        if GRADCAM in bundle.answers:
            if bundle.one_pass:
                bundle.predict_and_explain(some)
            bundle.gradcam(some, np.ones_like(scores))
        _ask_noise(bundle, some, scores)
    places = np.array([[0, side // 2, side - 1] for side in slices.shape[2:]]).T
    bundle.occluded(slices[0], places, PATCH, float(slices.min()))


def _ask_noise(bundle: Bundle, x: np.ndarray, scores: np.ndarray) -> None:
    for kind, told in ((NOISE, None), (NEAR, scores)):
        if kind in bundle.answers:
            bundle.noise_logits(x, told)


def one_window(preparation: Preparation) -> np.ndarray:
    """(1, 1, *s): noise as large as a window; of models that take the whole image, a small one."""
    step = preparation.window.multiple_of
    size = preparation.window.size or (-(-SMALLEST[0] // step) * step,) * preparation.rank
    return np.random.default_rng(0).normal(0, 1, (1, 1, *size)).astype(np.float32)


def small_slices(recipe: Recipe) -> np.ndarray:
    """(3, channels, *s): a bright ball in noise, air alone, and the window's upper end; the sides differ."""
    rows, columns = (-(-side // recipe.multiple_of) * recipe.multiple_of for side in SMALLEST)
    columns += recipe.multiple_of * (rows == columns)
    size = (recipe.multiple_of, rows, columns)[-recipe.rank :]
    apart = [(np.arange(n) - n / 2) ** 2 for n in size]
    disc = 0.5 + 0.3 * (functools.reduce(np.add, np.ix_(*apart)) < (rows / 4) ** 2)
    noisy = np.clip(disc + np.random.default_rng(0).normal(0, 0.1, disc.shape), 0, 1)
    return recipe.normalise(np.stack([noisy, np.zeros_like(noisy), np.ones_like(noisy)]))


def _limit(manifest: Manifest, seconds: float) -> None:
    model_bytes = sum(entry.bytes for entry in manifest.files.values())
    with suppress(ImportError, ValueError, OSError):
        import resource

        most = int(MEMORY_BYTES * cubes_of(manifest.recipe)) + COPIES * model_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        processor = int(seconds) + 60  # should the caller be gone
        resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
