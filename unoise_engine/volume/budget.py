"""What one case may cost to read: bytes, seconds, millimetres.

Each limit is asked before memory is set aside or while a stream is unpacked, so that a small file cannot cost much.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from unoise_engine.errors import CaseRefused

LARGEST_CT = 1 << 30  # voxels: 1024 x 1024 x 1024; a header that asks for more is taken for damage
CASE_BYTES = 1 << 32  # of all voxels: as many as that, as float32; a whole body in 1 mm slices of 512 x 512 takes 1 GB
BOMB_RATIO = 200  # real CTs pack 2 to 10 times, synthetic ones without noise up to 100 times
BOMB_BYTES = 1 << 26  # what a small, well packed file may unpack to whatever its ratio
MASK_BYTES = 1 << 30  # the same of a mask, which packs a thousand times
READ_SECONDS = 600  # the largest CT allowed takes a minute or two to decode
LARGEST_FIELD_MM = 1500  # side of an axial slice; scanners see 500 to 820 mm
LONGEST_MM = 3000  # along the body; nobody is taller
WIDEST_STEP_MM = 50  # between slices; the widest in use are 10 to 20 mm apart


class Deadline:
    """The moment at which reading a case is given up, asked slice by slice and piece by piece."""

    def __init__(self, seconds: float = READ_SECONDS):
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def check(self, source: object) -> None:
        """Raises CaseRefused TOO_SLOW."""
        if time.monotonic() > self._end:
            what = f"takes more than {self._seconds:g} s to read"
            raise CaseRefused("TOO_SLOW", source, what, "store it unpacked on a local disk, or crop it to the abdomen")


def check_voxels(size: Sequence[int], bytes_each: int, source: object) -> None:
    """Raises CaseRefused TOO_LARGE. `size` in voxels, x first."""
    count = math.prod(size)
    if count > LARGEST_CT or count * bytes_each > CASE_BYTES:
        shape = " x ".join(map(str, size))
        raise CaseRefused("TOO_LARGE", source, f"announces {shape} voxels", "crop the CT to the abdomen")


def check_packing(wanted: int, there: int, source: object, always: int = BOMB_BYTES) -> None:
    """Raises CaseRefused BOMB if `there` bytes announce `wanted` ones, more than any CT packs; `always` are allowed."""
    if wanted > max(there * BOMB_RATIO, always):
        what = f"unpacks to {wanted // max(there, 1)} times its size, as no CT does"
        raise CaseRefused("BOMB", source, what, "check where the file comes from; if it is a CT, store it unpacked")


def check_extent(sides_mm: Sequence[float], length_mm: float, step_mm: float, source: object) -> None:
    """`sides_mm` of an axial slice, `length_mm` of the stack, `step_mm` between slices. Raises CaseRefused GEOMETRY."""
    what = ""
    if max(sides_mm) > LARGEST_FIELD_MM:
        what = f"shows {max(sides_mm):.0f} mm across, more than any scanner sees ({LARGEST_FIELD_MM} mm)"
    elif step_mm > WIDEST_STEP_MM:
        what = f"has slices {step_mm:.0f} mm apart, which show no organ ({WIDEST_STEP_MM} mm at most)"
    elif length_mm > LONGEST_MM:
        what = f"is {length_mm:.0f} mm long, longer than any body ({LONGEST_MM} mm)"
    if what:
        raise CaseRefused("GEOMETRY", source, f"{what}: its spacing is wrong", "export the original series")
