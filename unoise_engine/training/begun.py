"""How far a run came: its folder is begun, gone on with and finished by one process at a time.

Whatever a run is killed at, its folder is one of these: free; begun, with a recipe; with a checkpoint; finished.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.files import refuse_strangers, remove_empty, sha256, strangers, tidy, write_json
from unoise_engine.lock import Busy, held
from unoise_engine.training import leaks
from unoise_engine.training.checkpoints import BEST, LAST, METRICS, network_weights, read_checkpoint
from unoise_engine.training.recipes import FILE, UNoiseRecipe, UtilityRecipe, read_recipe, write_recipe
from unoise_engine.training.runs import UTILITY, UtilityRun, present
from unoise_engine.training.split import FILE as SPLIT
from unoise_engine.training.split import Split

FINISHED = "finished.json"
FIRST = (SPLIT, UTILITY, leaks.FILE)  # what is there before the recipe


@dataclass(frozen=True)
class Begun:
    """How far a run came: its last checkpoint, None before the first, and whether nothing is left to do."""

    checkpoint: Path | None = None
    finished: bool = False

    @staticmethod
    def of(run: Path) -> Begun:
        """Raises Integrity for a damaged checkpoint, Environment for files that a run may not replace."""
        if (run / BEST).is_file() and not (run / LAST).is_file():  # unpacked from a bundle, or last.ckpt was removed
            what = f"holds a model but no {LAST} to go on from"
            raise Usage(run, what, "train it further into another folder, with --init")
        if not (run / LAST).is_file():
            return Begun()
        cure = f"bring it back as it was, or copy {BEST} over it to go on from the best round"
        if "loops" not in read_checkpoint(run / LAST, cure):
            raise Integrity(run / LAST, "holds weights alone, which no training goes on from", "train the run again")
        for name in (LAST, BEST, METRICS):
            refuse_strangers(run / name)
        finished = (run / FINISHED).is_file()
        if finished:
            network_weights(present(run, BEST))
        return Begun(run / LAST, finished)


def check_free(run: Path) -> None:
    """Raises Usage unless nothing is there, or only what a run leaves that is killed while it begins."""
    there = [p for p in run.iterdir() if not p.name.startswith(".")] if run.is_dir() else [run] * os.path.lexists(run)
    if any(path.name not in FIRST or any(strangers(path)) for path in there):
        go_on = "add --resume to go on with it, or " if (run / FILE).is_file() else ""
        raise Usage(run, "is not an empty folder", f"{go_on}choose another folder")


def check_same(run: Path, recipe: UtilityRecipe | UNoiseRecipe) -> None:
    """Raises Usage if no run was begun there, or one with another recipe."""
    if not (run / FILE).is_file():
        raise Usage(run, "holds no training to go on with", "start it without --resume")
    if read_recipe(run / FILE, type(recipe)) != recipe:
        raise Usage(run, "was begun with another recipe", f"resume with its own: {run / FILE}")


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """The folder, made if need be, is this process's alone. Raises Usage if another one has it, Environment."""
    made = not run.exists()
    with ExitStack() as stack:
        try:
            run.mkdir(parents=True, exist_ok=True)
            if made:
                stack.callback(remove_if_empty, run)
            stack.enter_context(held(run, "train"))
        except Busy:
            what = "is being trained in by another process"
            raise Usage(run, what, "wait until that one has ended, or choose another folder") from None
        except OSError as e:
            raise Environment(run, f"cannot be written ({e.strerror})", "choose another place") from None
        tidy(run)
        yield


def remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        remove_empty(folder)


def begin(
    run: Path,
    recipe: UtilityRecipe | UNoiseRecipe,
    split: Split,
    utility: UtilityRun | None = None,
    seen: leaks.Contents | None = None,
) -> None:
    """Writes down what will be trained, on what and which utility it explains; the recipe last: then it is begun."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        split.write(run)
        if utility:
            write_json(run / UTILITY, {"sha256": utility.fingerprint()}, replace=True)
        if seen:
            leaks.write(run, seen)
        write_recipe(recipe, run)
    except OSError as e:
        raise Environment(run, f"cannot be written ({e.strerror})", "choose another place") from None


def finish(run: Path) -> None:
    """Writes down that nothing is left to do."""
    write_json(run / FINISHED, {BEST: sha256(present(run, BEST))}, replace=True)
