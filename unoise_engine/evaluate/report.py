"""report.md: what was measured, on what, by which command; its tables can be copied as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unoise_engine import __version__
from unoise_engine.evaluate.cause import (
    APART,
    AREA,
    LANDMARK_AREA,
    LANDMARK_POINTING,
    POINTING,
    SHARES,
    SOLVED,
    TAKEN,
    share_name,
)
from unoise_engine.evaluate.curves import POINTS, Curves, Measure
from unoise_engine.evaluate.equal_distance import CELL_MM, FEWEST, RINGS_MM, measure_name
from unoise_engine.evaluate.interval import Estimate
from unoise_engine.evaluate.published import published
from unoise_engine.evaluate.sanity import BEYOND, EXPLAINER, STABILITY, STABILITY_ELSEWHERE, UTILITY
from unoise_engine.explanation.hiding import FILLS
from unoise_engine.explanation.slices import LabelledItem, facts
from unoise_engine.files import write

FILL_WORDS = {"grey": "hidden by grey", "noise": "hidden by noise"}
RANKING_WORDS = {"image": "ranking per image", "pooled": "one threshold for the whole set, as in the paper"}


@dataclass(frozen=True)
class About:
    """What must stand beside every figure."""

    command: str
    seed: int
    resamples: int
    data: tuple[str, ...]
    data_hash: str
    part: str
    model: str
    model_title: str
    model_hash: str
    warning: str
    refused: int = 0
    foreign: bool = False  # an imported model
    nothing: str = ""  # what must be said before all else of a model that finds nearly nothing


def write_report(
    path: Path,
    about: About,
    curves: Curves,
    measures: Sequence[Measure],
    overall: Mapping[str, Estimate],
    titles: Mapping[str, str],
    pictures: Sequence[str],
) -> None:
    found = {(m.method, m.fill, m.ranking, m.name): m for m in measures}
    blocks = _head(about, curves.answers.slices, overall)
    for ranking, fill in curves.combinations:
        blocks += [f"## Dice against share visible: {FILL_WORDS[fill]}, {RANKING_WORDS[ranking]}"]
        blocks += [_visibility(curves, found, titles, ranking, fill)]
        if (ranking, fill) == ("pooled", "grey"):
            blocks += [_paper()]
    blocks += ["## At equal distance", _equal_distance(found, titles)]
    blocks += ["## Faithful to the model's own prediction", _faithfulness(curves, found, titles)]
    blocks += _checks(curves, found, titles)
    blocks += _cause(curves, found, titles)
    blocks += [f"![{name}]({name})" for name in pictures if name.endswith(".png")]
    blocks += [_how(curves, about.foreign)]
    write(path, "\n\n".join(block for block in blocks if block) + "\n", replace=True)


def write_short_report(
    path: Path, about: About, slices: Sequence[LabelledItem], overall: Mapping[str, Estimate]
) -> None:
    """Of a model that finds nearly nothing: its segmentation, and that no map was judged."""
    told = "No map was judged. `--anyway` judges them all the same."
    write(path, "\n\n".join(block for block in [*_head(about, slices, overall), told] if block) + "\n", replace=True)


def _head(about: About, slices: Sequence[LabelledItem], overall: Mapping[str, Estimate]) -> list[str]:
    return [
        f"# Evaluation of {about.model_title}",
        f"**{about.nothing}**" if about.nothing else "",
        _about(about, slices),
        "## Segmentation",
        _table(["", "value [95 % interval]"], [[name, str(value)] for name, value in overall.items()]),
    ]


def _about(about: About, slices: Sequence[LabelledItem]) -> str:
    told = facts(slices)
    empty = sum(not one.organ.any() for one in slices)
    what = "blocks" if slices[0].organ.ndim == 3 else "slices"
    rows = [
        ["command", f"`{about.command}`" if about.command else "called from Python"],
        ["model", f"{about.model}, sha256 {about.model_hash[:16]}"],
        [
            "data",
            f"{', '.join(about.data)}{f', part {about.part}' if about.part else ''}, sha256 {about.data_hash[:16]}",
        ],
        [
            "judged",
            f"{told['slices']} {what} ({told['slices'] - empty} with organ) of {told['cases']} cases of "
            f"{told['patients']} patients{f'; {about.refused} cases refused' if about.refused else ''}",
        ],
        ["seed", f"{about.seed}; intervals: {about.resamples} resamples of the patients"],
        ["engine", f"unoise_engine {__version__}"],
    ]
    text = _table(["", ""], rows)
    if int(told["patients"]) < 2:
        text += "\n\nOne patient only: there are no intervals."
    return f"{text}\n\n{about.warning}"


def _visibility(
    curves: Curves,
    found: Mapping[tuple[str, str, str, str], Measure],
    titles: Mapping[str, str],
    ranking: str,
    fill: str,
) -> str:
    names = curves.answers.names
    head = ["ranking", "area / full dice", f"lead of {titles[names[0]]}"]
    head += [f"dice at {100 * s:g} % / full" for s in POINTS] + ["area, own prediction"]
    rows = []
    for name in names:
        area = found[name, fill, ranking, "area / full dice"]
        row = [titles[name], str(area.estimate), _lead(area)]
        row += [_short(found[name, fill, ranking, f"dice at {100 * s:g} % / full dice"].estimate) for s in POINTS]
        rows.append([*row, _short(found[name, fill, ranking, "area, own prediction"].estimate)])
    full = curves.bootstrap.estimate(curves.full)
    return _table(head, rows) + f"\n\nFull dice (everything visible, mean over patients): {full}."


def _equal_distance(found: Mapping[tuple[str, str, str, str], Measure], titles: Mapping[str, str]) -> str:
    head = [
        "dice lost, upper minus lower half",
        *(f"{fill}, {low:g}-{high:g} mm" for fill in FILLS for low, high in RINGS_MM),
    ]
    rows = []
    for name, title in titles.items():
        some = [found[name, fill, "ring", measure_name(ring)].estimate for fill in FILLS for ring in RINGS_MM]
        rows.append([title, *(f"**{one}**" if one.low > 0 else str(one) for one in some)])
    told = (
        f"Rings around the organ found, in cells of {CELL_MM:g} mm, in the body alone. What distance explains of a map "
        "in a ring (a quadratic fit) is taken away; the half of the cells that it still ranks higher is hidden, then "
        "the other. Above 0 (bold: with its interval): the map knows what matters beyond distance. A ruler gets 0. "
        f"Dice is with the model's own prediction; a ring of fewer than {FEWEST} cells is left out."
    )
    return f"{_table(head, rows)}\n\n{told}"


def _faithfulness(curves: Curves, found: Mapping[tuple[str, str, str, str], Measure], titles: Mapping[str, str]) -> str:
    keys = [
        key
        for key in dict.fromkeys((m.fill, m.ranking, m.name) for m in found.values())
        if key[2].startswith(("insertion", "deletion", "sufficiency", "necessity"))
    ]
    rows = [
        [f"{name}{f', {fill}' if ranking == 'image' else ''}"]
        + [_short(found[m, fill, ranking, name].estimate) for m in curves.answers.names]
        for fill, ranking, name in keys
    ]
    return _table(["", *(titles[m] for m in curves.answers.names)], rows)


def _checks(curves: Curves, found: Mapping[tuple[str, str, str, str], Measure], titles: Mapping[str, str]) -> list[str]:
    names = [
        name
        for name in (STABILITY, STABILITY_ELSEWHERE, UTILITY, EXPLAINER, BEYOND)
        if any(key[3] == name for key in found)
    ]
    if not names:
        return []
    shown = [m for m in curves.answers.names if any((m, "", "", name) in found for name in names)]
    rows = []
    for name in names:
        cells = [found.get((m, "", "", name)) for m in shown]
        rows.append([name, *("" if cell is None else str(cell.estimate) for cell in cells)])
    told = (
        "Of the map with itself: near 1 is good under small noise, near 0 once what was learned is destroyed. The "
        "kernels' values are shuffled within each layer, and the threshold is set so that the shuffled model finds as "
        "large an organ. U-Noise is a net of its own, so its own weights are shuffled too; one that starts from "
        "distance keeps that with any weights, so below stands what distance does not explain, in the cells of the "
        "rings above. Edge strength uses no weights. A dash: the map is constant then."
    )
    return ["## Stable, and learned?", _table(["", *(titles[m] for m in shown)], rows), told]


def _cause(curves: Curves, found: Mapping[tuple[str, str, str, str], Measure], titles: Mapping[str, str]) -> list[str]:
    """The table of the planted cause, where one is known."""
    taken = found.get(("segmentation", "", "", TAKEN))
    if taken is None:
        return []
    names = (AREA, LANDMARK_AREA, POINTING, LANDMARK_POINTING, APART, *map(share_name, SHARES))
    rows = []
    for name in names:
        cells = [found.get((method, "", "", name)) for method in curves.answers.names]
        rows.append([name, *("-" if cell is None else str(cell.estimate) for cell in cells)])
    told = (
        f"On slices where the model solves the task (dice at least {SOLVED:g}). {TAKEN[0].upper()}{TAKEN[1:]}: "
        f"{taken.estimate}. The landmark is why the organ is the target; decoys look the same and decide nothing."
    )
    return ["## The planted cause", _table(["", *(titles[m] for m in curves.answers.names)], rows), told]


def _paper() -> str:
    told = published()
    if told is None:
        return ""
    rows = [
        [
            curve.name,
            f"{curve.area / told.full_dice:.3f}",
            f"{curve.half / told.full_dice:.3f}",
        ]
        for curve in told.curves
    ]
    table = _table(["published (Koker et al. 2021)", "area / full dice", "dice at 50 % / full"], rows)
    return f"The paper's own curves, on its own data (full dice {told.full_dice}; {told.source}):\n\n{table}"


def _how(curves: Curves, foreign: bool) -> str:
    how, one = curves.answers.how, curves.answers.slices[0]
    draws = "one draw" if how.draws == 1 else f"{how.draws} draws"
    grey = "the mean of its body (what lies above its lowest value)" if foreign else "0 of the normalised image"
    unit = "" if one.scale.noise == 1 else " times that of its body"
    block = "A block is the model's window centred on the organ drawn, and counts as a slice here. "
    return (
        "## How it was measured\n\n"
        f"- {block if one.organ.ndim == 3 else ''}The most important share of a slice's pixels stays visible; the rest "
        f"is set to {grey}, or gets noise of standard deviation {how.sigma:g}{unit} ({draws}, the same for every "
        "ranking).\n"
        "- Shares: " + ", ".join(f"{100 * s:g}" for s in how.ends()) + " %. Equal importances are ordered at random.\n"
        "- Dice is taken a slice (with organ), averaged over the slices of a case, the cases of a patient, and the "
        "patients. Area / full dice is the ratio of both means.\n"
        "- Own prediction: compared with what the model finds when everything is visible, on slices where it finds "
        "something. Insertion: the most important pixels appear first (larger is better); deletion: they vanish first "
        "(smaller is better). Sufficiency at k x organ: dice when only so many pixels as k times the organ found are "
        "visible; necessity: 1 - dice when only these are hidden, both by grey.\n"
        "- Lead: U-Noise (or whatever stands first) minus this one, paired: the same resampled patients.\n"
        "- Distance to prediction ranks pixels by the signed distance to the organ's edge; it is no explanation, it is "
        "what an explanation must beat. Where the model finds nothing, it and Grad-CAM and occlusion say nothing and "
        "their order is random."
    )


def _lead(measure: Measure) -> str:
    if measure.lead is None:
        return ""
    one = measure.lead
    if np.isnan(one.low):
        return f"{one.value:+.3f}"
    text = f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
    return f"**{text}**" if one.apart else text


def _short(estimate: Estimate) -> str:
    return "-" if np.isnan(estimate.value) else f"{estimate.value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
