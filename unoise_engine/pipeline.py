"""The straight line: a CT goes in, a segmentation and importance maps come out, on the CT's own grid."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unoise_engine.bundle.session import DEFAULT_BUNDLE, Bundle, load_bundle
from unoise_engine.ct.find import find_cases
from unoise_engine.ct.prepare import prepare
from unoise_engine.ct.volume import AxialView, Volume
from unoise_engine.errors import Usage
from unoise_engine.methods import METHODS, choose
from unoise_engine.methods.occlusion import Occlusion
from unoise_engine.progress import Progress, Quiet

SLICES_A_STEP = 8


@dataclass(frozen=True)
class Settings:
    """What is asked of an explanation. `slices` counts axial slices from the feet: first, and first not any more.
    `picture` and `compress` say how the results are written."""

    methods: tuple[str, ...] = tuple(METHODS)
    slices: tuple[int, int] | None = None
    occlusion: Occlusion = field(default_factory=Occlusion)
    picture: bool = True  # overview.png
    compress: bool = True

    def __post_init__(self) -> None:
        choose(self.methods, self.occlusion)

    def range_in(self, ct: Volume) -> tuple[int, int]:
        """Raises Usage if the slices asked for are not in the CT."""
        total = AxialView.of(ct.grid).apply(ct.voxels).shape[0]
        start, stop = self.slices or (0, total)
        if not 0 <= start < stop <= total:
            raise Usage(f"--slices {start}:{stop} - outside the CT's {total} axial slices - choose within 0:{total}")
        return start, stop


def explain_volume(
    ct: Volume,
    bundle: Bundle,
    settings: Settings | None = None,
    progress: Progress | None = None,
    seconds: dict[str, float] | None = None,
    case: str = "",
) -> Iterator[tuple[str, Volume]]:
    """Yields ("segmentation", uint8 labels), then ("importance-<method>", float32) for each method, on the CT's grid.

    One result at a time, so that memory holds the CT, one result and the small slices the model sees. `seconds` is
    filled with the time of each stage.
    """
    settings = settings or Settings()
    progress = progress or Quiet()
    seconds = {} if seconds is None else seconds
    recipe = bundle.recipe
    start, stop = settings.range_in(ct)

    with clock(seconds, "prepare"):
        windowed, frame = prepare(ct, recipe, start, stop)

    logits = np.empty((len(windowed), 1, *frame.size), np.float32)
    with clock(seconds, "segmentation"), progress.stage(case, "segmentation", len(windowed)) as advance:
        for some in _steps(len(windowed)):
            logits[some] = bundle.predict(recipe.normalise(windowed[some]))
            advance(len(windowed[some]))
        organ = frame.restore(logits[:, 0], ct, start) > 0
    yield "segmentation", ct.with_voxels(organ.astype(np.uint8) * bundle.manifest.labels[bundle.manifest.organ])
    del organ

    for name, method in choose(settings.methods, settings.occlusion).items():
        maps = np.empty((len(windowed), *frame.size), np.float32)
        with clock(seconds, name), progress.stage(case, name, len(windowed)) as advance:
            for some in _steps(len(windowed)):
                maps[some] = method(bundle, recipe.normalise(windowed[some]), logits[some], advance)
            restored = frame.restore(maps, ct, start)
        yield f"importance-{name}", ct.with_voxels(restored)
        del restored


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
            raise Usage(f"{source} - holds {len(cases)} CTs - give one of them")
        ct = cases[0].read().ct
    opened = bundle if isinstance(bundle, Bundle) else load_bundle(bundle, device)
    return dict(explain_volume(ct, opened, Settings(methods=tuple(methods))))


def _steps(n: int) -> Iterator[slice]:
    for start in range(0, n, SLICES_A_STEP):
        yield slice(start, start + SLICES_A_STEP)


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Adds the seconds spent inside to `seconds[name]`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
