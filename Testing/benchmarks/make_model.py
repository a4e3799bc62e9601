"""Makes the model that ships, from the archives to the bundle, in one go; stopped, it goes on where it was.

    python -m Testing.benchmarks.make_model SHARED_DATA OUT --base FIRST_BUNDLE

SHARED_DATA holds ``pancreas-ct-slices``, ``label-maps``, ``ct-upper-abdomen-*`` and ``ct-unenhanced``. FIRST_BUNDLE is
the first pancreas-ct (its commit stands in docs/notebook/training.md), whose segmenter, U-Noise and U-Noise (near) are
the start. OUT gets the data, the runs, ``pancreas-ct`` (the bundle), and the figures and pictures of real_ct.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from unoise_engine.volume.find import find_cases
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import Volume
from unoise_engine.volume.write import write_volume

RECIPES = Path(__file__).parents[2] / "Resources" / "Recipes"
SPLIT = RECIPES / "pancreas-split.json"  # of the slice archive's patients
JUDGE = ("multiorgan-28", "multiorgan-48", "multiorgan-88", "totalsegmentator-s0327-combined")  # maps
STEER = ("amos-amos-0013-label", "spl-atlas-seg")
NEW = "totalsegmentator-2"  # the first model knew none of these maps
ORGAN = 7
OF_THE_SERIES = {  # TotalSegmentator's numbers
    "spleen": 1, "kidney_right": 2, "kidney_left": 3, "gallbladder": 4, "liver": 5, "stomach": 6, "pancreas": ORGAN,
    "small_bowel": 18, "duodenum": 19, "colon": 20, "aorta": 52, "inferior_vena_cava": 63,
    "portal_vein_and_splenic_vein": 64,
}  # fmt: skip
SOURCES = ("nih", "painted", "phantoms", "abdomen", "unenhanced")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("shared", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--base", type=Path, required=True, help="bundle of the first model")
    asked = words.parse_args()
    shared, out, base = (path.resolve() for path in (asked.shared, asked.out, asked.base))
    out.mkdir(parents=True, exist_ok=True)
    archive(shared / "pancreas-ct-slices", out)
    painted(shared / "label-maps", out)
    once(out / "phantoms", "phantom", out / "phantoms", "--count", 120, "--seed", 1)
    series(shared, out / "abdomen")
    unlabelled(shared / "ct-unenhanced" / "acrin-abdomen" / "ct.nii.gz", out, base)
    runs = out / "base", out / "base-near", out / "base-published"
    known = known_to_the_first(out)
    once(runs[0], "bundle", "unpack", base, "-o", runs[0], "--split", known, "--near", runs[1], "--unoise", runs[2])
    train(
        out / "utility", "utility", *(out / name for name in SOURCES), "--init", runs[0], "--recipe", "pancreas-second"
    )
    for run, start, recipe in (("near", runs[1], "pancreas-unoise"), ("published", runs[2], "pancreas-published")):
        told = ("--utility", out / "utility", "--init", start, "--recipe", recipe)
        train(out / run, "unoise", out / "nih", *told)
    card = ("--card", RECIPES / "pancreas-card.toml", "--precision", "int8", "--no-weights")
    judged = out / "metrics.json"
    draft = out / "draft"
    once(draft, "export", out / "utility", out / "near", out / "published", "-o", draft, *card)
    call("-m", "Testing.benchmarks.real_ct", shared, out, out / "utility", "--bundle", draft, "--json", judged,
         "--table", out / "table.md", "--pictures", out / "pictures")  # fmt: skip
    bundle = out / "pancreas-ct"
    once(bundle, "export", out / "utility", out / "near", out / "published", "-o", bundle, *card, "--metrics", judged)


def archive(slices: Path, out: Path) -> None:
    """The patients of both files in one folder, with the split that stands in the recipes."""
    both = out / "nih"
    if (both / "split.json").is_file():
        return
    for name in ("slices", "slices-47-56"):
        once(out / name, "prepare", "slices", slices / f"{name}.npz", "-o", out / name)
        both.mkdir(exist_ok=True)
        for path in (out / name).glob("*.nii.gz"):
            shutil.copy2(path, both)
    shutil.copy2(out / "slices" / "labels.json", both)
    shutil.copy2(SPLIT, both / "split.json")


def painted(maps: Path, out: Path) -> None:
    folder, teach = out / "painted", out / "teach"
    if (folder / "split.json").is_file():
        return
    first = ("multiorgan", "amos", "spl-atlas", "totalsegmentator")
    names = [word for name in ("multiorgan", "amos", "spl-atlas", "-") for word in ("--names", name)]
    common = ("--even-phases", "-o", folder)
    unoise_engine("paint", *(maps / name for name in first), *names, "--per-map", 12, "--seed", 8, *common)
    for name in ("multiorgan", "totalsegmentator"):
        (teach / name).mkdir(parents=True, exist_ok=True)
        for path in (maps / name).iterdir():
            if not f"{name}-{path.name.split('.')[0]}".replace("_", "-").startswith((*JUDGE, *STEER)):
                shutil.copy2(path, teach / name)
    more = ("--names", "multiorgan", "--names", "-", "--per-map", 12, "--seed", 9, "--first", 12)
    unoise_engine("paint", teach / "multiorgan", teach / "totalsegmentator", *more, *common)
    unoise_engine("paint", maps / NEW, "--names", "-", "--per-map", 24, "--seed", 11, *common)
    cases = sorted(path.name.removesuffix("-ct.nii.gz") for path in folder.glob("*-ct.nii.gz"))
    part = {case: "test" if of(case, JUDGE) else "val" if of(case, STEER) else "train" for case in cases}
    write(folder / "split.json", {name: [c for c in cases if part[c] == name] for name in ("train", "val", "test")})


def of(case: str, maps: tuple[str, ...]) -> bool:
    return case.startswith(tuple(f"{name}_" for name in maps))


def series(shared: Path, folder: Path) -> None:
    """The real DICOM series and its automatic labels as a pair."""
    if folder.is_dir():
        return
    (case,) = find_cases([shared / "ct-upper-abdomen-dicom"])
    folder.mkdir()
    write_volume(case.read().ct, folder / "series-ct.nii.gz")
    write_volume(read_image(shared / "ct-upper-abdomen-labels.nii.gz"), folder / "series-labels.nii.gz")
    write(folder / "labels.json", OF_THE_SERIES)


def unlabelled(ct: Path, out: Path, base: Path) -> None:
    """Self-training: a real CT without contrast, labelled by what the first model found in it (and looked at since)."""
    folder, said = out / "unenhanced", out / "said"
    if folder.is_dir():
        return
    once(said, "explain", ct, "-o", said, "--bundle", base, "--methods", "unoise-near", "--slices", "60:62")
    (found,) = said.glob("*/segmentation.nii.gz")
    seen = read_image(found)
    folder.mkdir()
    shutil.copy2(ct, folder / "acrin-ct.nii.gz")
    write_volume(Volume((seen.voxels > 0).astype(np.uint8) * ORGAN, seen.grid), folder / "acrin-labels.nii.gz")
    write(folder / "labels.json", {"pancreas": ORGAN})


def known_to_the_first(out: Path) -> Path:
    """What the first model learnt, steered by and was judged on, for the check against leaks."""
    parts = {}
    for part in ("train", "val", "test"):
        nih, drawn = (json.loads((out / name / "split.json").read_text("utf-8"))[part] for name in SOURCES[:2])
        parts[part] = [f"nih/{c}" for c in nih if int(c[-2:]) <= 46]
        parts[part] += [f"painted/{c}" for c in drawn if not c.startswith(NEW)]
    write(out / "known.json", parts)
    return out / "known.json"


def train(run: Path, *words: object) -> None:
    unoise_engine("train", *words, "-o", run, *(["--resume"] if run.is_dir() else []))


def once(made: Path, *words: object) -> None:
    if not made.exists():
        unoise_engine(*words)


def unoise_engine(*words: object) -> None:
    call("-m", "unoise_engine", *words)


def call(*words: object) -> None:
    print(*words, flush=True)
    subprocess.run([sys.executable, *map(str, words)], cwd=Path(__file__).parents[2], check=True)


def write(path: Path, table: object) -> None:
    path.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
