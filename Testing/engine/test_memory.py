"""Memory that comes with each slice: the CT's own voxels and little more, whatever is read and written."""

import sys
from pathlib import Path
from typing import Any

import pytest

from Testing.benchmarks.peak_memory import peak_mib, write, write_series
from Testing.engine.dicom.series import write_enhanced

SIZE, FEW, MANY = 256, 40, 340
MORE = 1.25  # than the CT as stored, int16: what the allocator keeps differs from run to run
HEADERS_MIB = 0.06  # of a slice that comes from a DICOM file or frame and goes into one: pydicom's data sets
KINDS = {
    "flipped": ("nii.gz", "RAI", "nifti"),
    "coronal": ("nrrd", "RIP", "nrrd"),
    "dicom": ("", "", "dicom"),
    "enhanced": ("", "", "dicom"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="measures with the module resource")
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_memory_grows_by_the_volume_and_little_more(kind: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    suffix, orientation, file_format = KINDS[kind]
    if file_format == "dicom":
        pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")
    peaks = []
    for n in (FEW, MANY):
        if suffix:
            source = write(tmp_path / f"ct{n}.{suffix}", n, SIZE, orientation)
        else:
            source = write_series(tmp_path / f"ct{n}", n, SIZE)
            if kind == "enhanced":
                write_enhanced(tmp_path / f"enhanced{n}", source)
                source = tmp_path / f"enhanced{n}"
        peaks.append(
            peak_mib(
                source, tmp_path / f"out{n}", tiny_bundle, file_format, block_bytes=1 << 22, in_memory_bytes=1 << 20
            )
        )
    volume = 2 * SIZE**2 * (MANY - FEW) / (1 << 20)
    allowed = MORE * volume + (HEADERS_MIB * (MANY - FEW) if file_format == "dicom" else 0)
    assert peaks[1] - peaks[0] < allowed, f"{peaks} MiB; the volume {volume} MiB"
