"""Peak memory of explaining a CT of 512 x 512 x N, against N.

python Testing/benchmarks/peak_memory.py [N ...]            (default: 250 500 1000)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from small_cohort import ROOT, make

METHODS = "unoise,gradcam"


def write(path: Path, slices: int) -> None:
    """A body with an organ, in HU, 0.8 mm pixels."""
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    one = np.where(x**2 + (y / 0.8) ** 2 < 0.9, 20, -1000) + 130 * ((x - 0.35) ** 2 + y**2 < 0.05)
    noise = np.random.default_rng(0).integers(-20, 20, (512, 512))
    image = sitk.GetImageFromArray(np.repeat((one + noise).astype(np.int16)[None], slices, axis=0))
    image.SetSpacing((0.8, 0.8, 1.0))
    sitk.WriteImage(image, str(path), useCompression=True)


def main() -> None:
    sizes = [int(n) for n in sys.argv[1:]] or [250, 500, 1000]
    home = Path(tempfile.mkdtemp())
    _, bundle = make(home, 1)
    peaks = []
    for n in sizes:
        write(home / f"ct{n}.nii.gz", n)
        line = [
            sys.executable,
            "-m",
            "unoise_engine",
            "explain",
            str(home / f"ct{n}.nii.gz"),
            "-o",
            str(home / f"o{n}"),
        ]
        line += ["--bundle", str(bundle), "--methods", METHODS, "--progress", "off"]
        code = (
            "import subprocess, resource, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, *line],
            env={"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(int(run.stdout) / 1024)
        print(f"512 x 512 x {n}: peak {peaks[-1]:.0f} MiB; the CT itself {n / 2:.0f} MiB, one map {n:.0f} MiB")
    if len(sizes) > 1:
        slope = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0])
        print(f"growth: {slope:.2f} MiB a slice; the CT 0.50 as read (int16), a map 1.00 (float32)")


main()
