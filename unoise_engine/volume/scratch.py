"""Slices of the model's size, set aside between two stages: those of a large CT lie in a file, not in memory."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

IN_MEMORY_BYTES = 1 << 25  # 200 slices of 2 mm pixels; so much memory is no matter


class Stack(Protocol):
    """(n, h, w) float32, read and written a slice or a range of slices at a time; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[np.ndarray]: ...
    def __getitem__(self, which: Any, /) -> np.ndarray: ...
    def __setitem__(self, which: Any, values: Any, /) -> None: ...


class Scratch:
    """A stack in a file without a name, which goes with the last reference to it, or with the process.

    What is read was written before. Raises OSError if the disk is full.
    """

    def __init__(self, shape: tuple[int, int, int], folder: Path):
        self.shape = shape
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".scratch-")  # noqa: SIM115 - lives as long as this

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, which: int | slice) -> np.ndarray:
        """(h, w) of a slice, (k, h, w) of a range; a copy."""
        low, count = self._place(which)
        values = np.empty((count, *self.shape[1:]), np.float32)
        self._file.seek(low * self._slice_bytes)
        if self._file.readinto(values.data.cast("B")) != values.nbytes:
            raise OSError("a temporary file is shorter than what was written")
        return values if isinstance(which, slice) else values[0]

    def __setitem__(self, which: int | slice, values: np.ndarray) -> None:
        low, count = self._place(which)
        content = np.ascontiguousarray(values, np.float32)
        if content.size != count * math.prod(self.shape[1:]):
            raise ValueError(f"{content.shape} values for {count} slices of {self.shape[1:]}")
        self._file.seek(low * self._slice_bytes)
        self._file.write(content.data.cast("B"))

    @property
    def _slice_bytes(self) -> int:
        return 4 * math.prod(self.shape[1:])

    def _place(self, which: int | slice) -> tuple[int, int]:
        """First slice and how many."""
        low, high, step = (which if isinstance(which, slice) else slice(which, which + 1)).indices(len(self))
        if step != 1 or low >= high:
            raise IndexError(f"{which} of {len(self)} slices")
        return low, high - low


def room(shape: tuple[int, int, int], folder: Path | None = None) -> Stack:
    """Room for so many slices: an array, or a file in `folder`, if one is given, where they are many."""
    if folder is None or 4 * math.prod(shape) <= IN_MEMORY_BYTES:
        return np.empty(shape, np.float32)
    return Scratch(shape, folder)
