"""Means and maxima of windows."""

from __future__ import annotations

import math

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import FLOAT32, Growing, Rule, settings
from unoise_engine.models.reverse.windows import Windows

NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def repeated(graph: Growing, name: str, blocks: list[int], other: str) -> str:
    """Each voxel as often as its block has voxels, cut off or filled up with 0 to the other's size."""
    large = graph.add("Resize", [name, "", graph.number([1, 1, *blocks])], **NEAREST)
    return graph.as_large_as(large, other)


def _max_pool(graph: Growing, node: Message, gradient: str) -> None:
    """Of blocks side by side, each voxel that is the maximum gets its part; where windows overlap, the first one of
    each window gets all."""
    x, windows = node.input[0], Windows(node)
    if not windows.side_by_side:
        _first_of_window(graph, node, gradient)
        return
    here = graph.add("Cast", [graph.add("Equal", [x, repeated(graph, node.output[0], windows.kernel, x)])], to=FLOAT32)
    share = graph.add("AveragePool", [here], kernel_shape=windows.kernel, strides=windows.kernel)
    count = graph.add("Mul", [share, graph.number(float(math.prod(windows.kernel)))])
    each = repeated(graph, graph.add("Div", [gradient, count]), windows.kernel, x)
    graph.give(x, graph.add("Mul", [here, each]))


def _first_of_window(graph: Growing, node: Message, gradient: str) -> None:
    if settings(node).get("storage_order", 0):
        raise ValueError("MaxPool with places counted by columns cannot be reversed")
    if len(node.output) == 1:
        node.output.append(graph.new_name())
    graph.give(node.input[0], graph.scattered(gradient, node.input[0], lambda places: node.output[1]))


def _average_pool(graph: Growing, node: Message, gradient: str) -> None:
    x, windows, get = node.input[0], Windows(node), settings(node).get
    size = float(math.prod(windows.kernel))
    if windows.side_by_side:
        graph.give(x, repeated(graph, graph.add("Div", [gradient, graph.number(size)]), windows.kernel, x))
        return
    if get("ceil_mode", 0):
        raise ValueError("AveragePool of windows that reach beyond the edge (ceil_mode) cannot be reversed")
    space = graph.part(graph.shape(x), 2)
    if not get("count_include_pad", 0):  # then it is the mean of those inside
        ones = graph.add("Expand", [graph.number(1.0), graph.joined(graph.whole(1, 1), space)])
        inside = graph.add("AveragePool", [ones], **{**settings(node), "count_include_pad": 1})
        gradient = graph.add("Div", [gradient, inside])
    apart = graph.joined(graph.whole(-1, 1), graph.part(graph.shape(gradient), 2))
    kernel = graph.add("Expand", [graph.number(1 / size), graph.whole(1, 1, *windows.kernel)])
    back = windows.spread(graph, graph.add("Reshape", [gradient, apart]), kernel, space)
    graph.give(x, graph.shaped_as(back, x))


RULES: dict[str, Rule] = {"MaxPool": _max_pool, "AveragePool": _average_pool}
