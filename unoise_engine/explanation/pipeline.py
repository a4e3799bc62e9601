"""The straight line: a CT goes in, a segmentation and importance maps come out, on the CT's own grid."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.explanation.focus import Focus
from unoise_engine.explanation.items import OfCT
from unoise_engine.explanation.method import ByCT, Method, longest_s
from unoise_engine.explanation.methods import LEARNT
from unoise_engine.explanation.proof import Proof, Trial, worth_it
from unoise_engine.explanation.segment import Prediction, segment
from unoise_engine.explanation.settings import Settings
from unoise_engine.explanation.trust import about_answers, about_jumps, about_pieces, about_scan
from unoise_engine.models.given import Given, OnGrid, given_of
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recall import recalling
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Progress, Quiet, clock
from unoise_engine.volume.scratch import room
from unoise_engine.volume.volume import Volume


def explain_volume(
    ct: Volume,
    bundle: Bundle,
    settings: Settings | None = None,
    progress: Progress | None = None,
    seconds: dict[str, float] | None = None,
    case: str = "",
    warnings: list[str] | None = None,
    folder: Path | None = None,
    looked_at: dict[str, dict[str, Any]] | None = None,
    proofs: dict[str, Proof] | None = None,
) -> Iterator[tuple[str, OnGrid]]:
    """Yields ("segmentation", uint8 labels), then ("importance-<method>", float32) for each method, on the CT's grid.

    Results stay at the model's size until their voxels are asked for. Those of a large CT lie in nameless files in
    `folder`, if one is given, so that memory holds the CT and little else. By the time a map is yielded, `seconds` is
    filled with the time of each stage, `warnings` with what speaks against trusting the result, `looked_at` with what
    was looked at and how far (by "focus" or method), `proofs` with how each map does on this CT. Raises OSError if the
    disk of `folder` is full.
    """
    settings, progress = (settings or Settings()).for_model(bundle), progress or Quiet()
    seconds = {} if seconds is None else seconds
    manifest = bundle.manifest
    given = given_of(ct, bundle.recipe, *(settings.slices or ()))

    # Which items keep the label is known only after all of them; in the same pass Grad-CAM costs little.
    model = recalling(bundle) if "gradcam" in settings.methods else bundle
    with progress.stage(case, "segmentation", len(given)) as advance:
        found = segment(model, given, manifest.clean_up, folder, advance, seconds)
    if warnings is not None:
        if not isinstance(bundle.recipe, Preparation):  # nobody said for which images a model from elsewhere is
            warnings += [*about_scan(ct, manifest.scope), *about_jumps(found.jumps, given.slice_mm)]
        warnings += about_pieces(found.dropped, manifest.organ, manifest.scope)
        warnings += about_answers("What the model answers", found.scores)
    yield "segmentation", found.mask(manifest.number)

    focus: Focus | None = None
    if settings.focus:
        some = next(given.steps())  # a block is one; a model of planes is refused
        with clock(seconds, "focus"):
            focus = Focus.on(bundle, given.items(some), found.target(some))
        if focus and warnings is not None:
            warnings += focus.doubts
        if focus and looked_at is not None:
            looked_at["focus"] = focus.told

    trial, asked = None, proofs is not None and settings.prove is not False
    if asked and (settings.prove or worth_it(found, settings.chosen.values())):
        trial = Trial(bundle, found)
    size = given.shape[-given.recipe.rank :] if focus is None else tuple(s.stop - s.start for s in focus.box)
    for name, method in settings.chosen.items():
        maps = room(given.shape, folder)
        _estimate(method, given, size, found, seconds["segmentation"], case, progress)
        with progress.stage(case, name, len(given)) as advance:
            if focus is None and isinstance(method, ByCT):
                with clock(seconds, name):
                    made, told = method.of_ct(model, OfCT(given, found), advance)
                    for some in given.steps():
                        maps[some] = given.as_planes(np.stack([*islice(made, len(range(*some.indices(len(given)))))]))
                if looked_at is not None:
                    looked_at[name] = told
            else:
                explain = partial(focus.map, method) if focus else method
                for some in given.steps():
                    with clock(seconds, "prepare"):
                        x = given.items(some)
                    with clock(seconds, name):
                        maps[some] = given.as_planes(explain(model, x, found.target(some), advance))
        if warnings is not None:
            shown = (maps[int(k)] for k in np.flatnonzero(found.shows))
            warnings += about_answers(f"The map of {method.title}", shown)
        if trial is not None and proofs is not None:
            with progress.stage(case, f"proof of {name}", 1), clock(seconds, "proof"):
                proof = trial.prove([part.of(maps) for part in trial.parts], method.needs in LEARNT)
            if proof:
                proofs[name] = proof
        yield f"importance-{name}", given.restore(maps)
        del maps  # before there are the next ones


def _estimate(
    method: Method,
    given: Given,
    size: tuple[int, ...],
    found: Prediction,
    segmentation_s: float,
    case: str,
    progress: Progress,
) -> None:
    """Tells beforehand what a method of many passes may take, from the time that segmenting took. `size` is that of
    what it looks at."""
    slices = int(found.shows.sum())
    items = slices if given.recipe.rank == 2 else int(slices > 0)
    pass_s = segmentation_s / len(given) * prod(size) / prod(given.shape[-len(size) :])
    seconds = longest_s(method, size, pass_s, items)
    if seconds is not None:
        progress.event("estimate", case=case, stage=method.name, title=method.title, slices=slices, seconds=seconds)
