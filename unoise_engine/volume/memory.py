"""CTs that a program holds already: SimpleITK and nibabel images, arrays, volumes. Checked as files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.case import Case, Reading, ReadSettings, guarded
from unoise_engine.volume.layout import Layout, check_layout
from unoise_engine.volume.nifti import check_agreement, to_lps, unoriented
from unoise_engine.volume.read import upright
from unoise_engine.volume.volume import Grid, Volume

KINDS = "a path, a SimpleITK.Image, a nibabel image, a numpy array with spacing=, or a unoise_engine.Volume"
UNIT_MM = {"meter": 1000.0, "micron": 0.001}  # nibabel's words


def of_memory(
    ct: Any,
    how: ReadSettings,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] | None = None,
    direction: Sequence[float] | np.ndarray | None = None,
) -> Case:
    """A case whose voxels are in memory; they are copied, never changed.

    `spacing`, `origin` (x, y, z) in mm and `direction` (nine cosines, row by row, or 3 x 3), all LPS and as SimpleITK
    has them, belong to an array, which is (z, y, x). Raises Usage for anything that is no CT.
    """
    name = "the array" if isinstance(ct, np.ndarray) else f"the {type(ct).__name__}"
    given = spacing, origin, direction
    if isinstance(ct, np.ndarray):
        ct = Volume(ct, _grid_of(ct, *given))
    elif any(one is not None for one in given):
        raise Usage("spacing, origin, direction", f"are for arrays, and {name} has its own", "leave them out")
    elif not (
        isinstance(ct, sitk.Image | Volume) or (all(hasattr(ct, name) for name in ("dataobj", "affine", "header")))
    ):
        raise Usage(name, "is nothing that a CT can be read from", f"give {KINDS}")

    def read() -> Reading:
        if isinstance(ct, Volume):
            voxels, start = ct.voxels, ct.grid.origin_mm
            steps = np.reshape(ct.grid.direction, (3, 3)) * ct.grid.spacing_mm
        elif isinstance(ct, sitk.Image):
            voxels, steps, start = _of_sitk(ct, name)
        else:
            voxels, steps, start = _of_nibabel(ct, name)
        layout = Layout(voxels.dtype, voxels.shape[::-1], np.asarray(steps), np.asarray(start), offset=0)
        if voxels.dtype.kind not in "iuf":
            raise CaseRefused("NOT_SCALAR", name, f"holds voxels of the type {voxels.dtype}", "give a CT in HU")
        check_layout(layout, name)
        kind = np.float32 if voxels.dtype.kind == "f" else voxels.dtype.newbyteorder("=")
        own = np.array(voxels, kind, order="C")
        volume, notes, planes = upright(own, layout, name, how.trust_hu, how.modality)
        return Reading(volume, tuple(notes), planes=planes)

    return Case("ct", Path(name), (), lambda: guarded(name, read))


def _grid_of(
    array: np.ndarray,
    spacing: Sequence[float] | None,
    origin: Sequence[float] | None,
    direction: Sequence[float] | np.ndarray | None,
) -> Grid:
    if array.ndim != 3:
        raise Usage(f"the array {array.shape}", "is not 3-D", "give one CT, (z, y, x)")
    if spacing is None:
        raise Usage("spacing", "is missing: an array does not say how large its voxels are", "give (x, y, z) in mm")
    mm, start = _numbers("spacing", spacing, 3), _numbers("origin", (0, 0, 0) if origin is None else origin, 3)
    if min(mm) <= 0:
        raise Usage(f"spacing {mm}", "is not above 0", "give (x, y, z) in mm, and say by direction= which way axes run")
    if direction is None and mm[0] != mm[1] == mm[2]:
        cure = f"give ({mm[2]:g}, {mm[1]:g}, {mm[0]:g}), or direction= as well"
        raise Usage(f"spacing {mm}", "is (x, y, z), and axial pixels are square: this looks like (z, y, x)", cure)
    cosines = _numbers("direction", np.eye(3) if direction is None else direction, 9)
    apart = np.abs(np.reshape(cosines, (3, 3)).T @ np.reshape(cosines, (3, 3)) - np.eye(3)).max()
    if not apart < 1e-3:
        raise Usage(f"direction {cosines}", "are no axes at right angles of length 1", "give nine cosines, row by row")
    return Grid(array.shape[::-1], mm, start, cosines)


def _numbers(name: str, values: Any, count: int) -> Any:
    try:
        found = tuple(float(v) for v in np.asarray(values, float).ravel())
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not np.isfinite(found).all():
        raise Usage(f"{name} {values}", f"is not {count} numbers", "give them as SimpleITK does: (x, y, z), LPS")
    return found


def _of_sitk(image: sitk.Image, name: str) -> tuple[np.ndarray, Any, Any]:
    size = image.GetSize()
    if image.GetDimension() == 4 and size[3] == 1:
        image = image[..., 0]
    if image.GetDimension() != 3:
        shape = " x ".join(map(str, size))
        raise CaseRefused("NOT_3D", name, f"has {len(size)} axes ({shape})", "give one 3-D CT volume")
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise CaseRefused("NOT_SCALAR", name, "holds several values a voxel (colour or vector)", "give a CT in HU")
    steps = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    return sitk.GetArrayFromImage(image), steps, image.GetOrigin()


def _of_nibabel(image: Any, name: str) -> tuple[np.ndarray, Any, Any]:
    """nibabel is (x, y, z) and RAS; its `dataobj` has the header's scale applied."""
    voxels, header = np.asanyarray(image.dataobj), image.header
    shape = voxels.shape
    if voxels.ndim > 3 and set(shape[3:]) == {1}:
        voxels = voxels.reshape(shape[:3])
    if voxels.ndim != 3:
        raise CaseRefused("NOT_3D", name, f"has {voxels.ndim} axes ({' x '.join(map(str, shape))})", "give one 3-D CT")
    if image.affine is None:
        raise unoriented(name)
    unit = 1.0
    if hasattr(header, "get_sform"):  # NIfTI: an affine that no code vouches for is a guess of nibabel's
        forms = [form[:3] for get in (header.get_sform, header.get_qform) if (form := get(coded=True)[0]) is not None]
        if not forms:
            raise unoriented(name)
        if len(forms) == 2:
            check_agreement(forms[0], forms[1:], voxels.shape, name)
        unit = UNIT_MM.get(header.get_xyzt_units()[0], 1.0)
    steps, start = to_lps(np.asarray(image.affine, float)[:3] * unit)
    return voxels.T, steps, start
