"""Peak memory of explaining a CT of 512 x 512 x N, against N: how much of it comes with each slice.

    python Testing/benchmarks/peak_memory.py [N ...] [--from dicom] [--orientation LPS] [--format dicom] [--bundle B]

By default N is 100, 200, 400 and 1000, and the model a small one; `--bundle pancreas-ct` takes the one that ships. Both
have slices of 2 mm pixels.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import UID

from unoise_engine.models.input import BLOCK_BYTES
from unoise_engine.volume.scratch import IN_MEMORY_BYTES

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("unoise", "gradcam")
# In a process between, since a process inherits the peak of the one that started it.
MEASURE = (
    "import subprocess, resource, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
EXPLAIN = """
import sys; from pathlib import Path
from unoise_engine.models import input as given
from unoise_engine.volume import scratch
given.BLOCK_BYTES, scratch.IN_MEMORY_BYTES = map(int, sys.argv[1].split(","))
from unoise_engine.batch.run import Request, explain_all
from unoise_engine.typed import read
source, out, bundle, file_format, methods = sys.argv[2:]
options = {
    "model": {"bundle": bundle, "device": "cpu"},
    "explanation": {"methods": methods.split(",")},
    "results": {"format": file_format},
}
request = read(Request, {"inputs": [source], "out": out, "options": options}, "request")
assert explain_all(request, "off") == 0
"""


def body(size: int, slices: int) -> np.ndarray:
    """(slices, size, size) HU: a body with an organ in the middle tenth."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    one = np.where(x**2 + (y / 0.8) ** 2 < 0.9, 20, -1000) + np.random.default_rng(0).integers(-20, 20, (size, size))
    hu = np.repeat(one.astype(np.int16)[None], slices, axis=0)
    middle = slice(slices * 9 // 20, slices * 11 // 20 + 1)
    hu[middle] += (130 * ((x - 0.35) ** 2 + y**2 < 0.05)).astype(np.int16)
    return hu


def write(path: Path, slices: int, size: int = 512, orientation: str = "LPS") -> Path:
    """A file of 0.8 mm pixels; its voxels stored by the orientation's letters, the first varying fastest."""
    image = sitk.GetImageFromArray(body(size, slices))
    image.SetSpacing((0.8, 0.8, 1.0))
    sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path), useCompression=True)
    return path


def write_series(folder: Path, slices: int, size: int = 512, lean: float = 0.0) -> Path:
    """The same as a DICOM series; with `lean` in mm a slice, as of a tilted gantry."""
    from Testing.engine.dicom.series import write_series

    write_series(folder, slices=2, size=64, spacing=0.8, step=1.0)
    one = pydicom.dcmread(next(folder.iterdir()))
    for path in folder.iterdir():
        path.unlink()
    one.Rows = one.Columns = size
    for k, hu in enumerate(body(size, slices)):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.826.0.1.3680043.8.498.77.{k + 1}")
        one.ImagePositionPatient, one.InstanceNumber = [0, round(k * lean, 3), float(k)], k + 1
        one.PixelData = hu.tobytes()
        one.save_as(folder / f"{k:05d}.dcm")
    return folder


def peak_mib(
    source: Path,
    out: Path,
    bundle: Path | str,
    file_format: str = "nifti",
    block_bytes: int = BLOCK_BYTES,
    in_memory_bytes: int = IN_MEMORY_BYTES,
) -> float:
    """The last two are the engine's own limits: of voxels at a time where planes are no axial slices, and of a stack of
    the model's slices that stays in memory."""
    line = [
        sys.executable,
        "-c",
        EXPLAIN,
        f"{block_bytes},{in_memory_bytes}",
        source,
        out,
        bundle,
        file_format,
        ",".join(METHODS),
    ]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, line)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return int(run.stdout) / 1024


def main() -> None:
    from small_cohort import make

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sizes", type=int, nargs="*", default=[100, 200, 400, 1000], metavar="N")
    options.add_argument("--from", dest="source", choices=["nifti", "dicom", "tilted"], default="nifti")
    options.add_argument("--orientation", default="LPS")
    options.add_argument("--format", default="nifti")
    options.add_argument("--bundle", default="")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, peaks = Path(folder), []
        bundle = asked.bundle or make(home, 1)[1]
        for n in asked.sizes:
            name = home / f"ct{n}"
            if asked.source != "nifti":
                source = write_series(name, n, lean=0.3 if asked.source == "tilted" else 0.0)
            else:
                source = write(home / f"ct{n}.nii.gz", n, orientation=asked.orientation)
            peaks.append(peak_mib(source, home / f"o{n}", bundle, asked.format))
            print(
                f"512 x 512 x {n}: peak {peaks[-1]:.0f} MiB; the CT itself {n / 2:.0f} MiB, one map {n} MiB", flush=True
            )
    if len(asked.sizes) > 1:
        slope = (peaks[-1] - peaks[0]) / (asked.sizes[-1] - asked.sizes[0])
        print(f"growth: {slope:.2f} MiB a slice; a slice of the CT is 0.50 as stored (int16), 1.00 as float32")


if __name__ == "__main__":
    main()
