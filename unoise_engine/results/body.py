"""Where the patient is on a slice."""

from __future__ import annotations

import numpy as np

from unoise_engine.explanation.scan import BODY_HU, enclosed


def in_body(hu: np.ndarray) -> np.ndarray:
    """Axial slices (n, rows, columns) -> bool: where a map shows that is made of pixels of some centimetres. What lies
    in the air beside the body comes from enlarging them."""
    return enclosed(hu > BODY_HU)


def body_box(hu: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of everything denser than air, with a little margin: pictures show the patient, not the room."""
    dense = hu > -300
    box = []
    for axis in (1, 0):
        lines = np.flatnonzero(dense.mean(axis=axis) > 0.05)
        n = dense.shape[1 - axis]
        margin = n // 50
        box.append(slice(max(0, lines[0] - margin), lines[-1] + 1 + margin) if len(lines) else slice(0, n))
    return box[0], box[1]
