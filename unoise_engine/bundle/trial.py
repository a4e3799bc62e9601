"""A bundle's models run once, in a process of their own, before they are trusted with a CT.

Whatever they do there - loop for ever, ask for all memory, crash - ends in one sentence. The limit of time holds on
every system, that of memory on Linux alone: macOS does not enforce it, Windows has none of the kind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from unoise_engine.bundle.manifest import read_manifest, verify
from unoise_engine.bundle.session import Bundle
from unoise_engine.child import environment, python
from unoise_engine.ct.prepare import Recipe
from unoise_engine.errors import EngineError, Integrity

SECONDS = 120  # our largest model takes 3 on one core
MEMORY_BYTES = 4 << 30  # address space; and a multiple of the models' size
COPIES = 6  # of the models in memory: file, message, session, twice while two share weights
SMALLEST = (32, 48)  # rows and columns of a slice, at least
PATCH = 9


def try_out(folder: Path) -> None:
    """Raises Integrity if a model of the bundle does not answer as it must, within limits of time and memory."""
    try:
        ran = subprocess.run(  # noqa: S603 - our own interpreter and our own code
            python(__name__, str(folder)), capture_output=True, timeout=SECONDS, env=environment(), check=False
        )
    except subprocess.TimeoutExpired:
        raise Integrity(
            f"{folder} - its models gave no answer for a small slice within {SECONDS} s - do not use this bundle"
        ) from None
    try:
        said = json.loads(ran.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise Integrity(
            f"{folder} - its models ended the process that tried them (exit status {ran.returncode}; often: they ask "
            "for too much memory) - do not use this bundle"
        ) from None
    if said:
        raise Integrity(said)


def main() -> None:
    """The process's own side: prints a sentence as JSON, empty if all is well."""
    folder, said = Path(sys.argv[1]), ""
    try:
        _limit(sum(entry.bytes for entry in read_manifest(folder).files.values()))
        answer_all(Bundle(folder, verify(folder), ["CPUExecutionProvider"], threads=1))
    except EngineError as error:
        said = str(error)
    except MemoryError:
        said = f"{folder} - its models ask for too much memory - do not use this bundle"
    print(json.dumps(said))


def answer_all(bundle: Bundle) -> None:
    """Asks every model of an opened bundle for every answer. Raises EngineError or MemoryError."""
    slices = small_slices(bundle.recipe)
    bundle.open_all()
    for some in (slices[:1], slices):
        logits = bundle.predict(some)
        if bundle.one_pass:
            bundle.predict_and_explain(some)
        bundle.noise_logits(some, logits)
        bundle.gradcam(some, np.ones_like(logits))
    rows, columns = (np.array([0, side // 2, side - 1]) for side in slices.shape[2:])
    bundle.occluded(slices[0], rows, columns, PATCH, float(slices.min()))


def small_slices(recipe: Recipe) -> np.ndarray:
    """(3, channels, h, w): a bright disc in noise, air alone, and the window's upper end; h and w differ."""
    rows, columns = (-(-side // recipe.multiple_of) * recipe.multiple_of for side in SMALLEST)
    columns += recipe.multiple_of * (rows == columns)
    y, x = np.ogrid[:rows, :columns]
    disc = 0.5 + 0.3 * ((y - rows / 2) ** 2 + (x - columns / 2) ** 2 < (rows / 4) ** 2)
    noisy = np.clip(disc + np.random.default_rng(0).normal(0, 0.1, disc.shape), 0, 1)
    return recipe.normalise(np.stack([noisy, np.zeros_like(noisy), np.ones_like(noisy)]))


def _limit(model_bytes: int) -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        most = MEMORY_BYTES + COPIES * model_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (2 * SECONDS, 2 * SECONDS))  # should the caller be gone
