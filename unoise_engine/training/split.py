"""A run's split, drawn as its recipe says; the drawing itself is `ct.split`."""

from __future__ import annotations

from collections.abc import Sequence

from unoise_engine.training.recipes import Data
from unoise_engine.volume.split import FILE, Split, draw_split

__all__ = ["FILE", "Split", "split_cases"]


def split_cases(cases: Sequence[str], data: Data) -> Split:
    """Raises `Usage` for fewer than two patients."""
    return draw_split(cases, data.patient, data.val_share, data.test_share, data.split_seed)
