"""Slices to look at: each ranking's worst, middle and best, with every map and what the model still sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.evaluate.curves import Curves
from unoise_engine.evaluate.figures import new_figure
from unoise_engine.evaluate.ranking import count, ranks
from unoise_engine.evaluate.slices import chance
from unoise_engine.evaluate.visibility import Segmenter

TRUTH, FOUND = "#5ee05e", "#39d0ff"
SHOWN = 0.1  # share visible in the last panel
CELL = 2.3  # inches


def draw_panels(
    out: Path,
    each: int,
    model: Segmenter,
    found: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    curves: Curves,
    titles: Mapping[str, str],
    warning: str,
) -> list[str]:
    """OUT/panels-<method>.png, `each` slices of each kind. Raises MissingExtra without matplotlib."""
    figure_of = new_figure()
    names: list[str] = []
    if not each or "image" not in curves.answers.how.rankings:
        return names
    for name in curves.answers.names:
        fill = curves.answers.how.fills[0]
        score = curves.area(curves.answers.curve(name, "image", fill))
        rows = choose(score, curves, each)
        boxes = [_body(curves.answers.slices[s].image.mean(axis=0)) for _, s in rows]
        tall = max((b[0].stop - b[0].start) / (b[1].stop - b[1].start) for b in boxes)
        figure = figure_of((CELL * (len(maps) + 2), (CELL * tall + 0.35) * len(rows) + 0.6), facecolor="black")
        grid = figure.subplots(len(rows), len(maps) + 2, squeeze=False)
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.01, hspace=0.01)
        for line, (word, s) in zip(grid, rows):
            _row(
                line,
                s,
                model,
                found,
                maps,
                curves,
                titles,
                name,
                f"{word}: area {score[s]:.2f}, full {curves.answers.clean[s]:.2f}",
            )
        figure.suptitle(
            f"{titles[name]}: its worst, middle and best slices, hidden by {fill}", color="white", fontsize=11
        )
        figure.supxlabel(f"green: truth, blue: found. {warning}", color="#ffb347", fontsize=8)
        names.append(f"panels-{safe(name)}.png")
        figure.savefig(out / names[-1], dpi=110, facecolor="black", metadata={"Software": None})
    return names


def choose(score: np.ndarray, curves: Curves, each: int) -> list[tuple[str, int]]:
    """Slices with organ: the worst, those in the middle, the best; fewer where there are fewer."""
    order = [int(s) for s in np.argsort(score, kind="stable") if curves.with_organ[s]]
    middle = max(0, (len(order) - each) // 2)
    wanted = [("worst", s) for s in order[:each]]
    wanted += [("middle", s) for s in order[middle : middle + each]]
    wanted += [("best", s) for s in order[len(order) - each :]]
    seen: set[int] = set()
    return [(word, s) for word, s in wanted if not (s in seen or seen.add(s))]  # type: ignore[func-returns-value]


def safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-")


def _row(
    line: Any,
    s: int,
    model: Segmenter,
    found: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    curves: Curves,
    titles: Mapping[str, str],
    name: str,
    note: str,
) -> None:
    one = curves.answers.slices[s]
    image = one.image.mean(axis=0)
    box = _body(image)
    low, high = float(image.min()), float(image.max())
    for axes in line:
        axes.set_axis_off()
        axes.imshow(image[box], cmap="gray", vmin=low, vmax=high)
    _outline(line[0], one.organ[box], TRUTH)
    _outline(line[0], found[s][box], FOUND)
    line[0].set_title(f"{one.name}\n{note}", color="white", fontsize=7)
    for axes, (key, some) in zip(line[1:], maps.items()):
        _heat(axes, some[s][box])
        _outline(axes, one.organ[box], TRUTH)
        axes.set_title(titles[key], color="#ffb347" if key == name else "white", fontsize=8)
    tie = chance(curves.answers.how.seed, one, "ties").random(one.organ.shape, np.float32)
    visible = ranks(maps[name][s], tie) < count(SHOWN, one.organ.size)
    seen = model.predict((one.image * visible)[None])[0, 0] > 0
    line[-1].imshow(np.where(visible, image, 0.0)[box], cmap="gray", vmin=low, vmax=high)
    _outline(line[-1], one.organ[box], TRUTH)
    _outline(line[-1], seen[box], FOUND)
    line[-1].set_title(f"{titles[name]}: {100 * SHOWN:g} % visible", color="white", fontsize=8)


def _outline(axes: Any, mask: np.ndarray, colour: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.9)


def _heat(axes: Any, importance: np.ndarray) -> None:
    """By rank, since ranks are what is judged: the most important tenth glows, the lower half is clear."""
    flat = np.argsort(np.argsort(importance.ravel(), kind="stable"), kind="stable")
    share = (flat / max(flat.size - 1, 1)).reshape(importance.shape)
    if importance.max() == importance.min():
        return
    axes.imshow(share, cmap="inferno", vmin=0.5, vmax=1, alpha=np.clip((share - 0.5) * 2, 0, 0.75))


def _body(image: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of everything brighter than air."""
    dense = image > image.min() + 0.05 * (image.max() - image.min())
    box = []
    for axis, n in ((1, image.shape[0]), (0, image.shape[1])):
        lines = np.flatnonzero(dense.mean(axis=axis) > 0.05)
        box.append(slice(int(lines[0]), int(lines[-1]) + 1) if len(lines) else slice(0, n))
    return box[0], box[1]
