"""The structures that a model leans on most: the slice that changes most without each, outlines before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.evaluate.figures import new_figure
from unoise_engine.evaluate.whatif.scene import Effect, Seen
from unoise_engine.results.overview import SOFT_TISSUE_HU

PANEL_INCHES = 3.6
BEFORE, AFTER = "#39d0ff", "#ffb000"
LINES = "blue line: found with nothing hidden; dashed orange: found with it hidden"
MARGIN_MM = 60.0  # around the outlines


def draw_strongest(
    draft: Path,
    seen: Sequence[tuple[Effect, Seen]],
    spacing_mm: tuple[float, float],
    title: str,
    legend: str,
    warning: str,
) -> None:
    """Writes a PNG. `spacing_mm` is (rows, columns). Raises MissingExtra without matplotlib, OSError."""
    figure_of = new_figure()
    boxes = [_around(one, spacing_mm) for _, one in seen]
    tall = max(_height(box, spacing_mm) / _width(box, spacing_mm) for box in boxes)
    figure = figure_of((PANEL_INCHES * max(len(seen), 2), PANEL_INCHES * tall + 1.5), facecolor="black")
    panels = figure.subplots(1, len(seen), squeeze=False)[0]
    for axes, (effect, one), box in zip(panels, seen, boxes):
        _panel(axes, one, box, spacing_mm[0] / spacing_mm[1])
        said = f"without {_short(effect.name)}\ndice {effect.dice:.2f}, {effect.lost_ml:.1f} ml lost, slice {one.k + 1}"
        axes.set_title(said, color="white", fontsize=10, parse_math=False)
    figure.suptitle(f"{title}\n{legend}", color="white", fontsize=10, parse_math=False)
    figure.supxlabel(f"{LINES}\n{warning}", color="#ffb347", fontsize=9, parse_math=False)
    figure.savefig(draft, dpi=130, facecolor="black", metadata={"Software": None})


def _around(one: Seen, spacing_mm: tuple[float, float]) -> tuple[slice, slice]:
    """The box around both outlines and MARGIN_MM beyond."""
    organ = one.before | one.after
    box = []
    for axis, (n, mm) in enumerate(zip(organ.shape, spacing_mm)):
        there, more = np.flatnonzero(organ.any(axis=1 - axis)), round(MARGIN_MM / mm)
        first, last = (there[0], there[-1]) if len(there) else (0, n - 1)
        box.append(slice(max(int(first) - more, 0), min(int(last) + 1 + more, n)))
    return box[0], box[1]


def _height(box: tuple[slice, slice], spacing_mm: tuple[float, float]) -> float:
    return (box[0].stop - box[0].start) * spacing_mm[0]


def _width(box: tuple[slice, slice], spacing_mm: tuple[float, float]) -> float:
    return (box[1].stop - box[1].start) * spacing_mm[1]


def _panel(axes: Any, one: Seen, box: tuple[slice, ...], aspect: float) -> None:
    low, high = SOFT_TISSUE_HU
    axes.imshow(one.hu[box], cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="antialiased")
    axes.set_axis_off()
    for x, side in ((0.03, "R"), (0.97, "L")):
        axes.text(x, 0.95, side, color="white", fontsize=10, ha="center", va="center", transform=axes.transAxes)
    for mask, colour, style in ((one.before, BEFORE, "solid"), (one.after, AFTER, "dashed")):
        if mask.any():
            axes.contour(np.asarray(mask[box]), levels=[0.5], colors=[colour], linewidths=1.3, linestyles=[style])


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:37]}..."
