"""Whether this checkout explains as another commit does: the same voxels, codes, lines and objects.

    python -m Testing.benchmarks.same_results 29e2c00 [--shared ../shared] [--occlusion]

Explains, by both, the real DICOM series, six phantoms (orientations mixed, one of them tilted) and slices of the
archive stacked as volumes. Segmentations must be equal in every voxel, maps to 1e-5 of their range, exit codes and CASE
lines equal but for times and folders, DICOM objects equal but for versions. Prints a line a comparison; exit code 1 if
one differs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

ROOT = Path(__file__).parents[2]
CODES = ("LPS", "RAS", "PIR", "SLA", "LAI")
OF_VERSIONS = {"SoftwareVersions", "AlgorithmVersion", "ImplementationVersionName"}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("commit")
    words.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    words.add_argument("--occlusion", action="store_true", help="also the occlusion maps, every 24 pixels")
    asked = words.parse_args()
    methods = "unoise,gradcam" + (",occlusion" if asked.occlusion else "")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = folder / "before"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", before, asked.commit], cwd=ROOT, check=True)
        try:
            inputs = world(folder / "in", asked.shared)
            differs = [
                line
                for name, source in inputs.items()
                for form in (("nifti", "dicom") if source.is_dir() else ("nifti",))
                for line in compared(name, source, form, methods, {"before": before, "now": ROOT}, folder)
            ]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", before], cwd=ROOT, check=False)
    print(f"{len(inputs)} inputs, {len(differs)} differences")
    sys.exit(bool(differs))


def world(folder: Path, shared: Path) -> dict[str, Path]:
    """Name -> CT, made with this checkout."""
    folder.mkdir()
    found = {}
    engine(ROOT, "phantom", folder / "phantoms", "--count", "6", "--seed", "41", "--size", "192", "--slices", "16")
    for k, path in enumerate(sorted((folder / "phantoms").glob("*-ct.nii.gz"))):
        image = sitk.ReadImage(str(path))
        if k < len(CODES):
            image = sitk.DICOMOrient(image, CODES[k])
        else:  # tilted
            image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.15, 0.1, -0.12).GetMatrix())
        found[f"phantom-{k}"] = folder / f"phantom-{k}.nii.gz"
        sitk.WriteImage(image, str(found[f"phantom-{k}"]))
    if (shared / "data").is_dir():
        found["series"] = shared / "data" / "ct-upper-abdomen-dicom"
        archive = np.load(shared / "data" / "pancreas-ct-slices" / "slices-256.npz")
        for patient in np.unique(archive["patient"])[:3]:
            stack = archive["image"][archive["patient"] == patient].astype(np.int16)
            image = sitk.GetImageFromArray(stack)
            image.SetSpacing((1.5, 1.5, 5.0))
            found[f"slices-{patient}"] = folder / f"slices-{patient}.nii.gz"
            sitk.WriteImage(image, str(found[f"slices-{patient}"]))
    return found


def engine(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(home)}
    command = [sys.executable, "-m", "unoise_engine", *map(str, words)]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


def compared(
    name: str, source: Path, form: str, methods: str, homes: dict[str, Path], folder: Path
) -> list[str]:  # fmt: skip
    outs = {which: folder / f"{which}-{name}-{form}" for which in homes}
    how = ["--methods", methods, "--format", form, "--trust-hu", "--stride", "24", "--progress", "off"]
    ran = {which: engine(home, "explain", source, "-o", outs[which], *how) for which, home in homes.items()}
    told = [(r.returncode, case_lines(r.stdout + r.stderr, outs[w])) for w, r in ran.items()]
    differs = [] if told[0] == told[1] else [f"{name} {form}: said {told[0]}, now {told[1]}"]
    files = [{p.relative_to(out) for p in out.rglob("*") if p.suffix in (".gz", ".dcm")} for out in outs.values()]
    if files[0] != files[1] or not files[0]:
        differs.append(f"{name} {form}: other files {sorted(map(str, files[0] ^ files[1]))}")
    largest = 0.0
    for path in sorted(files[0] & files[1]):
        a, b = (out / path for out in outs.values())
        if path.suffix == ".dcm":
            differs += [f"{name} {path}: {line}" for line in dicom_differences(a, b)]
            continue
        x, y = (sitk.GetArrayFromImage(sitk.ReadImage(str(one))) for one in (a, b))
        apart = float(np.abs(x.astype(np.float64) - y).max() / max(float(np.ptp(x)), 1e-12))
        largest = max(largest, apart)
        if apart > (0 if path.name.startswith("segmentation") else 1e-5):
            differs.append(f"{name} {path}: differs by {apart:.1e} of its range")
    print(f"{name} {form}: {len(files[0])} files, maps differ by at most {largest:.1e} of their range")
    for line in differs:
        print("  DIFFERS", line[:400])
    return differs


def case_lines(text: str, out: Path) -> list[str]:
    """Without times and the output folder."""
    lines = [line.replace(str(out), "OUT") for line in text.splitlines() if line.startswith(("CASE", "  "))]
    return [re.sub(r"\d+\.\d+ s", "TIME", line) for line in lines]


def dicom_differences(a: Path, b: Path) -> list[str]:
    """Elements that differ, versions and what is made of them apart."""
    first, second = (pydicom.dcmread(path) for path in (a, b))
    found = []
    for element in first.iterall():
        if element.VR == "SQ" or element.keyword in OF_VERSIONS or element.VR == "UI":
            continue
        pair = [[e.value for e in ds.iterall() if e.tag == element.tag] for ds in (first, second)]
        if pair[0] != pair[1]:
            found.append(f"{element.keyword} differs")
    return sorted(set(found))


if __name__ == "__main__":
    main()
