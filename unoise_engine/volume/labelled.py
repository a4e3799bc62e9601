"""A CT and its labels, read together and compared: the same grid, and the organ in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.pairs import Pair
from unoise_engine.volume.read import check_ct, read_image
from unoise_engine.volume.volume import AxialView, Grid, Volume

SAME_MM = 0.1  # grids closer than this everywhere are one grid
ROUNDING = 1e-3  # of a label that went through a scale of 32 bits


def read_labelled(pair: Pair, numbers: Sequence[int], modality: str = "CT") -> tuple[Volume, Volume]:
    """The CT in HU and its labels, on one grid; `numbers` are those of the organ, which must be there. An image of
    another `modality` may have any values.

    Labels stored in another order of axes or directions than the CT, as converters do, are brought into the CT's order.

    Raises CaseRefused: OTHER_GRID, UNKNOWN_LABEL, EMPTY_LABEL, NO_SUCH_LABEL, and whatever `read_image` and `check_ct`
    refuse.
    """
    ct, labels = check_ct(read_image(pair.ct, modality), pair.ct), whole(read_image(pair.labels, modality), pair.labels)
    apart = apart_mm(ct.grid, labels.grid)
    if apart > SAME_MM and (turned := in_order_of(ct.grid, labels)) is not None:
        labels, apart = turned, 0.0
    if apart > SAME_MM:
        what = f"lies on another grid than {pair.ct.name} ({describe(apart)})"
        raise CaseRefused("OTHER_GRID", pair.labels, what, "resample the labels to the CT's grid")
    found = np.unique(labels.voxels)
    if not found.any():
        raise CaseRefused("EMPTY_LABEL", pair.labels, "holds no label at all", "remove the case or label the organ")
    if not np.isin(found, numbers).any():
        some = ", ".join(f"{n:g}" for n in found[found != 0][:8])
        wanted = " or ".join(map(str, numbers))
        what = f"holds the labels {some} but not {wanted}"
        raise CaseRefused("NO_SUCH_LABEL", pair.labels, what, "give the organ's numbers, or remove the case")
    return ct, labels


def whole(labels: Volume, source: object) -> Volume:
    """The labels as whole numbers. Raises CaseRefused UNKNOWN_LABEL for values between them, which nobody counts."""
    if labels.dtype.kind != "f":
        return labels
    numbers = np.round(labels.voxels)
    with np.errstate(invalid="ignore"):
        strange = labels.voxels[~(np.abs(labels.voxels - numbers) < ROUNDING)]
    if not strange.size:
        return labels.with_voxels(numbers.astype(np.int32))
    if np.isfinite(strange).all():
        what = f"holds {strange[0]:g}, which is no label: the labels were interpolated"
        cure = "resample them anew, by the nearest neighbour"
    else:
        what, cure = f"holds {strange[0]:g}, which is no label", "save the labels as whole numbers"
    raise CaseRefused("UNKNOWN_LABEL", source, what, cure)


def apart_mm(a: Grid, b: Grid) -> float:
    """Largest distance between equal corners of two grids; infinite where their sizes differ."""
    if a.size != b.size:
        return float("inf")
    return float(np.abs(corners(a) - corners(b)).max())


def in_order_of(grid: Grid, other: Volume) -> Volume | None:
    """The other volume's voxels in the grid's order, where flips and swaps of axes suffice; None where they do not."""
    here, there = AxialView.of(grid), AxialView.of(other.grid)
    voxels = here.undo(there.apply(other.voxels))
    if voxels.shape != grid.shape or np.abs(axial(grid, here) - axial(other.grid, there)).max() > SAME_MM:
        return None
    return Volume(np.ascontiguousarray(voxels), grid)


def axial(grid: Grid, view: AxialView) -> np.ndarray:
    """The corners in the view's order: (2, 2, 2, 3) mm, by z, y and x of the view."""
    stored = corners(grid).reshape(2, 2, 2, 3).transpose(2, 1, 0, 3)
    return np.stack([view.apply(stored[..., a]) for a in range(3)], axis=-1)


def corners(grid: Grid) -> np.ndarray:
    """Centres of the eight corner voxels in the patient, (8, 3) mm."""
    far = np.array(grid.size) - 1
    index = np.stack(np.meshgrid(*[(0, n) for n in far], indexing="ij"), axis=-1).reshape(8, 3)
    return index * np.array(grid.spacing_mm) @ np.reshape(grid.direction, (3, 3)).T + np.array(grid.origin_mm)


def describe(apart: float) -> str:
    return "other size" if apart == float("inf") else f"up to {apart:.1f} mm apart"
