"""The straight line: a CT goes in, a segmentation and importance maps come out, on the CT's own grid."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.jumps import coarse, jumps
from unoise_engine.explanation.methods import METHODS, TITLES
from unoise_engine.explanation.protocol import Model
from unoise_engine.explanation.settings import Settings
from unoise_engine.explanation.trust import about_answers, about_jumps, about_pieces, about_scan
from unoise_engine.models.frame import Frame, Restored
from unoise_engine.models.recall import Recall
from unoise_engine.models.session import DEFAULT_BUNDLE, Bundle, load_bundle
from unoise_engine.progress import Progress, Quiet
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.scratch import IN_MEMORY_BYTES, room
from unoise_engine.volume.volume import Volume

SLICES_A_STEP = 8


def explain_volume(
    ct: Volume,
    bundle: Bundle,
    settings: Settings | None = None,
    progress: Progress | None = None,
    seconds: dict[str, float] | None = None,
    case: str = "",
    warnings: list[str] | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[str, Restored]]:
    """Yields ("segmentation", uint8 labels), then ("importance-<method>", float32) for each method, on the CT's grid.

    Results stay at the model's size until their voxels are asked for. Those of a large CT lie in nameless files in
    `folder`, if one is given, so that memory holds the CT and little else. `seconds` is filled with the time of each
    stage, `warnings` with what speaks against trusting the result. Raises OSError if the disk of `folder` is full.
    """
    settings = settings or Settings()
    progress = progress or Quiet()
    seconds = {} if seconds is None else seconds
    recipe = bundle.recipe
    start, stop = settings.range_in(ct)

    frame, n = Frame.of(ct, recipe), stop - start
    shape = (n, *frame.size)

    keep = 4 * n * frame.size[0] * frame.size[1] <= IN_MEMORY_BYTES
    kept: dict[int, np.ndarray] = {}

    def model_slices(some: slice) -> np.ndarray:
        """Kept for the next stage where they are few, else made anew, which is quick beside the model."""
        with clock(seconds, "prepare"):
            windowed = kept.get(some.start)
            if windowed is None:
                windowed = np.stack([*frame.windowed(ct, start + some.start, start + some.stop)])
            if keep:
                kept[some.start] = windowed
            return recipe.normalise(windowed)

    # Which slices keep organ is known only after all of them; in the same pass Grad-CAM costs little.
    model: Model = Recall(bundle) if "gradcam" in settings.methods and bundle.one_pass else bundle
    logits, blocks = room(shape, folder), []
    with progress.stage(case, "segmentation", n) as advance:
        for some in _steps(n):
            slices = model_slices(some)
            with clock(seconds, "segmentation"):
                logits[some] = model.predict(slices)[:, 0]
                blocks += [*coarse(slices, recipe)]
            advance(len(slices))
    with clock(seconds, "segmentation"):
        slice_mm, clean_up = frame.view.spacing_mm[0], bundle.manifest.clean_up
        apart = jumps(blocks, slice_mm, recipe)
        cleaned, dropped = clean_up.apply(logits, slice_mm, recipe.spacing_mm, folder, apart)
    if warnings is not None:
        scope = bundle.manifest.scope
        warnings += [*about_scan(ct, scope), *about_jumps(apart, slice_mm)]
        warnings += about_pieces(dropped, bundle.manifest.organ, scope)
        warnings += about_answers("What the model answers", logits)
    yield "segmentation", frame.restore(cleaned, ct, start, bundle.manifest.labels[bundle.manifest.organ])

    # A method explains the utility's own answer on a slice, wherever clean-up left some of it.
    empty = np.array([not (one > 0).any() for one in cleaned])
    del cleaned
    for name, method in settings.chosen.items():
        maps = room(shape, folder)
        with progress.stage(case, name, n) as advance:
            for some in _steps(n):
                slices, answer = model_slices(some), logits[some]
                answer[empty[some]] = -1
                with clock(seconds, name):
                    maps[some] = method(model, slices, answer[:, None], advance)
        if warnings is not None:
            warnings += about_answers(f"The map of {TITLES[name]}", (maps[k] for k in np.flatnonzero(~empty)))
        yield f"importance-{name}", frame.restore(maps, ct, start)
        del maps  # before there are the next ones


def explain(
    source: str | Path | Volume,
    methods: Sequence[str] = tuple(METHODS),
    bundle: str | Path | Bundle = DEFAULT_BUNDLE,
    device: str = "auto",
) -> dict[str, Volume]:
    """Explains one CT, given as a file, a DICOM folder or a Volume in HU.

    Returns {"segmentation": ..., "importance-unoise": ..., ...} on the CT's grid. Raises unoise_engine.errors.
    """
    if isinstance(source, Volume):
        ct = source
    else:
        cases = find_cases([Path(source)])
        if len(cases) > 1:
            raise Usage(source, f"holds {len(cases)} CTs", "give one of them")
        ct = cases[0].read().ct
    opened = bundle if isinstance(bundle, Bundle) else load_bundle(bundle, device)
    found = explain_volume(ct, opened, Settings(methods=tuple(methods)))
    return {name: result.volume() for name, result in found}


def _steps(n: int) -> Iterator[slice]:
    for start in range(0, n, SLICES_A_STEP):
        yield slice(start, min(start + SLICES_A_STEP, n))


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Adds the seconds spent inside to `seconds[name]`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
