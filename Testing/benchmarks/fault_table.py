"""Plants each fault in a good CT, has each reader read it, and prints what came out as a Markdown table.

    python -m Testing.benchmarks.fault_table [--real CT] > docs/faults.md       (extra: peers)

The planted body's HU are known at every point (Testing/engine/volume/planted.py), so each volume a reader delivers is
judged at its own voxels: right, or wrong by so many HU. Readers that are not installed get no column.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from Testing.benchmarks.faults import FAULTS, Fault
from Testing.benchmarks.hu_table import table as hu_table
from Testing.engine.volume.planted import hu_at, world

ROOT = Path(__file__).parents[2]
PROMISED = """
## What is promised beside

- **Tables.** No spreadsheet runs text of patients, files or models. In every CSV file, and in the table and the
  report of the Slicer module, a cell that would begin a formula begins with `'` instead.
- **DICOM without its preamble** is read if its first elements say what it is: explicit or implicit, little or big
  endian; deflated or packed where the meta information (group 2) is there. The case is CORRECTED and says so.
  Packed pixels without it are refused; a deflated data set without it cannot be told from other files and is
  skipped.
- **Searches.** Links are not followed, and a folder that comes again by a mount is looked through once. More than a
  million files and folders below one input are refused (TOO_MANY_FILES): give the folders that hold the CTs. There
  is no limit of time, since a network disk may be slow: after 10 seconds, and then every 30, standard error says
  how far the search is and whether the disk still answers. Ctrl-C ends it at the next file; what hangs within one
  file on a dead network disk only the system can end.
- **Killed commands.** Whatever is written is made in a hidden folder beside its place, on whose inventory its maker
  holds a lock, and gets its place at the end. What a killed command left of that goes when anything is made beside
  it next, and an earlier result that it was just replacing comes back. What somebody is at work on stays, and so does
  all that has another name or no inventory. On a file system without locks halves stay.
- **The worker.** It ends with the program that started it: while it waits, at once; at work, within half a minute,
  with all that it started. Slicer's panel ends an engine that gives no sign of life for two minutes, says so in a
  sentence, and starts it anew at the next click, as it does one that was killed. The parts for Windows were not
  tried.
"""
RIGHT_HU = 12  # mean difference; interpolation of soft edges makes 1 to 6
RIGHT_SLICE_HU = 60  # the same in the worst slice
RIGHT_MM = 1.0  # how far a slice may lie from where its content belongs, along the body
WHOLE_MM = 0.9  # share of the body's length that a right volume covers
PATIENCE_SECONDS = 60


@dataclass
class Outcome:
    """`verdict` is one of right, right + said, wrong, wrong + warned, refused, no answer, -."""

    verdict: str
    detail: str = ""


# --- the readers, each in a process of its own ------------------------------------------------------------------------


def read_with_simpleitk(source: Path, out: Path) -> None:
    def store(image: sitk.Image, name: str) -> None:
        for key in image.GetMetaDataKeys():  # or writing it complains of them
            image.EraseMetaData(key)
        sitk.WriteImage(image, str(out / name))

    if source.is_dir():
        for k, uid in enumerate(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(source))):
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(source), uid))
            store(reader.Execute(), f"{k}.mha")
    else:
        store(sitk.ReadImage(str(source)), "0.mha")


def read_with_dicom2nifti(source: Path, out: Path) -> None:
    import dicom2nifti

    dicom2nifti.convert_directory(str(source), str(out), compression=False, reorient=False)


def read_with_dcm2niix(source: Path, out: Path) -> None:
    program = Path(sys.executable).with_name("dcm2niix")
    run = subprocess.run(
        [program, "-o", out, "-f", "%s_%p", "-z", "n", "-b", "n", source], capture_output=True, text=True
    )
    print(run.stdout, run.stderr, file=sys.stderr)
    sys.exit(run.returncode)


def read_here(source: Path, out: Path) -> None:
    from unoise_engine.errors import CaseRefused
    from unoise_engine.volume.find import find_cases
    from unoise_engine.volume.write import write_volume

    failed = 0
    for case in find_cases([source], tell=lambda *said: print("SAID", *said, file=sys.stderr)):
        try:
            reading = case.read()
        except CaseRefused as error:
            failed = 1
            print(f"CASE {case.id}: REFUSED {error.code}: {error}", file=sys.stderr)
            continue
        for note in reading.notes:
            print("SAID", note, file=sys.stderr)
        write_volume(reading.ct, out / f"{case.id}.nrrd")
    sys.exit(failed)


READERS: dict[str, tuple[str, Callable[[Path, Path], None], bool]] = {  # name -> (package, how, reads image files)
    "SimpleITK": ("SimpleITK", read_with_simpleitk, True),
    "dicom2nifti": ("dicom2nifti", read_with_dicom2nifti, False),
    "dcm2niix": ("dcm2niix", read_with_dcm2niix, False),
    "here": ("unoise_engine", read_here, True),
}


# --- the judge --------------------------------------------------------------------------------------------------------


def tried(fault: Fault, reader: str, usual: str) -> tuple[Outcome, str]:
    """`usual` is what the reader says of a good CT. Returns what it said too."""
    if not (fault.dicom or READERS[reader][2]):
        return Outcome("-"), ""
    with tempfile.TemporaryDirectory() as home:
        out = Path(home, "out")
        out.mkdir()
        source = fault.plant(Path(home))
        command = [sys.executable, "-m", "Testing.benchmarks.fault_table", "--reader", reader, str(source), str(out)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome("no answer", f"in {PATIENCE_SECONDS} s"), ""  # of a busy machine too: not a wrong volume
        files = sorted(p for p in out.iterdir() if p.suffix in (".mha", ".nii", ".nrrd"))
        return judged(fault, files, run.stderr, usual), run.stderr


def judged(fault: Fault, files: list[Path], said: str, usual: str) -> Outcome:
    if not files:
        code = re.search(r"REFUSED (\w+)", said)
        return Outcome("refused", code[1] if code else "")
    found = [mistake(f) for f in files]
    warned = bool(complaints(said) - complaints(usual))
    wrong = [text for text in found if text]
    if fault.hopeless and not wrong:
        wrong = ["delivered"]
    if len(files) < fault.volumes:
        wrong.append(f"{fault.volumes} volumes merged into {len(files)}")
    if wrong and len(files) > fault.volumes and not all(found) and not fault.hopeless:
        wrong[0] += "; another copy is right"
    if wrong:
        return Outcome("wrong + warned" if warned else "wrong", wrong[0])
    return Outcome("right + said" if "SAID" in said else "right")


def complaints(said: str) -> set[str]:
    """The kinds of lines that speak of something wrong, whatever names and numbers stand in them."""
    lines = [
        line for line in said.splitlines() if re.search(r"warn|error|SAID|non uniform|missing", line, re.IGNORECASE)
    ]
    return {re.sub(r"[\d.x-]+|/\S+", "", line).strip() for line in lines}


def mistake(path: Path) -> str:
    """How a volume differs from the truth; empty if it does not."""
    image = sitk.ReadImage(str(path))
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        return f"{image.GetDimension()}-D, {image.GetNumberOfComponentsPerPixel()} values a voxel"
    voxels = sitk.GetArrayFromImage(image).astype(float)
    steps = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    difference = np.abs(voxels - hu_at(world(image.GetSize(), steps, image.GetOrigin())))
    measured = (voxels > -1020) & np.isfinite(voxels)
    hu = float(difference[measured].mean()) if measured.any() else np.inf
    length = np.abs(steps[2]) @ (np.array(image.GetSize()) - 1)
    worst = max((float(d[m].mean()) for d, m in zip(difference, measured) if m.any()), default=np.inf)
    if hu > RIGHT_HU or worst > RIGHT_SLICE_HU:
        return f"off by {hu:.0f} HU, {worst:.0f} in the worst slice"
    if (aside := max(shift_mm(v, image, k) for k, v in enumerate(voxels))) > RIGHT_MM:
        return f"a slice lies {aside:.1f} mm off"
    if length < WHOLE_MM * 57:
        return f"{length:.0f} of 57 mm"
    return ""


def shift_mm(voxels: np.ndarray, image: sitk.Image, k: int) -> float:
    """How far along the body a slice's content belongs from where the volume has it."""
    columns, rows, _ = image.GetSize()
    steps = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    places = world((columns, rows, 1), steps, image.TransformIndexToPhysicalPoint((0, 0, k)))[0]
    measured = voxels > -900  # the body: air looks the same everywhere
    if np.count_nonzero(measured) < 0.3 * voxels.size:  # the end of an upright grid around tilted slices
        return 0.0
    shifts = np.arange(-8, 8.1, 0.25)
    differences = [np.abs(voxels - hu_at(places + np.array([0, 0, s])))[measured].mean() for s in shifts]
    best, as_it_is = int(np.argmin(differences)), differences[len(shifts) // 2]
    clearly = as_it_is > 1.3 * differences[best] + 0.2  # a sliver of a body fits nearly as well anywhere
    return float(abs(shifts[best])) if clearly else 0.0


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "this tree" if find_spec(package) else ""


def table(only: str = "") -> str:
    names = {name: installed(package) for name, (package, _, _) in READERS.items()}
    names = {name: number for name, number in names.items() if number}
    rows, counts = [], {name: [0, 0] for name in names}
    tries = dict.fromkeys(names, 0)
    usual = dict.fromkeys(names, "")
    for fault in (f for f in FAULTS if not f.row or only in f.name):
        cells = []
        for name in names:
            outcome, said = tried(fault, name, usual[name])
            if not fault.row:
                usual[name] += said
            print(f"{fault.name}: {name}: {outcome.verdict} {outcome.detail}", file=sys.stderr)
            if fault.row and outcome.verdict != "-":
                tries[name] += 1
                counts[name][0] += outcome.verdict.startswith("wrong")
                counts[name][1] += outcome.verdict == "wrong"
            text = f"**{outcome.verdict}**" if outcome.verdict.startswith("wrong") else outcome.verdict
            cells.append(text + (f" ({outcome.detail})" if outcome.detail else ""))
        rows.append(f"| {fault.row} | {fault.name} | " + " | ".join(cells) + " |")
    head = " | ".join(f"{name} {number}" if number != "this tree" else name for name, number in names.items())
    totals = " | ".join(f"{counts[n][0]} wrong ({counts[n][1]} silent) of {tries[n]}" for n in names)
    return "\n".join([
        "# Faults: what readers make of them",
        "",
        "Made by `make faults REAL_CT=...`: each fault is planted in a small CT",
        "whose HU are known at every point, and each reader's volume is judged at its own voxels.",
        "*wrong*: a volume came out that is none of this body (place, HU or slices), or that no reader can make right,",
        "without a word; *wrong + warned*: the same, with a complaint on the console that a good CT does not cause;",
        "*right + said*: corrected or left out, and said so; *refused*: no volume; *-*: not a format of this reader.",
        "Rows are those of the catalogue that the tests in Testing/engine/volume are named after.",
        "",
        f"| row | fault | {head} |",
        "|" + "---|" * (len(names) + 2),
        *rows,
        f"| | **all faults** | {totals} |",
        "",
    ])  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--reader", choices=READERS)
    options.add_argument("--only", default="", help="Faults whose name holds this text.")
    options.add_argument("--real", type=Path, help="A real CT, of which values that are no HU are made too.")
    options.add_argument("paths", nargs="*", type=Path)
    asked = options.parse_args()
    if asked.reader:
        READERS[asked.reader][1](*asked.paths)
    else:
        if shutil.which("dcm2niix") is None and find_spec("dcm2niix") is None:
            print("dcm2niix and dicom2nifti come with the extra 'peers'", file=sys.stderr)
        print(table(asked.only), end="")
        if not asked.only:
            print(f"\n{hu_table(asked.real)}")
            print(PROMISED, end="")


if __name__ == "__main__":
    main()
