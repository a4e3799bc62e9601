"""Which warnings real CTs, and CTs made of them, are given: those inside the stated scope none, the others theirs.

    python -m Testing.benchmarks.trust NIH SHARED [--painted PAINTED] [--only WORD]

NIH holds the pairs `patient-NN-ct.nii.gz` (portal venous, cut off at 0 and 255 HU) and `split.json`, SHARED the series
in full HU. The scope is that of the card of the shipped model. A row is printed as soon as it is known: wrong warnings
are marked by !, missing ones by ?.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from unoise_engine.explanation.scan import Scan
from unoise_engine.explanation.trust import about_scan
from unoise_engine.models.scope import Scope
from unoise_engine.training.card import read_card
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import AxialView, Grid, Volume

CARD = Path(__file__).parents[2] / "Resources/Recipes/pancreas-card.toml"
UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# A word of each warning
CONTRAST, CHEST, FIELD, SIZE = "contrast agent", "the chest", "field of view", "cross-section"
HU, NONE, CUT = "unlike", "No body", "below 0 HU"
EVERY_PAINTED = 6
Case = tuple[str, Volume, tuple[str, ...]]  # name, CT, words of the warnings it must be given


def upright(ct: Volume) -> Volume:
    """The same with its slices from the feet, patient's right on the left of the picture."""
    view = AxialView.of(ct.grid)
    z, y, x = view.spacing_mm
    return of(view.apply(ct.voxels), (x, y, z))


def part(ct: Volume, box: tuple[slice, ...], mm: tuple[float, float, float] | None = None) -> Volume:
    return of(ct.voxels[box], mm or ct.grid.spacing_mm)


def of(voxels: np.ndarray, mm: tuple[float, float, float]) -> Volume:
    """Voxels (z, y, x), from the feet, patient's right on the left; `mm` along x, y, z."""
    voxels = np.ascontiguousarray(voxels)
    return Volume(voxels, Grid(tuple(voxels.shape[::-1]), mm, (0.0, 0.0, 0.0), UPRIGHT))


def scaled(ct: Volume, factor: float) -> Volume:
    x, y, z = ct.grid.spacing_mm
    return Volume(ct.voxels, replace(ct.grid, spacing_mm=(x * factor, y * factor, z)))


def padded(ct: Volume, pixels: int) -> Volume:
    return of(
        np.pad(ct.voxels, ((0, 0), (pixels, pixels), (pixels, pixels)), constant_values=-1024), ct.grid.spacing_mm
    )


def changed(ct: Volume, words: tuple[str, ...]) -> Iterator[Case]:
    """As other scanners, kernels, tables and archives would have it."""
    rng = np.random.default_rng(0)
    n, rows, columns = ct.voxels.shape
    some = part(ct, (slice(n // 2 - min(5, n // 2), n // 2 + 6),))
    hu = some.voxels.astype(np.float32)
    yield "noise of 40 HU", some.with_voxels((hu + rng.normal(0, 40, hu.shape)).astype(np.int16)), words
    soft = sitk.GetArrayFromImage(sitk.RecursiveGaussian(sitk.GetImageFromArray(hu), 1.5))
    yield "soft kernel", some.with_voxels(soft.astype(np.int16)), words
    yield "sharp kernel", some.with_voxels((2.5 * hu - 1.5 * soft).clip(-1024, 3071).astype(np.int16)), words
    yield "cut off at 0 and 255 HU", some.with_voxels(hu.clip(0, 255).astype(np.int16)), (CUT, *words)
    yield "rows flipped", some.with_voxels(np.ascontiguousarray(some.voxels[:, ::-1])), words
    yield "padded", padded(some, 30), words
    foam = some.voxels.copy()
    foam[:, -columns // 6 :, columns // 10 : -columns // 10] = -850
    yield "thick foam under it", some.with_voxels(np.maximum(foam, some.voxels)), words
    for share, said in ((8, words), (3.8, (FIELD, *words))):
        tight = (slice(None), *(slice(int(n / share), -int(n / share)) for n in (rows, columns)))
        yield f"cropped to {1 - 2 / share:.0%}", part(some, tight), said
    yield "every third slice", part(ct, (slice(None, None, 3),), (*ct.grid.spacing_mm[:2], 5.0)), words
    yield "one slice", part(ct, (slice(n // 2, n // 2 + 1),)), words
    yield "larger by a third", scaled(some, 1.33), words
    yield "far too large", scaled(part(some, (slice(None), slice(40, -40), slice(40, -40))), 1.9), (SIZE, *words)
    yield "of a small child", scaled(padded(some, 60), 0.5), (SIZE, *words)


def minis(ct: Volume, words: tuple[str, ...], start: int, stop: int, step: int) -> Iterator[Case]:
    for k in range(start, stop - 10, step):
        yield f"slices {k} to {k + 10}", part(ct, (slice(k, k + 11),)), words


def cases(nih: Path, shared: Path, painted: Path | None) -> Iterator[Case]:
    whole = upright(read_image(shared / "ct-unenhanced/acrin-abdomen/ct.nii.gz"))
    yield "unenhanced abdomen and pelvis", whole, (CONTRAST,)
    for name, ct, words in minis(whole, (CONTRAST,), 33, 99, step=6):
        yield f"unenhanced, {name}", ct, words
    for how, other, words in changed(part(whole, (slice(55, 88),)), (CONTRAST,)):
        yield f"unenhanced, {how}", other, words
    yield "unenhanced, pelvis", part(whole, (slice(0, 22),)), (CONTRAST,)
    yield "base of the lungs and liver", part(whole, (slice(88, 99),)), (CONTRAST,)
    yield "chest", part(whole, (slice(98, 99),)), (CHEST, CONTRAST)
    spine = upright(read_image(shared / "ct-unenhanced/s0009/ct.nii.gz"))
    yield "unenhanced, field on the spine", spine, (CONTRAST, FIELD)
    water = np.full((11, 256, 256), -1000, np.int16)
    water[:, 48:208, 28:228] = 0
    block = of(water, (1.5, 1.5, 3.0))
    yield "block of water", block, (HU, CONTRAST)
    yield "no body", block.with_voxels(np.full_like(water, -1000)), (NONE,)
    full = np.load(shared / "pancreas-ct-slices/hu.npz")
    real = {f"NIH patient {p} in full HU": full["image"][full["patient"] == p] for p in (1, 2, 3)}
    portal = {name: of(hu, (0.8, 0.8, 1.0)) for name, hu in real.items()}
    files = sorted(map(str, (shared / "ct-upper-abdomen-dicom").glob("*.dcm")))
    hu = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(file))[0] for file in files])
    portal["upper abdomen"] = of(hu.astype(np.int16), (0.977, 0.977, 2.0))
    for name, ct in portal.items():
        yield name, ct, ()
        for how, other, words in changed(ct, ()):
            yield f"{name}, {how}", other, words
    for how, other, words in minis(portal["upper abdomen"], (), 0, 20, step=3):
        yield f"upper abdomen, {how}", other, words
    for path in sorted(nih.glob("*-ct.nii.gz")):
        yield path.name.removesuffix("-ct.nii.gz"), read_image(path), (CUT,)
    if painted:
        told = json.loads((painted / "painted.json").read_text())
        for name in sorted(told)[::EVERY_PAINTED]:
            phase = told[name]["phase"]
            ct = read_image(painted / f"{name}-ct.nii.gz")
            yield f"{phase} {name}", ct, (CONTRAST,) if phase == "non-contrast" else ()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("nih", type=Path)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--painted", type=Path)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    scope = Scope(**read_card(CARD).scope)
    right = all_of = 0
    for name, ct, words in cases(asked.nih, asked.shared, asked.painted):
        if asked.only not in name:
            continue
        began = time.process_time()
        scan, said = Scan.of(ct), [*about_scan(ct, scope)]
        wrong = [f"! {one}" for one in said if not any(word in one for word in words)]
        wrong += [f"? {word}" for word in words if not any(word in one for one in said)]
        found = {k: v[0] for k, v in vars(scan).items() if isinstance(v, tuple)} if scan else {}
        row = " ".join(f"{key} {value:.3g}" for key, value in found.items())
        took = 500 * (time.process_time() - began)  # measured twice
        print(
            f"{'ok ' if not wrong else 'BAD'} {name} | {row} | {took:.0f} ms |",
            *said,
            *wrong,
            sep="\n      ",
            flush=True,
        )
        right, all_of = right + (not wrong), all_of + 1
    print(f"{right} of {all_of} as they should be")


if __name__ == "__main__":
    main()
