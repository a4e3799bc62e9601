"""Volumes to uncompressed NRRD, for a program on the same computer that reads them at once and then removes them.

Nothing is flushed to the disk or read back, as write.py does for results that are kept: seconds count here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from unoise_engine.files import new_file
from unoise_engine.volume.volume import Voxels

TYPES = {"int16": "short", "uint8": "uchar", "float32": "float"}


def write_raw(volume: Voxels, path: Path) -> None:
    """One plane after the other. Raises OSError, also where a full disk was not told."""
    grid, dtype = volume.grid, np.dtype(volume.dtype)
    steps = np.asarray(grid.direction).reshape(3, 3) * grid.spacing_mm
    header = (
        f"NRRD0004\ntype: {TYPES[dtype.name]}\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, grid.size))}\nspace directions: {' '.join(map(_vector, steps.T))}\n"
        f"kinds: domain domain domain\nendian: little\nencoding: raw\nspace origin: {_vector(grid.origin_mm)}\n\n"
    ).encode()
    wanted = len(header)
    with new_file(path) as draft:
        with draft.path.open("wb") as f:
            f.write(header)
            for plane in volume.planes():
                content = np.ascontiguousarray(plane, dtype.newbyteorder("<")).data.cast("B")
                wanted += f.write(content)
        if draft.path.stat().st_size != wanted:
            raise OSError(28, "the file is shorter than what was written; is the disk full?")


def _vector(numbers: Iterable[float]) -> str:
    return "(" + ",".join(repr(float(n)) for n in numbers) + ")"
