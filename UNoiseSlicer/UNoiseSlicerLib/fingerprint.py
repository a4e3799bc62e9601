"""What a CT was when it was explained: where it lies, its size, its voxels. MRML only.

Results carry it, for they fit that CT alone: one that was hardened, moved, cropped or edited since would show them in
the wrong place. The transform above a CT is no part of it, for the results follow that.

Slicer turns a left-handed grid round when it loads one, so everything here is of the right-handed grid with the same
voxels in the same places.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import slicer.util
from slicer.i18n import tr as _

from UNoiseSlicerLib.volumes import matrix_of

SAME_MM = 0.01  # corners nearer than this have not moved: files round
MOST_KNOWN = 16
_known: dict[tuple[int, bool], int] = {}  # (time of the last change, handedness) -> checksum; the clock is VTK's


@dataclass(frozen=True)
class Fingerprint:
    """`matrix`: IJK to RAS, row by row; `size`: voxels (i, j, k); `voxels`: CRC-32 of all of them."""

    matrix: tuple[float, ...]
    size: tuple[int, ...]
    voxels: int

    @property
    def text(self) -> str:
        return json.dumps(astuple(self))

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) RAS, mm: the centres of the voxels at the corners."""
        ends = np.array(np.meshgrid(*((0, n - 1) for n in self.size), [1], indexing="ij")).reshape(4, -1)
        return (np.reshape(self.matrix, (4, 4)) @ ends)[:3].T


def read(text: str | None) -> Fingerprint | None:
    """The reverse of `text`; None for a text that is none."""
    try:
        matrix, size, voxels = json.loads(text or "")
        return Fingerprint(tuple(map(float, matrix)), tuple(map(int, size)), int(voxels))
    except (ValueError, TypeError):
        return None


def fingerprint(ct: Any, trust_clock: bool = True) -> Fingerprint:
    """Of a volume that holds voxels. Without `trust_clock` all voxels are looked at again (0.1 s for 512 x 512 x 300):
    an array can be changed without a word to VTK."""
    right_handed = matrix_of(ct).Determinant() > 0
    key = ct.GetImageData().GetMTime(), right_handed
    if not trust_clock or key not in _known:
        checksum = 0
        for plane in slicer.util.arrayFromVolume(ct)[:: 1 if right_handed else -1]:
            checksum = zlib.crc32(plane, checksum)
        while len(_known) > MOST_KNOWN:
            _known.pop(next(iter(_known)))
        _known[key] = checksum
    return replace(grid(ct), voxels=_known[key])


def grid(volume: Any) -> Fingerprint:
    """Place and size alone; all voxels count as 0."""
    matrix, size = slicer.util.arrayFromVTKMatrix(matrix_of(volume)), volume.GetImageData().GetDimensions()
    if np.linalg.det(matrix[:3, :3]) < 0:
        matrix[:3, 3] += matrix[:3, 2] * (size[2] - 1)
        matrix[:3, 2] *= -1
    return Fingerprint(tuple(map(float, matrix.ravel())), tuple(size), 0)


def is_same_grid(one: Fingerprint, other: Fingerprint) -> bool:
    return one.size == other.size and bool(np.abs(one.corners - other.corners).max() < SAME_MM)


def difference(name: str, then: Fingerprint | None, now: Fingerprint | None) -> str:
    """The sentence for the person at the panel; empty if the CT is what it was. None: unknown, or no voxels."""
    if then is None or now is None:
        text = _("{name} was changed since it was explained - explain it again.")
    elif then.size != now.size:
        text = _("{name} was cropped or resampled since it was explained - explain it again.")
    elif not is_same_grid(then, now):
        text = _("{name} was moved since it was explained - explain it again.")
    elif then.voxels != now.voxels:
        text = _("{name} was changed since it was explained - explain it again.")
    else:
        return ""
    return text.format(name=name)
