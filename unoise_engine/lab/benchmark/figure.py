"""benchmark.png and benchmark.svg: every program's seconds, a panel a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unoise_engine.evaluate.figures import COLOURS, MORE_COLOURS, new_figure
from unoise_engine.files import new_file
from unoise_engine.lab.benchmark.contest import OURS, Row
from unoise_engine.lab.benchmark.report import span


def draw(out: Path, rows: Sequence[Row], machine: str) -> None:
    """Raises MissingExtra without matplotlib."""
    figure_of = new_figure()
    rows = [row for row in rows if row.agrees]
    models = list(dict.fromkeys(row.model for row in rows))
    programs = list(dict.fromkeys(row.by for row in rows))
    colours = {by: (*COLOURS.values(), *MORE_COLOURS)[k] for k, by in enumerate(programs)}
    lines = max(sum(row.model == model for row in rows) for model in models)
    figure = figure_of((6.5 * len(models), 1.4 + 0.34 * (lines + 5)))
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models):
        place, ticks, names = 0.0, [], []
        for what in dict.fromkeys(row.what for row in rows if row.model == model):
            place += 0.8
            axes.text(
                0.0, place, what, transform=axes.get_yaxis_transform(), fontsize=9, fontweight="bold", va="center"
            )
            for row in (r for r in rows if (r.model, r.what) == (model, what)):
                place += 1
                axes.barh(place, row.seconds, color=colours[row.by], height=0.75, alpha=1 if row.by == OURS else 0.75)
                axes.text(row.seconds * 1.15, place, span(row.seconds), fontsize=8, va="center")
                ticks.append(place)
                names.append(row.by)
            place += 0.6
        shown = [row for row in rows if row.model == model]
        axes.set_xscale("log")
        axes.set_xlim(min(r.seconds for r in shown) / 3, max(r.seconds for r in shown) * 8)
        axes.set_ylim(place + 0.5, -0.2)
        axes.set_yticks(ticks, names, fontsize=8)
        axes.set_xlabel("seconds (logarithmic)")
        axes.set_title(model, fontsize=11, parse_math=False)
        axes.grid(axis="x", alpha=0.25, lw=0.5)
        axes.set_axisbelow(True)
    figure.suptitle(machine, fontsize=10, parse_math=False)
    for suffix in ("png", "svg"):
        metadata = {"Software": None} if suffix == "png" else {"Date": None, "Creator": None}
        with new_file(out / f"benchmark.{suffix}", replace=True) as draft:
            figure.savefig(draft.path, dpi=140, metadata=metadata)
