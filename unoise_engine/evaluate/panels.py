"""Slices to look at, of blocks those with most organ: each ranking's worst, middle and best, with every map and what
the model still sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.evaluate.curves import Curves
from unoise_engine.evaluate.figures import new_figure
from unoise_engine.explanation.hiding import Hider
from unoise_engine.explanation.ranking import count, ranks
from unoise_engine.explanation.slices import chance
from unoise_engine.files import new_file
from unoise_engine.models.segmenter import Predicts

TRUTH, FOUND = "#5ee05e", "#39d0ff"
SHOWN = 0.1  # share visible in the last panel
CELL, HEAD, EDGE = 2.3, 0.4, 0.3  # inches: a picture's width, its title, the figure's edge
GAP = 2  # pixels between pictures


@dataclass(frozen=True)
class Picture:
    """One cell: colours (h, w, 3), outlines (h, w) bool or none, a title."""

    colours: np.ndarray
    truth: np.ndarray | None
    found: np.ndarray | None
    title: str
    marked: bool = False


@dataclass(frozen=True)
class Panels:
    """Everything to draw from: the model, what it found on each slice, and each slice's maps by name. `bodies` has the
    maps that show inside the body alone, as pictures of them do everywhere: where that is on each slice."""

    model: Predicts
    found: Sequence[np.ndarray]
    maps: Mapping[str, Sequence[np.ndarray]]
    curves: Curves
    titles: Mapping[str, str]
    warning: str
    bodies: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)

    def draw_all(self, out: Path, each: int) -> list[str]:
        """OUT/panels-<method>.png, `each` slices of each kind. Raises MissingExtra without matplotlib."""
        names: list[str] = []
        if each and "image" in self.curves.answers.how.rankings and self.curves.with_organ.any():
            for name in self.maps:
                names.append(f"panels-{safe(name)}.png")
                figure = self.draw(name, each)
                with new_file(out / names[-1], replace=True) as draft:
                    figure.savefig(draft.path, dpi=130, facecolor="black", metadata={"Software": None})
        return names

    def draw(self, name: str, each: int) -> Any:
        """The figure of one ranking: a row a slice."""
        answers = self.curves.answers
        fill = answers.how.fills[0]
        score = self.curves.area(answers.curve(name, "image", fill))
        rows = []
        for word, s in choose(score, self.curves, each):
            note = f"{answers.slices[s].name}\n{word}: area {score[s]:.2f}, full {answers.clean[s]:.2f}"
            rows.append(self.row(name, s, note))
        title = f"{self.titles[name]}: its worst, middle and best slices, hidden by {fill}"
        told = [self.titles[name] for name in self.maps if name in self.bodies]
        inside = f" ({', '.join(told)}: inside the body)" if told else ""
        below = f"green: truth, blue: found; heat by rank, the brighter the more important{inside}. {self.warning}"
        return mosaic(rows, title, below)

    def row(self, name: str, s: int, note: str) -> list[Picture]:
        """The slice, every map on it, and what is left of it when only the best of `name` is visible."""
        one = self.curves.answers.slices[s]
        image, truth = one.image_plane, one.plane(one.organ)
        box = _body(image)
        low, high = float(image.min()), float(image.max())

        def grey(values: np.ndarray) -> np.ndarray:
            return np.repeat(((values - low) / max(high - low, 1e-6)).clip(0, 1)[box][..., None], 3, axis=-1)

        pictures = [Picture(grey(image), truth[box], one.plane(self.found[s])[box], note)]
        for key, some in self.maps.items():
            body = one.plane(self.bodies[key][s])[box] if key in self.bodies else None
            colours = _heat(grey(image), one.plane(some[s])[box], body)
            pictures.append(Picture(colours, truth[box], None, self.titles[key], key == name))
        tie = chance(self.curves.answers.how.seed, one, "ties").random(one.organ.shape, np.float32)
        visible = ranks(self.maps[name][s], tie) < count(SHOWN, one.organ.size)
        hidden = Hider(one, 0, 0, 0.0).hide(visible[None], "grey")
        seen = one.plane(self.model.predict(hidden)[0, 0] > 0)
        title = f"{self.titles[name]}: {100 * SHOWN:g} % visible"
        left = np.where(one.plane(visible), image, one.scale.grey)
        return [*pictures, Picture(grey(left), truth[box], seen[box], title)]


def choose(score: np.ndarray, curves: Curves, each: int) -> list[tuple[str, int]]:
    """Slices with organ: the worst, those in the middle, the best; fewer where there are fewer."""
    order = [int(s) for s in np.argsort(score, kind="stable") if curves.with_organ[s]]
    middle = max(0, (len(order) - each) // 2)
    wanted = [("worst", s) for s in order[:each]]
    wanted += [("middle", s) for s in order[middle : middle + each]]
    wanted += [("best", s) for s in order[max(0, len(order) - each) :]]
    seen: set[int] = set()
    return [(word, s) for word, s in wanted if not (s in seen or seen.add(s))]  # type: ignore[func-returns-value]


def safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-")


def mosaic(rows: Sequence[Sequence[Picture]], title: str, below: str) -> Any:
    """All pictures in one pair of axes: as many axes as pictures would take seconds a figure."""
    h = max(p.colours.shape[0] for row in rows for p in row)
    w = max(p.colours.shape[1] for row in rows for p in row)
    columns = len(rows[0])
    head = round(HEAD / CELL * w)  # pixels
    size = (len(rows) * (h + head), columns * (w + GAP))
    colours, truth, found = np.zeros((*size, 3)), np.zeros(size, bool), np.zeros(size, bool)
    inches = CELL / w
    wide, high = size[1] * inches, size[0] * inches + 2 * EDGE
    figure = new_figure()((wide, high), facecolor="black", layout=None)
    axes = figure.add_axes((0, EDGE / high, 1, 1 - 2 * EDGE / high))
    for r, row in enumerate(rows):
        for c, one in enumerate(row):
            top, left = r * (h + head) + head, c * (w + GAP)
            inner_h, inner_w = one.colours.shape[:2]
            top, left = top + (h - inner_h) // 2, left + (w - inner_w) // 2
            place = slice(top, top + inner_h), slice(left, left + inner_w)
            colours[place] = one.colours
            for whole, part in ((truth, one.truth), (found, one.found)):
                if part is not None:
                    whole[place] = part
            tone, middle = "#ffb347" if one.marked else "white", left + inner_w / 2
            axes.text(middle, top - 2, one.title, color=tone, fontsize=7.5, ha="center", va="bottom", parse_math=False)
    axes.imshow(colours, interpolation="bilinear", aspect="auto")
    axes.set_axis_off()
    for whole, line in ((truth, TRUTH), (found, FOUND)):
        if whole.any():
            axes.contour(whole, levels=[0.5], colors=[line], linewidths=0.9)
    figure.text(0.5, 1 - 0.06 / high, title, color="white", fontsize=11, ha="center", va="top", parse_math=False)
    figure.text(0.5, 0.06 / high, below, color="#ffb347", fontsize=8, ha="center", va="bottom", parse_math=False)
    return figure


def _heat(grey: np.ndarray, importance: np.ndarray, body: np.ndarray | None = None) -> np.ndarray:
    """By rank, which is what is judged: the upper half glows, inside the `body` if that is given. A map that says
    nothing leaves the slice as it is."""
    from matplotlib import colormaps

    if importance.max() == importance.min():
        return grey
    values, place = np.unique(importance, return_inverse=True)
    share = (np.searchsorted(np.sort(importance.ravel()), values) / importance.size)[place].reshape(importance.shape)
    strength = np.clip(2 * share - 1, 0, 1) * (True if body is None else body)
    alpha = 0.75 * strength[..., None]
    return (1 - alpha) * grey + alpha * colormaps["inferno"](strength)[..., :3]


def _body(image: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of everything brighter than air."""
    dense = image > image.min() + 0.05 * (image.max() - image.min())
    box = []
    for axis, n in ((1, image.shape[0]), (0, image.shape[1])):
        lines = np.flatnonzero(dense.mean(axis=axis) > 0.05)
        box.append(slice(int(lines[0]), int(lines[-1]) + 1) if len(lines) else slice(0, n))
    return box[0], box[1]
