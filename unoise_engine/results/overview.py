"""One picture of a case, the paper's Fig. 2 for this CT: the slice with its outline, then one panel a method."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unoise_engine.drawing import load_matplotlib
from unoise_engine.results.body import body_box
from unoise_engine.results.shown import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_INCHES = 3.4
LETTERS_AN_INCH, LINE_INCHES = 12, 0.16  # of titles and warnings
SOFT_TISSUE_HU = (-160.0, 240.0)  # width 400, level 40
OUTLINE = "#39d0ff"
OPAQUE = 0.7  # how much of the CT the most important pixel hides


class Overview:
    """Collects one axial slice (rows, columns; LPS, as seen from the feet) of every result, then draws them.

    `spacing_mm` is (rows, columns). Raises MissingExtra or Environment without matplotlib.
    """

    def __init__(self, hu: np.ndarray, organ: np.ndarray, spacing_mm: tuple[float, float]):
        load_matplotlib()
        self.box = body_box(hu)
        self.hu = hu[self.box]
        self.organ = organ[self.box]
        self.spacing_mm = spacing_mm
        self.maps: dict[str, Shown] = {}
        self.verdicts: dict[str, str] = {}

    def add(self, title: str, shown: Shown, verdict: str = "") -> None:
        """`verdict` says in a few words how the map does on this CT (explanation/proof.py)."""
        self.maps[title] = replace(shown, values=np.array(shown.values[self.box]))
        self.verdicts[title] = verdict

    def draw(self, path: Path, title: str, slice_note: str, warning: str) -> None:
        """Writes a PNG. `warning` stands under the picture."""
        figure = self.figure(title, slice_note, warning)
        figure.savefig(path, dpi=130, facecolor="black", metadata={"Software": None})

    def figure(self, title: str, slice_note: str, warning: str) -> Figure:
        """The picture as matplotlib has it; a notebook shows it without pyplot."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        class Drawn(Figure):
            def _repr_jpeg_(self) -> bytes:
                kept = BytesIO()
                self.savefig(kept, format="jpeg", dpi=80, facecolor="black")
                return kept.getvalue()

        rows, columns = self.hu.shape
        tall = rows * self.spacing_mm[0] / (columns * self.spacing_mm[1])
        n = 1 + len(self.maps)
        title, warning = (_wrapped(text, int(PANEL_INCHES * n * LETTERS_AN_INCH)) for text in (title, warning))
        lines = warning.count("\n") + title.count("\n") - 1  # beyond two of warnings and one of title
        more = LINE_INCHES * max(0, lines) + 0.2 * any(self.verdicts.values())
        figure = Drawn(
            figsize=(PANEL_INCHES * n, PANEL_INCHES * tall + 1.35 + more),
            facecolor="black",
            layout="constrained",
        )
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.05, wspace=0.02)  # type: ignore[union-attr,call-arg]
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, n, squeeze=False)[0]
        found = bool(self.organ.any())
        for axes, name in zip(panels, ["", *self.maps]):
            self._ct(axes)
            heading = name or ("CT and outline" if found else "CT (no organ found here)")
            if any(self.verdicts.values()):
                heading += f"\n{self.verdicts.get(name) or ' '}"
            axes.set_title(heading, color="white", fontsize=10)
            if name:
                self._heat(figure, axes, self.maps[name])
            else:
                self._caption(figure, axes, slice_note)
            if found:
                axes.contour(self.organ, levels=[0.5], colors=[OUTLINE], linewidths=1.2)
        # Names of cases, models and organs are no mathematics, whatever dollar signs they have.
        figure.suptitle(title, color="white", fontsize=11, parse_math=False)
        figure.supxlabel(warning, color="#ffb347", fontsize=9, parse_math=False)
        return figure

    def _ct(self, axes) -> None:  # type: ignore[no-untyped-def]
        low, high = SOFT_TISSUE_HU
        aspect = self.spacing_mm[0] / self.spacing_mm[1]
        axes.imshow(self.hu, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="antialiased")
        axes.set_axis_off()
        for x, side in ((0.03, "R"), (0.97, "L")):  # columns run to the patient's left, so their right is on our left
            axes.text(x, 0.95, side, color="white", fontsize=10, ha="center", va="center", transform=axes.transAxes)

    def _caption(self, figure, axes, text: str) -> None:  # type: ignore[no-untyped-def]
        """Text where the other panels have their colour bar, so that all panels stay level."""
        from matplotlib.cm import ScalarMappable

        place = figure.colorbar(ScalarMappable(), ax=axes, orientation="horizontal", fraction=0.04, pad=0.02, aspect=30)
        place.solids.set_visible(False)
        place.outline.set_visible(False)
        place.ax.set_facecolor("black")
        place.ax.tick_params(colors="black", labelsize=7)
        place.set_label(text, color="white", fontsize=8)

    def _heat(self, figure, axes, shown: Shown) -> None:  # type: ignore[no-untyped-def]
        """From 0 to the slice's largest value; the more important, the less transparent."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        scale = Normalize(0, shown.top if shown.top > 0 else 1, clip=True)
        colours = ScalarMappable(scale, "inferno")
        rgba = colours.to_rgba(shown.values)
        rgba[..., 3] = np.clip(scale(np.asarray(shown.values)).filled(0) * 2.5, 0, OPAQUE)
        axes.imshow(rgba, aspect=self.spacing_mm[0] / self.spacing_mm[1], interpolation="bilinear")
        bar = figure.colorbar(colours, ax=axes, orientation="horizontal", fraction=0.04, pad=0.02, aspect=30)
        bar.set_ticks([])
        bar.outline.set_edgecolor("#666666")
        for x, text, side in ((0, shown.low, "left"), (1, shown.high, "right")):
            where = {"ha": side, "va": "top", "transform": bar.ax.transAxes}
            bar.ax.text(x, -0.5, text, color="white", fontsize=7, **where)
        bar.set_label(shown.note or " ", color="white", fontsize=7, labelpad=12)


def _wrapped(text: str, width: int) -> str:
    """Lines no longer than the picture is wide."""
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""])
