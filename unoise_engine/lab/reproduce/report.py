"""report.html: one file without links to anything outside, pictures inside, readable for years."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unoise_engine import __version__
from unoise_engine.evaluate.cause import APART, AREA, LANDMARK_AREA, POINTING, TAKEN
from unoise_engine.evaluate.published import published
from unoise_engine.files import write
from unoise_engine.lab.reproduce import quirks
from unoise_engine.lab.reproduce.figures import TITLES
from unoise_engine.lab.reproduce.study import METHODS, Study
from unoise_engine.lab.reproduce.tables import Summary

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .7rem; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #999; } img { max-width: 100%; } .warn { background: #fff3d6; padding: .5rem 1rem; }
code { font-size: 12px; overflow-wrap: anywhere; } figcaption { font-size: 13px; color: #555; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #ddd; } .warn { background: #4a3a10; } }
"""
PAPER_PARAMETERS = {  # Table 1: counted by us with 3 channels, and as printed
    "Utility": ("34,527,041", "34M"),
    "U-Noise Small": ("28,529", "10K"),
    "U-Noise Medium": ("130,577", "130K"),
    "U-Noise Large": ("537,425", "537K"),
}
PAPER_SECONDS = {"U-Noise Large": "0.0031", "Grad-CAM": "0.046", "Occlusion": "201.37"}  # Table 2
WARNING = "For research only. Not for clinical use."


@dataclass(frozen=True)
class Content:
    study: Study
    command: str
    data: str
    seconds: Mapping[str, Any]
    facts: Mapping[str, Mapping[str, Any]]  # of the trainings, by stage
    stages: Sequence[Mapping[str, Any]]
    figures: Mapping[str, Path]
    planted: Study | None = None
    notes: Sequence[str] = field(default_factory=tuple)


def write_page(path: Path, content: Content) -> None:
    """Whole or not at all."""
    study = content.study
    summary = Summary(study.folders["evaluation"])
    blocks = [
        f"<h1>U-Noise reproduced: scale {study.scale.name}, recipe {study.recipes.kind}</h1>",
        f"<p class=warn>{html.escape(' '.join([*content.notes, WARNING]))}</p>",
        _table(
            ["", ""],
            [
                ["command", content.command],
                ["data", content.data],
                ["seed", str(study.seed)],
                ["device", str(content.seconds.get("device", ""))],
                ["engine", f"unoise_engine {__version__}"],
            ],
        ),
        "<h2>Segmentation on the test patients</h2>",
        _table(["", "value [95 % interval]"], [[n, str(v)] for n, v in summary.measures("segmentation")]),
        "<h2>Fig. 2: what each method shows</h2>",
        _picture(content.figures["fig2"], "Slices of test patients with the most organ."),
        "<h2>Fig. 3a: dice against share visible</h2>",
        _picture(
            content.figures["fig3a"],
            "Hidden by grey, one threshold for the set, as in the paper; both divided by the utility's full dice.",
        ),
        _areas(study, summary),
        "<h2>Ranking per image, both fills</h2>",
        _goals(study, summary),
        "<h2>Fig. 3b: more and more, by importance</h2>",
        _picture(
            content.figures["fig3b"],
            "A tenth more of the pixels in each picture, the most important first; the rest is grey, as hidden.",
        ),
        "<h2>Fig. 4: half of the pixels visible</h2>",
        _picture(content.figures["fig4"], "Grey, one threshold for the set."),
        "<h2>Table 1: parameters</h2>",
        _parameters(content),
        "<h2>Table 2: seconds for one slice</h2>",
        _seconds(content),
        "<h2>What changed against the published code</h2>",
        _table(["", "published", "here"], quirks.rows(study.recipes)),
        _planted(content.planted),
        "<h2>Stages</h2>",
        "<p>OUT is this report's folder; each run's folder holds its recipe, split and metrics.</p>",
        _stages(content.stages),
    ]
    title = f"U-Noise reproduced, {study.scale.name}"
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<body>{''.join(blocks)}</body></html>\n"
    )
    write(path, page, replace=True)


def _titles(study: Study) -> dict[str, str]:
    return {METHODS[0]: TITLES[METHODS[0]], **{t: t for t in study.titles}, **{m: TITLES[m] for m in METHODS[1:]}}


def _areas(study: Study, summary: Summary) -> str:
    told = {c.name: c.area for c in facts.curves} if (facts := published()) else {}
    rows = []
    for name, title in _titles(study).items():
        area = summary.find(name, "area / full dice", "grey", "pooled")
        theirs = f"{told[title] / facts.full_dice:.3f}" if facts and title in told else ""
        rows.append([title, str(area), theirs])
    return _table(["one threshold for the set, grey", "area / full dice", "published"], rows)


def _goals(study: Study, summary: Summary) -> str:
    tables = []
    for fill in ("grey", "noise"):
        rows = []
        for name, title in _titles(study).items():
            row = [title, str(summary.find(name, "area / full dice", fill, "image"))]
            row.append("" if name == METHODS[0] else str(summary.lead(name, "area / full dice", fill, "image")))
            row += [
                f"{summary.find(name, f'dice at {n} % / full dice', fill, 'image').value:.3f}" for n in (10, 20, 50)
            ]
            rows.append(row)
        head = [f"hidden by {fill}", "area / full dice", "lead of recipe default", "at 10 %", "at 20 %", "at 50 %"]
        tables.append(_table(head, rows))
    return "".join(tables)


def _parameters(content: Content) -> str:
    rows = []
    for name, (counted, printed) in PAPER_PARAMETERS.items():
        stage = "utility" if name == "Utility" else f"unoise-{name.split()[-1].lower()}"
        mine = content.facts[f"{content.study.name}-{stage}"]["parameters"]
        rows.append([name, f"{mine:,}", counted, printed])
    channels = content.study.recipes.utility.ct.channels
    return _table(["", f"here ({channels} channels)", "published net, counted (3 channels)", "printed"], rows)


def _seconds(content: Content) -> str:
    times = {k: v for k, v in content.seconds.items() if isinstance(v, float)}
    rows = [[name, f"{value:.5f}", PAPER_SECONDS.get(name, "")] for name, value in times.items()]
    train = content.facts[f"{content.study.name}-unoise-large"]["train_seconds"]
    rows.append(["training U-Noise Large", f"{train:.0f}", "17790"])
    size = content.seconds.get("size", "")
    return _table(
        ["", f"here: {size}, {content.seconds.get('device', '')}", "published: 256 x 256, RTX 2070 Super"], rows
    )


def _planted(study: Study | None) -> str:
    if study is None:
        return ""
    summary = Summary(study.folders["evaluation"])
    measures = (AREA, LANDMARK_AREA, POINTING, APART)
    rows = []
    for name, title in _titles(study).items():
        try:
            rows.append([title, *(str(summary.find(name, m)) for m in measures)])
        except KeyError:
            continue
    told = [[n, str(v)] for n, v in summary.measures("segmentation")]
    if not rows:
        rows = [["the utility did not solve the task on any slice: there is nothing to explain", *[""] * len(measures)]]
    return (
        "<h2>Planted cause</h2><p>Synthetic CTs whose organ counts only where a landmark is near; decoys look the same."
        f"</p>{_table(['', 'utility'], [r for r in told if r[0] == TAKEN or 'dice' in r[0]])}"
        f"{_table(['', *measures], rows)}"
    )


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in stages:
        facts = {k: v for k, v in one["facts"].items() if not isinstance(v, dict)}
        said = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in facts.items())
        rows.append([one["stage"], f"{one['seconds']:.0f}", said, one.get("command", "")])
    return _table(["stage", "seconds", "found", "the same by hand"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _picture(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
