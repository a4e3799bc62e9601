"""The slice archive: one .npz of labelled axial slices that need not be neighbours.

=============  ===================  =============================================================================
``image``      (n, h, w) integers   HU; rows run to the back, columns to the patient's left. uint8 means HU
                                    clipped to [0, 255]: the set's low and high values stand for all beyond them
``mask``       (n, h, w) bool       the organ
``patient``    (n,) integers        who it is: slices of one patient are never split between learning and judging
``instance``   (n,) integers        optional: the slice's number in its series, from the head or the feet, for order
``margin_px``  (n,) integers        optional: the slice shows the frame without so many of its pixels on each side,
                                    enlarged to h x w; 0 is the whole frame
``spacing_mm`` (n,) numbers         optional: pixel spacing of the whole frame; else it is guessed (scale.py)
=============  ===================  =============================================================================

Nothing in the file is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.models.input import resize_weights

ARRAYS = ("image", "mask", "patient", "instance", "margin_px", "spacing_mm")
SMALLEST_PX = 17
CURE = "see docs/how-to/data-sets.md, 'Slice archives', for the arrays it must hold"


@dataclass(frozen=True)
class SliceArchive:
    """All slices in memory; see the module for shapes."""

    image: np.ndarray
    mask: np.ndarray
    patient: np.ndarray
    instance: np.ndarray
    margin_px: np.ndarray
    spacing_mm: np.ndarray | None

    @property
    def patients(self) -> list[int]:
        return [int(p) for p in np.unique(self.patient)]

    def of(self, patient: int) -> np.ndarray:
        """Indices of a patient's slices, by instance."""
        mine = np.flatnonzero(self.patient == patient)
        return mine[np.argsort(self.instance[mine], kind="stable")]

    def frame(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Slice k and its mask, (h, w) each, on the whole frame: an enlarged crop is shrunk back and put in its place.

        What the crop does not show reads the set's lowest value.
        """
        image, mask, margin = self.image[k], self.mask[k], int(self.margin_px[k])
        if not margin:
            return image.astype(np.int16), mask
        out = np.full(image.shape, int(self.image.min()), np.int16)
        organ = np.zeros(mask.shape, bool)
        inner = tuple(n - 2 * margin for n in image.shape)
        rows, columns = (resize_weights(n, m, n / m) for n, m in zip(image.shape, inner))
        here = tuple(slice(margin, margin + m) for m in inner)
        out[here] = np.round(rows @ image.astype(np.float32) @ columns.T)
        organ[here] = rows @ mask.astype(np.float32) @ columns.T > 0.5
        return out, organ


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it is one bare array")
        with stored:
            return {name: stored[name] for name in ARRAYS if name in stored.files}
    except MemoryError:
        raise CaseRefused("BAD_ARCHIVE", path, "is larger than the memory", "split it by patients") from None
    except (
        OSError,
        ValueError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
    ) as e:  # encrypted: RuntimeError
        raise CaseRefused("BAD_ARCHIVE", path, f"cannot be read as .npz ({e})", CURE) from None


def read_archive(path: Path) -> SliceArchive:
    """Raises Usage if there is no such file, CaseRefused BAD_ARCHIVE with one sentence for what does not fit."""
    if not path.is_file():
        raise Usage(path, "no such file", "give a slice archive (.npz)")
    arrays = _load(path)

    def refuse(what: str) -> CaseRefused:
        return CaseRefused("BAD_ARCHIVE", path, what, CURE)

    for name in ("image", "mask", "patient"):
        if not isinstance(arrays.get(name), np.ndarray):
            raise refuse(f"holds no array '{name}'")
    image, mask = arrays["image"], arrays["mask"]
    if image.ndim != 3 or not image.size:
        raise refuse(f"image must be (n, h, w), not {image.shape}")
    if image.dtype.kind not in "iu":
        raise refuse(f"image must hold whole HU, not {image.dtype}")
    if min(image.shape[1:]) < SMALLEST_PX:
        raise refuse(
            f"image has slices of {image.shape[1]} x {image.shape[2]} pixels, at least {SMALLEST_PX} are needed"
        )
    if image.min() < -32768 or image.max() > 32767:
        raise refuse(f"image holds {image.min()} .. {image.max()}, which are no HU")
    if mask.shape != image.shape or not (mask.dtype == bool or set(np.unique(mask)) <= {0, 1}):
        raise refuse(f"mask must be 0 or 1 and shaped {image.shape}, not {mask.dtype} {mask.shape}")
    n = len(image)
    for name in ("patient", "instance", "margin_px", "spacing_mm"):
        if name in arrays and arrays[name].shape != (n,):
            raise refuse(f"{name} must hold {n} values, one a slice, not {arrays[name].shape}")
        if name in arrays and arrays[name].dtype.kind not in ("iuf" if name == "spacing_mm" else "iu"):
            kind = "numbers" if name == "spacing_mm" else "whole numbers"
            raise refuse(f"{name} must be {kind}, not {arrays[name].dtype}")
    margin = arrays.get("margin_px", np.zeros(n, int))
    if margin.min() < 0 or 2 * int(margin.max()) >= min(image.shape[1:]) - SMALLEST_PX + 1:
        raise refuse(
            f"margin_px must lie between 0 and less than half of the slice, not {margin.min()} .. {margin.max()}"
        )
    spacing = arrays.get("spacing_mm")
    if spacing is not None and not (np.isfinite(spacing).all() and (spacing > 0.1).all() and (spacing < 5).all()):
        raise refuse("spacing_mm must lie between 0.1 and 5 mm everywhere")
    instance = arrays.get("instance", np.arange(n))
    return SliceArchive(image, mask.astype(bool), arrays["patient"], instance, margin, spacing)
