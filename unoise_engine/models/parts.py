"""Graphs that borrow their weights: a file without kernels, run with those of another."""

from __future__ import annotations

from unoise_engine.models.onnx_format import parse, serialise


def with_weights(part: bytes, lender: bytes) -> bytes:
    """The part's ONNX file with all tensors that the lender's graph stores. Raises ValueError as `parse` does."""
    whole = parse(part)
    whole.graph.initializer.extend(parse(lender).graph.initializer)
    return serialise(whole)
