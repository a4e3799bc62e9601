"""What every importer makes of what it reads, and what is made into a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unoise_engine.models.preparation import Preparation


@dataclass(frozen=True, eq=False)
class Source:
    """A model read from somewhere, nothing of it run yet but by its own nets' code in packages that are installed.

    `net` is a torch module in evaluation mode, windows (n, c, *s) -> logits (n, k, *s), smaller by the window's margin
    on each side; or None, and `onnx` is the ONNX file's bytes with one input and one output of that kind. `example` is
    the shape (1, c, *s) of a window. `reference` answers a window as the source itself does, for parity; None where the
    net is all there is. `outputs` and `labels` as in the manifest. `licence` and `citation` are empty where the source
    holds none.
    """

    name: str
    title: str
    kind: str  # "nnU-Net v2", "TotalSegmentator", "MONAI bundle", "TorchScript", "ONNX"
    preparation: Preparation
    labels: dict[str, int]
    outputs: str
    example: tuple[int, ...]
    net: Any = None
    onnx: bytes = b""
    reference: Callable[[np.ndarray], np.ndarray] | None = None
    licence: str = ""
    citation: str = ""
    training_data: str = ""
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)  # of the source, for the manifest's `architecture`
