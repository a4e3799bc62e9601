"""Whether two files show the same CT, whatever they are called.

The voxels are compared, in whole HU and axial: a link, a copy, another format, compression or order of axes changes
nothing. Slices are compared one by one, so a part of a CT is known again too.
"""

from __future__ import annotations

import hashlib

import numpy as np

from unoise_engine.volume.volume import AxialView, Volume

BODY_HU, BODY_SHARE = -500, 0.01  # slices of air look alike in many CTs and tell nothing


def slice_hashes(ct: Volume) -> frozenset[str]:
    """One hash for every axial slice that shows a body."""
    found = set()
    for plane in AxialView.of(ct.grid).apply(ct.voxels):
        if (plane > BODY_HU).mean() > BODY_SHARE:
            whole = np.ascontiguousarray(np.round(np.clip(plane, -32768, 32767)).astype("<i2"))
            shape = str(whole.shape).encode()
            found.add(hashlib.blake2b(shape + whole.tobytes(), digest_size=12).hexdigest())
    return frozenset(found)
