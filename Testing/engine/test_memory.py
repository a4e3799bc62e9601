"""Memory that comes with each slice: no more than the CT's own voxels as float32, whatever is read and written."""

import sys

import pytest

from Testing.benchmarks.peak_memory import peak_mib, write, write_series
from Testing.engine.dicomout.series import write_enhanced

SIZE, FEW, MANY = 256, 40, 340
KINDS = {
    "flipped": ("nii.gz", "RAI", "nifti"),
    "coronal": ("nrrd", "RIP", "nrrd"),
    "dicom": ("", "", "dicom"),
    "enhanced": ("", "", "dicom"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="measures with the module resource")
@pytest.mark.parametrize("kind", KINDS)
def test_memory_grows_by_less_than_the_volume(kind, tiny_bundle, tmp_path):
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
        peaks.append(peak_mib(source, tmp_path / f"out{n}", tiny_bundle, file_format, block_bytes=1 << 22))
    volume = 4 * SIZE**2 * (MANY - FEW) / (1 << 20)
    assert peaks[1] - peaks[0] < volume, f"{peaks} MiB; the volume {volume} MiB"
