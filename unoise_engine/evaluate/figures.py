"""The visibility curves, drawn: the paper's Fig. 3a with all rankings, both fills, and the published curves beside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.drawing import load_matplotlib
from unoise_engine.evaluate.curves import Curves
from unoise_engine.evaluate.published import Published, published
from unoise_engine.files import new_file

COLOURS = {  # Okabe and Ito: told apart by colour-blind eyes too
    "unoise-near": "#d55e00",
    "unoise": "#e69f00",
    "gradcam": "#0072b2",
    "occlusion": "#009e73",
    "random": "#999999",
    "edges": "#cc79a7",
    "distance": "#000000",
}
MORE_COLOURS = ("#56b4e9", "#f0e442", "#7f3c8d", "#a5aa99")
STYLES = {"random": ":", "edges": "--", "distance": "--"}
TICKS = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


def draw_curves(out: Path, curves: Curves, titles: Mapping[str, str], title: str, warning: str) -> list[str]:
    """OUT/curves.png and curves.svg. Raises MissingExtra without matplotlib."""
    figure_of = new_figure()
    hows = curves.answers.how
    facts = published()
    figure = figure_of((5.6 * len(hows.fills), 4.4 * len(hows.rankings) + 1.0))
    panels = figure.subplots(len(hows.rankings), len(hows.fills), squeeze=False, sharex=True, sharey=True)
    for row, ranking in zip(panels, hows.rankings):
        for axes, fill in zip(row, hows.fills):
            _panel(axes, curves, titles, ranking, fill)
            if (ranking, fill) == ("pooled", "grey") and facts:
                _published(axes, facts)
    for axes in panels[-1]:
        axes.set_xlabel("share of the slice visible (%, root scale)")
    for axes in panels[:, 0]:
        axes.set_ylabel("dice / full dice")
    handles: dict[str, Any] = {}
    for axes in panels.flat:
        handles |= {text: line for line, text in zip(*axes.get_legend_handles_labels())}
    order = [t for t in (*titles.values(), *handles) if t in handles]
    shown = {text: handles[text] for text in order}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    full = curves.bootstrap.estimate(curves.full)
    figure.suptitle(f"{title}: dice against share visible (full dice {full})\n{warning}", fontsize=11, parse_math=False)
    names = []
    for suffix in ("png", "svg"):
        names.append(f"curves.{suffix}")
        metadata = {"Software": None} if suffix == "png" else {"Date": None, "Creator": None}
        with new_file(out / names[-1], replace=True) as draft:
            figure.savefig(draft.path, dpi=140, metadata=metadata)
    return names


def new_figure() -> Any:
    """(inches) -> an empty figure that needs no display, and whose SVG is the same every time."""
    matplotlib = load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "unoise"

    def make(size: tuple[float, float], **how: Any) -> Any:
        figure = Figure(figsize=size, **{"layout": "constrained", **how})
        FigureCanvasAgg(figure)
        return figure

    return make


def colour(name: str, names: tuple[str, ...]) -> str:
    others = [n for n in names if n not in COLOURS]
    return COLOURS.get(name) or MORE_COLOURS[others.index(name) % len(MORE_COLOURS)]


def _panel(axes: Any, curves: Curves, titles: Mapping[str, str], ranking: str, fill: str) -> None:
    x = 100 * curves.x
    for z, name in enumerate(reversed(curves.answers.names)):
        band = curves.band(name, ranking, fill)
        own_colour = colour(name, curves.answers.names)
        y = np.array([b.value for b in band])
        width = 2.2 if name == curves.answers.names[0] else 1.4
        axes.plot(x, y, STYLES.get(name, "-"), color=own_colour, lw=width, label=titles[name], zorder=3 + z)
        low, high = (np.array([getattr(b, side) for b in band]) for side in ("low", "high"))
        if not np.isnan(low).any():
            axes.fill_between(x, low, high, color=own_colour, alpha=0.12, lw=0, zorder=2)
    axes.axhline(1, color="#cccccc", lw=0.8, zorder=0)
    axes.set_xscale("function", functions=(lambda v: np.sqrt(np.clip(v, 0, None)), np.square))
    axes.set_xlim(0, 100)
    axes.set_xticks(TICKS)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.5)
    words = {"grey": "hidden by grey", "noise": "hidden by noise"}[fill]
    how = {"image": "ranking per image", "pooled": "one threshold for the set"}[ranking]
    axes.set_title(f"{words}, {how}", fontsize=10)


def _published(axes: Any, facts: Published) -> None:
    for curve in facts.curves:
        pretrained = "Pretrained" in curve.name
        best = curve.name == "U-Noise Large (Pretrained)"
        axes.plot(
            [100 * v for v in curve.visible],
            [d / facts.full_dice for d in curve.dice],
            color="#e8a06a" if best else "#d8b59a",
            lw=1.2 if best else 0.8,
            ls="-." if pretrained else ":",
            zorder=1,
            label="published: U-Noise Large, pretrained" if best else "published: the other five",
        )
