"""Maps of several methods side by side on test slices, to be looked at.

python Testing/benchmarks/side_by_side.py DATA SPLIT.json OUT.png [--methods NAMES] [--each 3] [--only CASE:SLICE]

Rows of slices: the CT with truth (green) and found (blue), then a map a method, by rank within the slice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from unoise_engine.drawing import load_matplotlib
from unoise_engine.evaluate.data import find_entries, read_part, read_scan
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import choose
from unoise_engine.explanation.ranking import ranks
from unoise_engine.explanation.segment import segment
from unoise_engine.explanation.slices import evenly
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.given import own

FEW = 6  # slices that stand one below the other; more stand in two columns
INCHES = 2.1


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("data", type=Path)
    words.add_argument("split", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--methods", default="unoise-near,unoise")
    words.add_argument("--each", type=int, default=3, help="slices a case")
    words.add_argument("--only", nargs="*", default=[], help="CASE:SLICE, slices counted from 1 at the feet")
    asked = words.parse_args()
    load_matplotlib()
    from matplotlib.figure import Figure

    methods = choose(asked.methods.split(","))
    rows = [*pictures(asked.data, asked.split, methods, asked.each, set(asked.only))]
    across = 1 if len(rows) <= FEW else 2
    high, wide = -(-len(rows) // across), 1 + len(methods)
    figure = Figure((INCHES * wide * across, INCHES * 0.86 * high), facecolor="black", layout="constrained")
    axes = figure.subplots(high, wide * across, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for n, (name, ct, truth, found, maps) in enumerate(rows):
        mine = axes[n // across][wide * (n % across) :]
        for axis, heat in zip(mine, [None, *maps.values()]):
            axis.imshow(ct, "gray", vmin=ct.min(), vmax=ct.max())
            if heat is not None:
                axis.imshow(heat, "inferno", alpha=np.clip(1.6 * (heat - 0.5), 0, 0.75), vmin=0.4, vmax=1)
            for mask, colour in ((truth, "#4be36a"), (found, "#38d0ff")):
                if mask.any():
                    axis.contour(mask, [0.5], colors=colour, linewidths=0.7)
        for axis, title in zip(mine, [name, *(method.title for method in methods.values())]):
            axis.set_title(title, color="white", fontsize=7)
    figure.savefig(asked.out, dpi=90)


def pictures(data: Path, split: Path, methods: dict, each: int, only: set[str]):  # type: ignore[no-untyped-def, type-arg]
    """(name, windowed slice, truth, found, rank of each map in 0 .. 1) of every slice chosen."""
    bundle = load_bundle(DEFAULT_BUNDLE, "cpu", 1)
    recipe = own(bundle.recipe)
    for entry in find_entries([data], [bundle.manifest.organ], (), "", read_part(split, "test"), "", ()):
        scan = read_scan(entry, recipe)
        shows = np.flatnonzero(scan.organ.any(axis=(1, 2)))
        chosen = [int(one.split(":")[1]) - 1 for one in only if one.split(":")[0] == entry.name]
        found = segment(bundle, scan.given, bundle.manifest.clean_up)
        for k in chosen if only else evenly(shows, each):
            some = slice(int(k), int(k) + 1)
            x, target = scan.given.items(some), found.target(some)
            maps = {}
            for name, method in methods.items():
                heat = method(bundle, x, target, silent)[0]
                tie = np.random.default_rng(0).random(heat.shape)
                maps[name] = np.where(heat > heat.min(), 1 - ranks(heat, tie) / heat.size, 0)
            box = body(x[0, 0])
            masks = scan.organ[k][box], target.mask[0, 0][box]
            yield f"{entry.name}, slice {k + 1}", x[0, 0][box], *masks, {name: heat[box] for name, heat in maps.items()}


def body(ct: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a windowed slice (h, w) of which a tenth is not air."""
    lit = ct > ct.min() + 0.1 * np.ptp(ct)
    ends = [np.flatnonzero(lit.mean(axis=axis) > 0.1)[[0, -1]] for axis in (1, 0)]
    return slice(ends[0][0], ends[0][1] + 1), slice(ends[1][0], ends[1][1] + 1)


if __name__ == "__main__":
    main()
