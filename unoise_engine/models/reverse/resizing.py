"""Enlarging and reducing: linear along each axis, whatever the kind of interpolation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import FLOAT32, Growing, Rule, settings


def _resize(graph: Growing, node: Message, gradient: str) -> None:
    x, _, scales, sizes = [*node.input, "", "", ""][:4]
    set_to = settings(node)
    if set_to.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise ValueError("Resize of a part cannot be reversed")
    if set_to.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("Resize that keeps proportions cannot be reversed")
    stored = graph.stored(scales)
    if stored is not None and not stored.size:
        scales, stored = "", None
    if stored is not None and "axes" not in set_to and (blocks := _blocks(stored, set_to)):
        mean = graph.add("AveragePool", [gradient], kernel_shape=blocks, strides=blocks)
        graph.give(x, graph.add("Mul", [mean, graph.number(float(math.prod(blocks)))]))
        return
    axes = set_to.get("axes") or list(range(len(stored) if stored is not None else graph.rank_of(x)))
    for k, axis in enumerate(axes):
        if stored[k] != 1 if stored is not None else axis not in (0, 1):
            wanted = graph.part(scales or sizes, k, k + 1)
            gradient = _along(graph, node, gradient, x, axis, wanted, bool(scales))
    graph.give(x, gradient)


def _blocks(scales: np.ndarray, set_to: dict[str, Any]) -> list[int]:
    """Of space, if voxels are repeated a whole number of times."""
    mode, nearest = set_to.get("coordinate_transformation_mode", "half_pixel"), set_to.get("nearest_mode", "")
    blocks = [int(scale) for scale in scales[2:]]
    whole = blocks and min(blocks) >= 1 and np.array_equal(scales, [1, 1, *blocks])
    even = nearest == "floor" if mode == "asymmetric" else mode == "half_pixel" and nearest not in ("floor", "ceil")
    return blocks if whole and even and set_to.get("mode", "nearest") == "nearest" else []


def _along(graph: Growing, node: Message, gradient: str, x: str, axis: int, wanted: str, by_scale: bool) -> str:
    """Back along one axis: by the transposed matrix, whose rows are what becomes of an item of a single 1."""
    before, now = graph.shape(x), graph.shape(gradient)
    old, new = (graph.add("Gather", [shape, graph.whole(axis)]) for shape in (before, now))
    count = graph.counted(0, old)
    same = graph.add("Equal", [graph.add("Unsqueeze", [count, graph.whole(1)]), count])
    ones = graph.add("Unsqueeze", [graph.add("Cast", [same], to=FLOAT32), graph.whole(0, 1)])
    kept = {name: value for name, value in settings(node).items() if name not in ("axes", "keep_aspect_ratio_policy")}
    if by_scale:
        matrix = graph.add("Resize", [ones, "", graph.joined(graph.number([1, 1, 1]), wanted)], **kept)
    else:
        matrix = graph.add("Resize", [ones, "", "", graph.joined(graph.whole(1, 1), old, wanted)], **kept)
    matrix = graph.add("Squeeze", [matrix, graph.whole(0, 1)])
    rest = graph.part(now, axis + 1) if axis != -1 else graph.whole()
    behind = graph.add("ReduceProd", [graph.joined(graph.whole(1), rest)], keepdims=1)
    lines = graph.add("Reshape", [gradient, graph.joined(graph.whole(-1), new, behind)])
    back = graph.add("MatMul", [matrix, lines])
    return graph.add("Reshape", [back, graph.joined(graph.part(now, 0, axis), old, rest)])


RULES: dict[str, Rule] = {"Resize": _resize}
