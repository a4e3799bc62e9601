"""The paper's figures from our own runs, its published curves beside: Fig. 2, 3a, 3b and 4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.evaluate.figures import colour, new_figure
from unoise_engine.evaluate.published import published
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import choose
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.ranking import ranks
from unoise_engine.explanation.unoise import NearUNoise
from unoise_engine.files import new_file
from unoise_engine.lab.reproduce.recipes import SIZES
from unoise_engine.lab.reproduce.study import METHODS, Study, samples, title_of
from unoise_engine.lab.reproduce.tables import Summary, curve
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.given import own
from unoise_engine.training.maps import RunMethod
from unoise_engine.training.runs import UNoiseRun

SIZE_COLOURS = dict(zip(SIZES, ("#56b4e9", "#009e73", "#d55e00")))
TITLES = {
    "unoise-near": "U-Noise (near), recipe default",
    "gradcam": "Grad-CAM",
    "occlusion": "Occlusion",
    "random": "Random",
    "edges": "Edge strength",
    "distance": "Distance to prediction",
}
DECILES = 10


def draw_all(study: Study, out: Path) -> dict[str, Path]:
    """Name -> PNG in `out`. Raises MissingExtra without matplotlib."""
    out.mkdir(parents=True, exist_ok=True)
    figure_of = new_figure()
    figures = {
        "fig2": draw_panels(study, figure_of),
        "fig3a": draw_curves(study, figure_of),
        "fig3b": draw_deciles(study, figure_of),
        "fig4": draw_halves(study, figure_of),
    }
    paths = {}
    for name, figure in figures.items():
        paths[name] = out / f"{name}.png"
        with new_file(paths[name], replace=True) as draft:
            figure.savefig(draft.path, dpi=110, metadata={"Software": None})
    return paths


def draw_panels(study: Study, figure_of: Any, count: int = 3) -> Any:
    """Fig. 2: image with truth and prediction, then every explanation on it."""
    bundle = load_bundle(study.folders["bundle"], "cpu")
    chosen = samples(study, count)
    methods: dict[str, Any] = {
        title_of("large", True): RunMethod(
            UNoiseRun.open(study.folders[title_of("large", True)]), own(bundle.recipe).channels
        ),
        **{TITLES[k]: m for k, m in choose(METHODS[:3], Occlusion(15, study.scale.stride)).items()},
    }
    figure = figure_of((2.2 * (1 + len(methods)), 2.35 * len(chosen)))
    axes = figure.subplots(len(chosen), 1 + len(methods), squeeze=False)
    for row, (x, truth, target, name) in zip(axes, chosen):
        box = _box(x[0])
        _show(row[0], x[0][box], truth[box], target.mask[0, 0][box])
        row[0].set_title(name, fontsize=8)
        for one, (title, method) in zip(row[1:], methods.items()):
            importance = np.maximum(method(bundle, x[None], target, silent)[0], 0)
            _show(one, x[0][box], truth[box])
            peak = importance.max()
            if peak > 0:
                one.imshow(importance[box] / peak, cmap="inferno", alpha=0.65 * (importance[box] / peak))
            one.set_title(title, fontsize=8)
    figure.suptitle("green: truth, blue: found by the model; heat: positive part, 0 to the slice's largest", fontsize=9)
    return figure


def draw_curves(study: Study, figure_of: Any) -> Any:
    """Fig. 3a: grey fill, one threshold for the set; left as published, right ours."""
    folder = study.folders["evaluation"]
    figure = figure_of((11, 5.2))
    left, right = figure.subplots(1, 2, sharey=True)
    facts = published()
    if facts:
        for one in facts.curves:
            size, pretrained = _size(one.name)
            y = [d / facts.full_dice for d in one.dice]
            left.plot(np.multiply(100, one.visible), y, "--" if pretrained else "-", color=SIZE_COLOURS[size],
                      label=one.name)  # fmt: skip
    left.set_title(f"published (dice of the utility {facts.full_dice:.3f})" if facts else "published: not at hand")
    for title in study.titles:
        size, pretrained = _size(title)
        x, y = curve(folder, title, "grey", "pooled")
        right.plot(np.multiply(100, x), y, "--" if pretrained else "-", color=SIZE_COLOURS[size], label=title)
    for name in METHODS:
        x, y = curve(folder, name, "grey", "pooled")
        style = "-" if name == METHODS[0] else ":"
        tone = "#7f3c8d" if name == METHODS[0] else colour(name, METHODS)
        width = 2.4 if name == METHODS[0] else 1.2
        right.plot(np.multiply(100, x), y, style, color=tone, lw=width, label=TITLES[name])
    full = Summary(folder).find("segmentation", *_dice_name(folder)).value
    right.set_title(f"here, {study.name} (dice of the utility {full:.3f})")
    for axes in (left, right):
        axes.set_xlabel("share visible (%)")
        axes.set_xlim(0, 100)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7, loc="lower right")
    left.set_ylabel("dice / full dice")
    return figure


def draw_deciles(study: Study, figure_of: Any) -> Any:
    """Fig. 3b: one image on grey, a tenth of its pixels more at a time, the most important first."""
    bundle = load_bundle(study.folders["bundle"], "cpu")
    x, truth, target, name = samples(study, 1)[0]
    rows: list[tuple[str, np.ndarray]] = [(TITLES[METHODS[0]], NearUNoise()(bundle, x[None], target, silent)[0])]
    large = title_of("large", True)
    method = RunMethod(UNoiseRun.open(study.folders[large]), own(bundle.recipe).channels)
    rows.insert(0, (large, method(bundle, x[None], target, silent)[0]))
    figure = figure_of((1.45 * DECILES, 1.75 * len(rows)))
    axes = figure.subplots(len(rows), DECILES, squeeze=False)
    box = _box(x[0])
    for row, (title, importance) in zip(axes, rows):
        tie = np.random.default_rng(study.seed).random(importance.shape)
        tenth = ranks(importance, tie) * DECILES // importance.size
        for k, one in enumerate(row):
            _show(one, np.where(tenth <= k, x[0], 0)[box], truth[box])
            one.set_title(f"{title}\n10 %" if k == 0 else f"{10 * (k + 1)} %", fontsize=7)
    figure.suptitle(f"{name}: its most important pixels", fontsize=9)
    return figure


def draw_halves(study: Study, figure_of: Any) -> Any:
    """Fig. 4: dice at 50 % visible, three sizes, from scratch and pretrained; published bars behind."""
    summary, facts = Summary(study.folders["evaluation"]), published()
    figure = figure_of((7.5, 4))
    axes = figure.subplots()
    told = {one.name: one.half / facts.full_dice for one in facts.curves} if facts else {}
    for k, size in enumerate(SIZES):
        for shift, pretrained in ((-0.2, False), (0.2, True)):
            title = title_of(size, pretrained)
            mine = summary.find(title, "dice at 50 % / full dice", "grey", "pooled")
            error = [[max(0.0, mine.value - mine.low)], [max(0.0, mine.high - mine.value)]]
            axes.bar(k + shift, mine.value, 0.36, color=SIZE_COLOURS[size], alpha=1.0 if pretrained else 0.55,
                     yerr=None if np.isnan(error).any() else error, ecolor="#444444")  # fmt: skip
            axes.text(k + shift, 0.01, "pretrained" if pretrained else "scratch", ha="center", fontsize=7)
            if title in told:
                axes.plot([k + shift - 0.18, k + shift + 0.18], [told[title]] * 2, "k--", lw=1.2)
    ours = summary.find(METHODS[0], "dice at 50 % / full dice", "grey", "pooled")
    axes.bar(len(SIZES), ours.value, 0.36, color="#7f3c8d")
    axes.set_xticks(range(len(SIZES) + 1), [*(s.title() for s in SIZES), "recipe default"])
    axes.set_ylabel("dice / full dice at 50 % visible")
    axes.set_title("bars: here, with 95 % intervals; dashed lines: published", fontsize=9)
    return figure


def _size(title: str) -> tuple[str, bool]:
    return next(size for size in SIZES if size.title() in title), "Pretrained" in title


def _dice_name(folder: Path) -> Sequence[str]:
    """The segmentation's first measure: dice, the mean over patients."""
    return [next(r["measure"] for r in Summary(folder).rows if r["method"] == "segmentation")]


def _box(image: np.ndarray) -> tuple[slice, slice]:
    dense = image > image.min() + 0.05 * (image.max() - image.min())
    lines = [np.flatnonzero(dense.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(int(n[0]), int(n[-1]) + 1) if len(n) else slice(None) for n in lines)
    return rows, columns


def _show(axes: Any, image: np.ndarray, truth: np.ndarray, found: np.ndarray | None = None) -> None:
    axes.imshow(image, cmap="gray", interpolation="nearest")
    axes.set_axis_off()
    for mask, tone in ((truth, "#5ee05e"), (found, "#39d0ff")):
        if mask is not None and mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[tone], linewidths=0.9)
