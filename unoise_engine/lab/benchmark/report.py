"""benchmark.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from unoise_engine.explanation.methods import TITLES
from unoise_engine.lab.benchmark.contest import OURS, Row
from unoise_engine.lab.benchmark.findings import Findings
from unoise_engine.lab.benchmark.goals import Goal
from unoise_engine.lab.benchmark.whole import MIB, WholeCT
from unoise_engine.models.profile import Node

SLOWEST = 6  # nodes of a profile that are listed
APART = (
    "*apart*: the largest difference from our answer (for our occlusion: from full passes), as a share of the largest "
    "value; for captum's and MONAI's occlusion, of the dice. Checked before anything was timed. The time of occlusion "
    "at every place is that of a sample, for all places."
)
WORK = (
    "The best of several matrix products, float32, all cores. Work: multiply-adds of convolutions, two operations "
    "each, counted in the graphs that ran; for occlusion that of a place."
)


def report(found: Findings) -> str:
    sections: tuple[Callable[[Findings], Iterable[str]], ...] = (
        _head, _goals, _models, _floors, _apart, _growth, _whole_ct, _profiles, _left_out,
    )  # fmt: skip
    return "\n\n".join(part for section in sections for part in section(found)) + "\n"


def _head(found: Findings) -> Iterable[str]:
    kind = "slice" if len(found.size) == 2 else "block"
    yield (
        f"# Speed\n\nMade by `{found.command}` in {span(found.seconds)}. One {kind} of "
        f"{' x '.join(map(str, found.size))}, if nothing else is said."
    )
    yield table(("machine", ""), found.machine.items())
    if wrong := [f"{row.model}, {row.what}, {row.by}" for row in found.rows if not row.agrees]:
        yield "**DISAGREEMENT**: " + "; ".join(wrong)


def _goals(found: Findings) -> Iterable[str]:
    def line(goal: Goal) -> tuple[str, ...]:
        limit = f"{'>=' if goal.least else '<='} {goal.limit:g} {goal.unit}"
        return goal.what, f"{goal.found:.3g} {goal.unit}", limit, "met" if goal.met else "**missed**"

    if found.goals:
        yield "## Goals\n\n" + table(("what", "found", "goal", ""), map(line, found.goals))


def _models(found: Findings) -> Iterable[str]:
    for model in dict.fromkeys(row.model for row in found.rows):
        yield f"## Model: {model}\n\n" + contests(found.rows, model)
    yield APART


def _floors(found: Findings) -> Iterable[str]:
    if found.floors:
        heads = ("model, what", "GFLOP", "floor", "took", "share of the floor reached")
        lines = []
        for one in found.floors:
            least = one.gflop / found.peak
            times = span(least), span(one.seconds), f"{least / one.seconds:.0%}"
            lines.append((f"{one.model}, {one.what}", f"{one.gflop:.2f}", *times))
        yield f"## Floors\n\nPeak {found.peak:.0f} GFLOP/s. {WORK}\n\n" + table(heads, lines)


def _apart(found: Findings) -> Iterable[str]:
    if found.apart:
        heads = ("slice", "places compared", "range", "RMS error", "mean", "largest")
        lines = []
        for one in found.apart:
            shares = (f"{100 * share:.2f} %" for share in (one.rms, one.mean, one.largest))
            lines.append((one.name, f"{one.places} of {one.of}", f"{one.range:.3f}", *shares))
        yield "## Default occlusion against the exact map\n\n" + table(heads, lines)


def _growth(found: Findings) -> Iterable[str]:
    if found.points:
        heads = ("grows with", "slices", "pixels", "threads", "segmentation and Grad-CAM", "U-Noise")
        lines = [
            (p.by, p.slices, f"{p.side} x {p.side}", p.threads, span(p.segmentation), span(p.unoise))
            for p in found.points
        ]
        yield "## Growth\n\nThe bundle's models; seconds of all slices together.\n\n" + table(heads, lines)


def _whole_ct(found: Findings) -> Iterable[str]:
    if found.whole:
        yield _whole(found.whole)


def _profiles(found: Findings) -> Iterable[str]:
    for (model, file), nodes in found.nodes.items():
        yield f"## Where the time goes: {model}, {file}\n\n" + _profile(nodes)


def _left_out(found: Findings) -> Iterable[str]:
    if found.left_out:
        yield "## Left out\n\n" + "\n".join(f"- {one}" for one in found.left_out)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; all columns but the first to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def span(seconds: float) -> str:
    """A time in the unit that suits it."""
    if not math.isfinite(seconds):
        return "-"
    for limit, unit, size in ((1e-3, "us", 1e-6), (1, "ms", 1e-3), (120, "s", 1), (7200, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 3600:.3g} h"


def times(row: Row, rows: Sequence[Row]) -> str:
    """How many times our own time that is."""
    ours = next((r.seconds for r in rows if (r.model, r.what, r.by) == (row.model, row.what, OURS)), math.nan)
    ratio = row.seconds / ours
    return f"{ratio:.3g}" if math.isfinite(ratio) else "-"


def contests(rows: Sequence[Row], model: str) -> str:
    lines = []
    for row in (r for r in rows if r.model == model):
        ours = row.by == OURS
        spread = f"{span(row.low)} to {span(row.high)}" if row.repeats > 1 else ("once" if row.repeats else "-")
        if row.error is not None:
            spread += f"; standard error {span(row.error)}"
        agrees = "" if row.apart is None else f"{row.apart:.0e}"
        note = "; ".join(filter(None, (f"{row.sampled} timed" if row.sampled and not row.note else "", row.note)))
        by = f"**{row.by}**" if ours else row.by
        lines.append((row.what if ours else "", by, span(row.seconds), times(row, rows), spread, agrees, note))
    return table(("what", "by", "median", "times ours", "spread", "apart", "note"), lines)


def _whole(whole: WholeCT) -> str:
    stages = ", ".join(f"{name} {span(seconds)}" for name, seconds in whole.stages.items())
    memory = "not told by this system"
    if whole.peak_bytes is not None and whole.start_bytes is not None:
        memory = (
            f"{whole.peak_bytes / MIB:.0f} MiB, of which {whole.start_bytes / MIB:.0f} MiB before anything was opened; "
            f"without these {whole.times_ct:.2f} times the CT in float32 ({whole.ct_bytes / MIB:.0f} MiB)"
        )
    size = " x ".join(map(str, whole.size))
    made = ["segmentation", *(TITLES[name] for name in whole.stages if name in TITLES)]
    return (
        f"## A whole CT, from file to files\n\n{size}, {', '.join(made)}: **{span(whole.seconds)}**, "
        f"{whole.times_models:.2f} times the {span(whole.models)} inside the models. {stages}. Peak memory: {memory}."
    )


def _profile(nodes: Sequence[Node]) -> str:
    total = sum(node.seconds for node in nodes)
    kinds: dict[str, float] = {}
    for node in nodes:
        kinds[node.op] = kinds.get(node.op, 0.0) + node.seconds
    ordered = sorted(kinds.items(), key=lambda kind: -kind[1])
    said = ", ".join(f"{op} {seconds / total:.0%}" for op, seconds in ordered if seconds > 0.01 * total)
    lines = [
        (f"{n.op} {n.name}", " x ".join(map(str, n.out)), span(n.seconds), f"{n.seconds / total:.0%}")
        for n in nodes[:SLOWEST]
    ]
    return f"{span(total)} in its nodes: {said}.\n\n" + table(("slowest nodes", "out", "seconds", "share"), lines)
