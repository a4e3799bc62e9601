"""Judges a bundle on real CT, and on whole synthetic ones, with one command:

python Testing/benchmarks/real_ct.py SHARED_DATA DATA RUN [--bundle B] [--json FILE] [--table FILE] [--pictures FOLDER]
                                     [--volumes N] [--before FILE]

SHARED_DATA holds ``pancreas-ct-slices/hu.npz``, ``ct-upper-abdomen-dicom``, ``ct-upper-abdomen-labels.nii.gz`` and
``ct-unenhanced/s0009``, a real CT without contrast agent whose field of view is cut at the front.
DATA holds the folders a run was trained on (``nih``, ``painted``, ``phantoms``), RUN/split.json says who judges. A run
that learnt from the DICOM series has it as ``abdomen`` among its folders; its figures there say so: no evidence.
Dice is on the CT's own pixels. Single slices have no neighbours, so they are judged without the bundle's clean-up;
whole CTs with it. FILE of --table gets the table of docs/results.md and model card; --before FILE, the --json of
another bundle, adds how much better this one is on the same cases. Intervals are 95 % bootstrap over patients, of
whole synthetic CTs over volumes (1000 draws, seed 0).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.given import own
from unoise_engine.models.input import Input
from unoise_engine.models.session import Bundle
from unoise_engine.training.augment import wash_out
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import AxialView, Grid, Volume

ORGAN = 7
FATTY = 10.0  # HU: a gland whose mean lies below holds much fat
Change = Callable[[np.ndarray, tuple[float, float]], np.ndarray]  # of windowed slices (n, h, w), their window in HU
Slice = tuple[str, np.ndarray, np.ndarray, np.ndarray]  # patient, HU, truth, found; (rows, columns) each


def main() -> None:
    """Real slices first, then whole CTs; a line for each set as soon as it is judged."""
    words = argparse.ArgumentParser()
    words.add_argument("shared", type=Path)
    words.add_argument("data", type=Path)
    words.add_argument("run", type=Path)
    words.add_argument("--bundle", default=DEFAULT_BUNDLE)
    words.add_argument("--json", type=Path)
    words.add_argument("--table", type=Path)
    words.add_argument("--pictures", type=Path)
    words.add_argument("--volumes", type=int, default=0, help="at most so many whole CTs of a set; 0: all")
    words.add_argument("--before", type=Path, help="the figures of another bundle")
    asked = words.parse_args()
    bundle = load_bundle(asked.bundle, "cpu")
    split = json.loads((asked.run / "split.json").read_text("utf-8"))
    figures: dict[str, Any] = {}

    for part in ("val", "test"):
        slices = list(real_slices(bundle, asked.data / "nih", names(split, part, "nih")))
        figures[f"nih_{part}"] = by_patient(slices)
        tell(f"NIH Pancreas-CT, {part} patients, slice dice", figures[f"nih_{part}"])
        if part == "test" and asked.pictures:
            draw(slices, asked.pictures)
        slices = list(real_slices(bundle, asked.data / "nih", names(split, part, "nih"), washed_out))
        figures[f"nih_{part}_washed_out"] = by_patient(slices)
        tell(f"the same without their contrast agent (`wash_out`), {part} patients", figures[f"nih_{part}_washed_out"])
    figures["hu_slices"] = hu_slices(bundle, asked.shared / "pancreas-ct-slices" / "hu.npz")
    tell("full HU against the archive's clip and 8 bits", figures["hu_slices"])
    figures["dicom_series"] = dicom_series(bundle, asked.shared)
    figures["dicom_series"]["learnt_from"] = any(case.startswith("abdomen/") for case in split["train"])
    tell("real DICOM series (automatic reference)", figures["dicom_series"])
    figures["unenhanced"] = unenhanced(bundle, asked.shared / "ct-unenhanced" / "s0009")
    tell("real CT without contrast agent, s0009", figures["unenhanced"])
    phases = json.loads((asked.data / "painted" / "painted.json").read_text("utf-8"))
    volumes = whole(bundle, asked.data / "painted", few(names(split, "test", "painted"), asked.volumes))
    for phase in sorted({entry["phase"] for entry in phases.values()}):
        chosen = {case: value for case, value in volumes.items() if phases[case]["phase"] == phase}
        figures[f"painted_{phase}"] = spread(chosen)
        tell(f"painted CTs of held-out label maps, {phase}, volume dice", figures[f"painted_{phase}"])
    figures["phantoms"] = spread(
        whole(bundle, asked.data / "phantoms", few(names(split, "test", "phantoms"), asked.volumes))
    )
    tell("phantoms, volume dice", figures["phantoms"])
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if asked.table:
        before = json.loads(asked.before.read_text("utf-8")) if asked.before else {}
        asked.table.write_text(table(figures, before), "utf-8")


def names(split: dict[str, list[str]], part: str, folder: str) -> list[str]:
    return [case.split("/")[1] for case in split[part] if case.startswith(f"{folder}/")]


def few(cases: list[str], most: int) -> list[str]:
    """Evenly spread over the sorted names, so over the label maps too."""
    chosen = np.linspace(0, len(cases) - 1, min(most or len(cases), len(cases))).round().astype(int)
    return [cases[k] for k in np.unique(chosen)]


def tell(what: str, figures: dict[str, Any]) -> None:
    print(what + ": " + ", ".join(f"{k} {v}" for k, v in figures.items() if k not in ("each", "gland_hu")), flush=True)


def as_they_are(windowed: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    return windowed


def washed_out(windowed: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """Windowed slices (n, h, w) as they might look without contrast agent: a stand-in, no such real CT is at hand."""
    torch.manual_seed(0)
    every = torch.ones(len(windowed), dtype=torch.bool)
    return wash_out(torch.from_numpy(windowed[:, None]), every, window_hu)[:, 0].numpy()


def found_in(bundle: Bundle, ct: Volume, change: Change = as_they_are) -> np.ndarray:
    """Axial slices (n, rows, columns) bool, each looked at alone: no clean-up."""
    given = Input.of(ct, own(bundle.recipe))
    windowed = change(given.windowed(), own(bundle.recipe).window_hu)
    logits = [bundle.predict(own(bundle.recipe).normalise(windowed[k : k + 8])) for k in range(0, len(windowed), 8)]
    return AxialView.of(ct.grid).apply(given.restore(np.concatenate(logits)[:, 0], label=1).voxels) > 0


def real_slices(bundle: Bundle, folder: Path, cases: list[str], change: Change = as_they_are) -> Iterator[Slice]:
    for case in cases:
        ct, labels = (read_image(folder / f"{case}-{what}.nii.gz") for what in ("ct", "labels"))
        view = AxialView.of(ct.grid)
        truth = view.apply(labels.voxels) == ORGAN
        for hu, true, found in zip(view.apply(ct.voxels), truth, found_in(bundle, ct, change)):
            if true.any():
                yield case, hu, true, found


def by_patient(slices: list[Slice]) -> dict[str, Any]:
    """Mean over patients of the mean slice dice, its interval, and the dice of all pixels pooled."""
    patients = sorted({patient for patient, *_ in slices})
    means = [np.mean([dice(f, t) for p, _, t, f in slices if p == patient]) for patient in patients]
    both = sum(int((t & f).sum()) for _, _, t, f in slices)
    pooled = 2 * both / sum(int(t.sum() + f.sum()) for _, _, t, f in slices)
    return {
        "patients": len(patients),
        "slices": len(slices),
        "dice": round(float(np.mean(means)), 3),
        "interval": interval(means),
        "pooled": round(pooled, 3),
        "thirds": thirds([[dice(f, t) for p, _, t, f in slices if p == patient] for patient in patients]),
        "each": {p: round(float(m), 3) for p, m in zip(patients, means)},
    }


def thirds(glands: list[list[float]]) -> list[float]:
    """Slice dice by thirds of each gland's slices, in the order given, the mean over the glands."""
    parts = [[np.mean(part) for part in np.array_split(gland, 3)] for gland in glands if len(gland) >= 3]
    return [round(float(x), 3) for x in np.mean(parts, axis=0)] if parts else []


def of_slices(found: np.ndarray, true: np.ndarray) -> list[float]:
    """Dice of each slice (n, rows, columns) that shows organ."""
    return [dice(f, t) for f, t in zip(found, true) if t.any()]


def interval(values: list[Any]) -> list[float]:
    draws = np.random.default_rng(0).choice(values, (1000, len(values))).mean(axis=1)
    return [round(float(x), 3) for x in np.percentile(draws, (2.5, 97.5))]


def hu_slices(bundle: Bundle, path: Path) -> dict[str, Any]:
    """The same slices in full HU and as the archive would keep them, for patients 1 and 2, who are test patients."""
    with np.load(path, allow_pickle=False) as stored:
        chosen = stored["patient"] <= 2
        hu, mask = stored["image"][chosen], stored["mask"][chosen]
    grid = Grid(hu.shape[::-1], (0.8, 0.8, 1.0), (0, 0, 0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    full, clipped = (found_in(bundle, Volume(voxels, grid)) for voxels in (hu, np.clip(hu, 0, 255)))
    return {
        "slices": len(hu),
        "dice_full_hu": round(float(np.mean([dice(f, m) for f, m in zip(full, mask)])), 3),
        "dice_clipped": round(float(np.mean([dice(f, m) for f, m in zip(clipped, mask)])), 3),
        "agreement": round(dice(full, clipped), 4),
    }


def dicom_series(bundle: Bundle, shared: Path) -> dict[str, Any]:
    """The real series as `explain` segments it, against its automatic reference; ml."""
    (case,) = find_cases([shared / "ct-upper-abdomen-dicom"])
    ct, labels = case.read().ct, read_image(shared / "ct-upper-abdomen-labels.nii.gz")
    true = AxialView.of(labels.grid).apply(labels.voxels) == ORGAN
    found = AxialView.of(ct.grid).apply(segment(bundle, ct))
    without = ~true.any(axis=(1, 2))
    ml = ct.grid.voxel_ml
    return {
        "reference_ml": round(float(true.sum()) * ml, 2),
        "found_ml": round(float(found.sum()) * ml, 2),
        "slices_without": int(without.sum()),
        "false_ml_there": round(float(found[without].sum()) * ml, 2),
        "dice": round(dice(found, true), 3),
    }


def unenhanced(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """A real CT without contrast agent as `explain` segments it; ml."""
    ct, labels = (read_image(folder / f"{what}.nii.gz") for what in ("ct", "labels"))
    true, found = labels.voxels == ORGAN, segment(bundle, ct)
    up = AxialView.of(ct.grid)
    return {
        "reference_ml": round(float(true.sum()) * ct.grid.voxel_ml, 2),
        "found_ml": round(float(found.sum()) * ct.grid.voxel_ml, 2),
        "dice": round(dice(found, true), 3),
        "thirds": thirds([of_slices(up.apply(found), up.apply(true))]),
    }


def segment(bundle: Bundle, ct: Volume) -> np.ndarray:
    """As `explain` does it, clean-up included; on the CT's grid."""
    _, found = next(iter(explain_volume(ct, bundle, Settings(("unoise",)))))
    return found.voxels > 0


def whole(bundle: Bundle, folder: Path, cases: list[str]) -> dict[str, dict[str, Any]]:
    out = {}
    for case in cases:
        ct, labels = (read_image(folder / f"{case}-{what}.nii.gz") for what in ("ct", "labels"))
        found, true = segment(bundle, ct), labels.voxels == ORGAN
        up = AxialView.of(ct.grid)
        empty = ~up.apply(true).any(axis=(1, 2))
        false = up.apply(found)[empty].sum() * ct.grid.voxel_ml
        out[case] = {
            "dice": dice(found, true),
            "false_ml": float(false),
            "gland_hu": float(ct.voxels[true].mean()),
            "slices": of_slices(up.apply(found), up.apply(true)),
        }
    return out


def spread(volumes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    values = [v["dice"] for v in volumes.values()]
    return {
        "volumes": len(values),
        "dice": round(float(np.mean(values)), 3),
        "range": [round(float(min(values)), 3), round(float(max(values)), 3)],
        "false_ml_in_slices_without": round(float(np.mean([v["false_ml"] for v in volumes.values()])), 2),
        "thirds": thirds([v["slices"] for v in volumes.values()]),
        "each": {case: round(v["dice"], 3) for case, v in volumes.items()},
        "gland_hu": {case: round(v["gland_hu"], 1) for case, v in volumes.items()},
    }


def table(figures: dict[str, Any], before: dict[str, Any]) -> str:
    """Markdown, one row a set; `before` are another bundle's figures, or none."""
    more = " than the model before |" if before else ""
    rows = [f"| set | dice |{more} |", "|---|---|---|" + "---|" * bool(before)]

    def row(key: str, *cells: str) -> None:
        more = [gain(figures[key], before[key])] if before else []
        rows.append(f"| {' | '.join([*cells[:2], *more, *cells[2:]])} |")

    for key, what in (
        (
            "nih_test",
            "NIH Pancreas-CT, {patients} test patients, {slices} slices: mean over patients of the slice dice",
        ),
        ("nih_val", "the same, {patients} validation patients, {slices} slices"),
        (
            "nih_test_washed_out",
            "the same test slices as they might look without contrast agent (a stand-in, `wash_out`)",
        ),
        ("nih_val_washed_out", "the same validation slices as they might look without contrast agent (a stand-in)"),
    ):
        told = figures[key]
        low, high = told["interval"]
        mean = f"{told['dice']:.3f} [{low:.2f}, {high:.2f}]"
        row(key, what.format(**told), mean, f"pooled {told['pooled']:.3f}; {ends(told)}")
    for key, told in figures.items():
        if not (key.startswith("painted_") or key == "phantoms"):
            continue
        phase = key.removeprefix("painted_")
        what = "phantoms held out" if key == "phantoms" else f"whole painted CTs of held-out label maps, {phase}"
        low, high = told["range"]
        false = f"{told['false_ml_in_slices_without']:.1f} ml false in slices without pancreas; {ends(told)}"
        if phase == "non-contrast":
            false += "; " + ", ".join(
                f"glands {words} {FATTY:g} HU {np.mean(some):.2f} ({len(some)})"
                for words, some in (("of at least", glands(told, True)), ("below", glands(told, False)))
                if some
            )
        row(key, f"{what}, {told['volumes']} volumes", f"{told['dice']:.3f} ({low:.2f} to {high:.2f})", false)
    told = figures["dicom_series"]
    row(
        "dicom_series",
        f"real DICOM series of the upper abdomen (automatic reference, {told['reference_ml']:.1f} ml in view)"
        f"{', **learnt from, so no evidence**' if told['learnt_from'] else ''}",
        f"{told['dice']:.3f}",
        f"{told['false_ml_there']:.1f} ml false in {told['slices_without']} slices without pancreas",
    )
    told = figures["unenhanced"]
    row(
        "unenhanced",
        f"real CT without contrast agent, cut at the front (s0009, reference {told['reference_ml']:.1f} ml), "
        "never learnt from",
        f"{told['dice']:.3f}",
        f"found {told['found_ml']:.1f} ml; {ends(told)}",
    )
    told = figures["hu_slices"]
    row(
        "hu_slices",
        f"{told['slices']} slices of two test patients in full HU",
        f"{told['dice_full_hu']:.3f}",
        f"cut off at 0 HU as the archive is, fat put back: {told['dice_clipped']:.3f}",
    )
    return "\n".join(rows) + "\n"


def gain(told: dict[str, Any], before: dict[str, Any]) -> str:
    """How much more this is than before; over the same cases with its interval where each was kept."""
    if "each" not in told:
        key = "dice" if "dice" in told else "dice_full_hu"
        return f"{told[key] - before[key]:+.3f}"
    both = [told["each"][case] - before["each"][case] for case in sorted(told["each"].keys() & before["each"].keys())]
    low, high = interval(both)
    return f"{np.mean(both):+.3f} [{low:+.2f}, {high:+.2f}]"


def ends(told: dict[str, Any]) -> str:
    return "its thirds, from the feet up, " + " / ".join(f"{x:.2f}" for x in told["thirds"])


def glands(told: dict[str, Any], lean: bool) -> list[float]:
    """Dice of the volumes whose gland has `FATTY` HU or more on average, or less."""
    return [told["each"][case] for case, hu in told["gland_hu"].items() if (hu >= FATTY) == lean]


def draw(slices: list[Slice], folder: Path, most: int = 32) -> None:
    """Test slices from the worst to the best, evenly: truth green, found cyan."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    ranked = sorted(slices, key=lambda s: dice(s[3], s[2]))
    shown = [ranked[k] for k in np.unique(np.linspace(0, len(ranked) - 1, most).round().astype(int))]
    figure = Figure(figsize=(20, 2.6 * -(-len(shown) // 8)), facecolor="black", layout="constrained")
    for axes, (patient, hu, true, found) in zip(figure.subplots(-(-len(shown) // 8), 8).flat, shown):
        rows, columns = (np.flatnonzero((hu > 10).any(axis=a)) for a in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        axes.imshow(hu[box], cmap="gray", vmin=0, vmax=200)
        for mask, colour in ((true, "#5f5"), (found, "#39d0ff")):
            if mask.any():
                axes.contour(mask[box], levels=[0.5], colors=[colour], linewidths=0.8)
        axes.set_title(f"{patient}  dice {dice(found, true):.2f}", color="white", fontsize=8)
    for axes in figure.axes:
        axes.set_axis_off()
    figure.savefig(folder / "test-slices.png", dpi=60, facecolor="black")


if __name__ == "__main__":
    main()
