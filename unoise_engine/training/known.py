"""The ranges that the CTs of a training span, for the bundle's scope.

How a CT is taken (pixels, slices, field, contrast) a model knows only as it was taught. A body is told from no body,
or another part of it, by what suits an adult's abdomen; where what was taught lies beyond that, so does the range.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unoise_engine.models.scope import Range, Scope
from unoise_engine.training.content import Content

SLACK = 0.1  # of a value: the next CT of the same kind is a little beyond those that were seen
TAKEN = ("pixel_mm", "slice_mm", "field_mm")
BODY = ("body_cm2", "soft_share", "dense_share", "organ_ml")


def scope_of(contents: Iterable[Content]) -> dict[str, Any]:
    """What of a `Scope` these CTs tell."""
    spans: dict[str, Range] = {}
    for content in contents:
        for name, (low, high) in content.measures.items():
            before = spans.get(name, (low, high))
            spans[name] = (min(low, before[0]), max(high, before[1]))
    wide = {name: (low * (1 - SLACK), high * (1 + SLACK)) for name, (low, high) in spans.items()}
    found: dict[str, Any] = {name: wide[name] for name in TAKEN if name in wide}
    usual = Scope()
    for name in (name for name in BODY if name in wide):
        (low, high), (least, most) = wide[name], getattr(usual, name)
        found[name] = (min(low, least), max(high, most))
    if "lung_share" in wide:
        found["lung_share"] = max(usual.lung_share, wide["lung_share"][1])
    if "enhanced_share" in wide:
        found["enhanced_share"] = wide["enhanced_share"][0]
    return {name: rounded(value) for name, value in found.items()}


def rounded(value: Any) -> Any:
    return tuple(map(rounded, value)) if isinstance(value, tuple) else float(f"{value:.3g}")
