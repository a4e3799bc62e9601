"""Verifies and runs mutants of a bundle, in the process that is watched: `bundles.py` starts it and reads its lines.

A JSON line when a mutant has passed `verify`, which happens in the user's own process, and one when it has been
asked for every answer, which happens in a process of its own (models/trial.py): who dies between them is no fault yet.
"""

import json
import resource
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from Testing.fuzz.mutants import plant
from Testing.fuzz.watch import Watch
from unoise_engine.errors import EngineError
from unoise_engine.models.given import own
from unoise_engine.models.manifest import verify
from unoise_engine.models.probe import answer_all, small_slices
from unoise_engine.models.segmenter import GRADCAM, GRADIENT, NEAR, NOISE
from unoise_engine.models.session import Bundle

MEMORY_BYTES = 4 << 30


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def ask(folder: Path) -> str:
    """What is wrong with the answers of a bundle that passed; EngineError where it was refused."""
    bundle = Bundle(folder, verify(folder), ["CPUExecutionProvider"], threads=1)
    answer_all(bundle)
    slices = small_slices(own(bundle.recipe))
    logits = bundle.predict(slices)
    answers = [logits]
    for kind, told in ((NOISE, None), (NEAR, logits)):
        if kind in bundle.answers:
            answers.append(bundle.noise_logits(slices, told))
    if GRADCAM in bundle.answers:
        answers.append(bundle.gradcam(slices, logits > 0))
    if GRADIENT in bundle.answers:
        answers.append(bundle.gradient(slices, np.ones_like(logits)))
    for maps in answers:
        if maps.shape != (3, 1, *slices.shape[2:]) or not np.isfinite(maps).all():
            return f"answers of shape {maps.shape}, or not finite"
    return ""


def main(good: Path, home: Path, seed: str, start: int, stop: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    watch = Watch(home / "canary.bin", home.parent / "canary.bin")
    folder = home / "mutant"
    for k in range(start, stop):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        plant(good, folder, f"{seed}-{k}", home)
        code, said, printed = "OK", "", StringIO()
        try:
            with redirect_stdout(printed):
                verify(folder)
            say(mutant=k, code="VERIFIED")
            said = ask(folder)
        except EngineError as error:
            code, said = type(error).__name__, str(error)
        except MemoryError:
            code = "MemoryError"
        say(mutant=k, code=code, said=said, opened=watch.opened(), printed=printed.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
