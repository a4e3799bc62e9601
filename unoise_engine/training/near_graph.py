"""`NearNet` as an ONNX graph: slices and logits in, noise logits out."""

from __future__ import annotations

import onnx

from unoise_engine.training.graph import Graph
from unoise_engine.training.near import FLOOR, SCALES, NearNet
from unoise_engine.training.unet_graph import add_unet, smoothed, wide


def near_model(net: NearNet, output: str) -> onnx.ModelProto:
    """slices (n, c, h, w), logits (n, 1, h, w) -> `output` (n, 1, h, w). The net must be folded."""
    graph = Graph(net)
    found = graph.node("Sigmoid", "logits")
    size = graph.node("Shape", found)
    near = add_nearness(graph, found, size)
    graph.node("Concat", "slices", found, near, axis=1, out="seen")
    add_unet(graph, net.unet, "parts", slices="seen")
    coarse, fine = (graph.node("Gather", "parts", graph.whole(k), axis=1) for k in (0, 1))
    smooth = smoothed(graph, coarse, net.cell, size) if net.cell > 1 else coarse
    pull = graph.node("Mul", graph.node("Mul", near, graph.constant(4)), graph.bias(net.weight))
    around = graph.node("Sub", graph.node("Add", smooth, fine), pull)
    inside = graph.node("Mul", found, graph.node("Add", around, graph.bias(net.top)))
    graph.node("Sub", around, inside, out=output)
    ports = {"slices": ["n", net.in_channels, "h", "w"], "logits": ["n", 1, "h", "w"]}
    return graph.model(ports, {output: ["n", 1, "h", "w"]})


def add_nearness(graph: Graph, found: str, size: str) -> str:
    """`near.nearness`."""
    total = coarse = found
    for _ in range(SCALES):
        blurred = graph.node("AveragePool", coarse, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
        coarse = graph.node("AveragePool", blurred, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        total = graph.node("Add", total, wide(graph, coarse, size))
    log = graph.node("Log", graph.node("Add", total, graph.constant(FLOOR)))
    return graph.node("Div", log, graph.constant(4))
