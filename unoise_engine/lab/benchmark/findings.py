"""All that a run found, and its CSV files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unoise_engine.files import write
from unoise_engine.lab.benchmark.adaptive import Apart
from unoise_engine.lab.benchmark.contest import Row
from unoise_engine.lab.benchmark.floor import Floor
from unoise_engine.lab.benchmark.goals import Goal
from unoise_engine.lab.benchmark.growth import Point
from unoise_engine.lab.benchmark.whole import WholeCT
from unoise_engine.models.profile import Node
from unoise_engine.spreadsheet import csv_text


@dataclass
class Findings:
    """`size`: of the slice or block that contests are held on, in pixels. `peak`: GFLOP a second. `nodes` by model and
    file."""

    command: str
    machine: dict[str, str]
    size: tuple[int, ...] = ()
    rows: list[Row] = field(default_factory=list)
    peak: float = math.nan
    floors: list[Floor] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    whole: WholeCT | None = None
    nodes: dict[tuple[str, str], list[Node]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0


def write_csv_files(out: Path, found: Findings) -> None:
    """OUT/benchmark.csv, growth.csv and nodes.csv."""
    heads = ("model", "what", "by", "seconds", "low", "high", "repeats", "standard_error", "sampled", "apart", "agrees")
    lines: list[Sequence[object]] = []
    for r in found.rows:
        measured = r.seconds, r.low, r.high, r.repeats, r.error, r.sampled, r.apart, r.agrees
        lines.append((r.model, r.what, r.by, *measured))
    write(out / "benchmark.csv", csv_text([heads, *lines], digits=6), replace=True)
    more = ("by", "slices", "side", "threads", "segmentation_gradcam_seconds", "unoise_seconds")
    lines = [(p.by, p.slices, p.side, p.threads, p.segmentation, p.unoise) for p in found.points]
    write(out / "growth.csv", csv_text([more, *lines], digits=6), replace=True)
    lines = []
    for key, nodes in found.nodes.items():
        lines += [(*key, n.name, n.op, " x ".join(map(str, n.out)), n.seconds) for n in nodes]
    last = ("model", "file", "node", "op", "out", "seconds")
    write(out / "nodes.csv", csv_text([last, *lines], digits=6), replace=True)
