"""Volumes as a page carries them: CT voxels without loss, maps in 8 bits with a table of what each code means."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

SILENT = 0  # the code of voxels that no map speaks of: their slice was not explained, or the model found nothing there
EVEN = 100  # steps of even width in value, and as many that hold the same number of voxels each
FINE = 50  # more of the latter among the topmost, on which the slider of the most important lies
TOPMOST = 0.02
# Codes are looked up by the leading bits of a value, which is many times as fast as to search for it: those of positive
# floats are in order.
DROPPED = 12
_BINS = (np.arange((0x7F800000 >> DROPPED) + 1, dtype=np.uint32) << DROPPED).view(np.float32)
SAMPLE = 1_000_000  # voxels that stand for all where steps are chosen
ABOVE_COLOURS = 0.005  # of the important voxels may lie beyond the colours' end: a few bright ones leave the rest dark


@dataclass(frozen=True)
class Box:
    """The part of a CT that the page holds, of its axial slices (`full`: rows, columns); every `step`-th voxel."""

    full: tuple[int, int]
    slices: range
    rows: slice
    columns: slice
    step: int = 1

    def cut(self, plane: np.ndarray) -> np.ndarray:
        found: np.ndarray = plane[self.rows, self.columns][:: self.step, :: self.step]
        return found


@dataclass(frozen=True)
class Table:
    """What the codes of a map mean. `values`: the mean of the voxels of each code; `counts`: how many there are in all
    of the map; `top`: where the colours end."""

    values: list[float]
    counts: list[int]
    top: float


def pack_ct(slices: Iterable[np.ndarray]) -> bytes:
    """int16 slices (rows, columns): each as differences from the voxel before, zigzag, low bytes before high ones."""
    packer, parts = zlib.compressobj(strategy=zlib.Z_RLE), []  # noise repeats nothing: smaller, and fast
    for plane in slices:
        rest = np.diff(plane.astype("<i2").ravel(), prepend=np.int16(0))  # modulo 2^16
        folded = ((rest << 1) ^ (rest >> 15)).astype("<u2")
        parts.append(packer.compress(folded.view(np.uint8).reshape(-1, 2).T.tobytes()))
    return b"".join((*parts, packer.flush()))


def pack_mask(slices: Iterable[np.ndarray]) -> bytes:
    """0 and 1, a byte each."""
    packer = zlib.compressobj(6)
    parts = [packer.compress((plane > 0).tobytes()) for plane in slices]
    return b"".join((*parts, packer.flush()))


def pack_map(values_of: Callable[[int], np.ndarray | None], slices: range, box: Box) -> tuple[bytes, Table]:
    """`values_of` a slice: (rows, columns), 0 and above, or None where nothing is said; asked twice for each of
    `slices`. Those in `box` are packed, as codes: SILENT, 1 for 0, and more for more. The table counts all of them."""
    edges, top = _edges(values_of, slices)
    code_of = (1 + np.searchsorted(edges, _BINS)).astype(np.uint8)
    sums, counts = np.zeros(256), np.zeros(256, np.int64)
    packer, parts = zlib.compressobj(6), list[bytes]()
    for k in slices:
        values = values_of(k)
        if values is None:
            codes = np.zeros(box.full, np.uint8)
        else:
            codes = code_of[np.ascontiguousarray(values, np.float32).view(np.uint32) >> DROPPED]
            counts += np.bincount(codes.ravel(), minlength=256)
            sums += np.bincount(codes.ravel(), values.ravel(), minlength=256)
        if k in box.slices:
            parts.append(packer.compress(box.cut(codes).tobytes()))
    means = sums / np.maximum(counts, 1)
    return b"".join((*parts, packer.flush())), Table([float(f"{v:.4g}") for v in means], counts.tolist(), top)


def _edges(values_of: Callable[[int], np.ndarray | None], slices: range) -> tuple[np.ndarray, float]:
    """The upper ends of the steps, 0 first, and where the colours end. Steps follow values and ranks alike."""
    some = [np.zeros(0, np.float32)]
    for k in slices:
        if (values := values_of(k)) is not None:
            step = 1 + math.isqrt(values.size * len(slices) // SAMPLE)
            some.append(values[::step, ::step].ravel())
    positive = np.concatenate(some).astype(np.float64)
    positive = positive[positive > 0]
    if not positive.size:
        return np.zeros(1), 1.0
    shares = np.concatenate([np.linspace(0, 1, EVEN), 1 - np.linspace(0, TOPMOST, FINE)])
    by_rank = np.quantile(positive, shares, method="inverted_cdf")
    by_value = np.linspace(0, positive.max(), EVEN)
    return np.unique(np.concatenate([by_value, by_rank])), float(np.quantile(positive, 1 - ABOVE_COLOURS))
