"""What was aimed at, and what was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unoise_engine.lab.benchmark.adaptive import Apart
from unoise_engine.lab.benchmark.contest import OURS, Row
from unoise_engine.lab.benchmark.growth import Point
from unoise_engine.lab.benchmark.occluding import DEFAULT, EXACT, LOOP
from unoise_engine.lab.benchmark.passes import EAGER, GRADCAM, SEGMENTATION, UNOISE
from unoise_engine.lab.benchmark.rivals import PLAIN
from unoise_engine.lab.benchmark.whole import WholeCT

PAPER_MODEL = "paper, 34M"


@dataclass(frozen=True)
class Goal:
    """`found` is to be at most, or with `least` at least, the `limit`."""

    what: str
    found: float
    limit: float
    unit: str = "x"
    least: bool = False

    @property
    def met(self) -> bool:
        return self.found >= self.limit if self.least else self.found <= self.limit


def goals(
    rows: Sequence[Row], apart: Sequence[Apart], points: Sequence[Point], whole: WholeCT | None, device: str
) -> list[Goal]:
    """Those that this run can tell; a row that disagreed tells nothing."""
    known = {(row.model, row.what, row.by): row.seconds for row in rows if row.agrees}
    found: list[Goal] = []

    def ratio(
        words: str, above: tuple[str, str, str], below: tuple[str, str, str], limit: float, least: bool = False
    ) -> None:
        if above in known and below in known:
            found.append(Goal(words, known[above] / known[below], limit, least=least))

    for model in dict.fromkeys(row.model for row in rows):
        if model == PAPER_MODEL:
            ours, others = (model, UNOISE, OURS), {by: (model, UNOISE, by) for by in (EAGER, PLAIN)}
            ratio(f"{model}: U-Noise Large against torch eager", ours, others[EAGER], 0.45)
            ratio(f"{model}: U-Noise Large against the plain export", ours, others[PLAIN], 0.85)
            ratio(f"{model}: segmentation against the plain export", (model, SEGMENTATION, OURS),
                  (model, SEGMENTATION, PLAIN), 0.85)  # fmt: skip
        ratio(f"{model}: Grad-CAM with its forward pass against one forward pass", (model, GRADCAM, OURS),
              (model, SEGMENTATION, OURS), 1.15)  # fmt: skip
        loop = (model, EXACT, LOOP)
        ratio(f"{model}: the paper's loop against exact occlusion", loop, (model, EXACT, OURS), 8, least=True)
        ratio(f"{model}: the paper's loop against default occlusion", loop, (model, DEFAULT, OURS), 150, least=True)
    for one in apart:
        found.append(Goal(f"{one.name}: default occlusion, RMS error of the range", 100 * one.rms, 2, "%"))
    if whole is not None:
        found.append(Goal("whole CT against the models' pure inference", whole.times_models, 1.3))
        if whole.times_ct is not None:
            found.append(Goal("whole CT: peak memory against the CT in float32", whole.times_ct, 4))
    if device == "cuda":
        found += _on_a_gpu(known, points)
    return found


def _on_a_gpu(known: dict[tuple[str, str, str], float], points: Sequence[Point]) -> list[Goal]:
    found = []
    batches = [point for point in points if point.by == "slices"]
    if batches:
        most = max(batches, key=lambda point: point.slices)
        found.append(Goal(f"U-Noise a slice, {most.slices} at a time", 1e3 * most.unoise / most.slices, 0.3, "ms"))
    for what, limit, unit, times in ((GRADCAM, 2.0, "ms", 1e3), (EXACT, 5.0, "s", 1.0)):
        if (seconds := known.get((PAPER_MODEL, what, OURS))) is not None:
            found.append(Goal(f"{PAPER_MODEL}: {what}", times * seconds, limit, unit))
    return found
