"""A folded U-Net as an ONNX graph.

Nearest x2 and the 3 x 3 convolution behind it see each pixel up to four times. Done as four 2 x 2 convolutions at the
low resolution, one for each place in the 2 x 2 that a pixel becomes, that is 2.25 times less work for the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from torch import nn

from unoise_engine.training.budgets import CoarseUNet
from unoise_engine.training.graph import Graph
from unoise_engine.training.unet import UNet

# Output channels from which on the four small convolutions pay for putting their pixels together: measured in
# onnxruntime on 256 x 256, where 16 channels lose a little and 32 gain.
WORTH_SPLITTING = 32
# What the two rows (or columns) of a low-resolution pair weigh in the kernel of the even and of the odd output pixel.
SPLIT = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float32)


END = np.iinfo(np.int64).max  # of a slice: to the very end


@dataclass(frozen=True)
class Said:
    """The deepest block's output, the decoder's steps, deepest first, and every layer's output by name and level:
    in, first, out of the encoder; up, fused, decoded of the decoder, level 0 being the finest."""

    deep: str
    steps: list[Step]
    layers: dict[str, str]


@dataclass(frozen=True)
class Step:
    """One resolution of the decoder: its layers, and the outputs of its three ReLUs, first to last."""

    grow: nn.Conv2d
    fuse: tuple[nn.Conv2d, nn.Conv2d]
    gates: tuple[str, str, str]


def unet_model(net: UNet, output: str) -> onnx.ModelProto:
    """slices (n, c, h, w) -> `output` (n, 1, h, w). The net must be folded."""
    graph = Graph(net)
    if isinstance(net, CoarseUNet):
        add_unet(graph, net, "fine")
        smoothed(graph, "fine", net.cell, graph.node("Shape", "fine"), output)
    else:
        add_unet(graph, net, output)
    return graph.model({"slices": ["n", net.in_channels, "h", "w"]}, {output: ["n", 1, "h", "w"]})


def add_unet(graph: Graph, net: UNet, output: str, slices: str = "slices") -> Said:
    """The way from `slices` to `output`."""
    x, skips, layers = slices, [], {}
    for level, down in enumerate(net.downs):
        if level:
            skips.append(x)
            x = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        layers[f"in{level}"] = x
        for conv, name in zip(convolutions(down), ("first", "out")):
            x = layers[f"{name}{level}"] = graph.relu(graph.conv(x, graph.weight(conv.weight), conv.bias))
    deep, steps = x, []
    for level, up, fuse in zip(reversed(range(net.depth - 1)), net.grows, net.fuses):
        (grow,), (first, second) = convolutions(up), convolutions(fuse)
        up_out = graph.relu(enlarged(graph, x, grow))
        both = graph.node("Concat", up_out, skips.pop(), axis=1)
        first_out = graph.relu(graph.conv(both, graph.weight(first.weight), first.bias))
        x = graph.relu(graph.conv(first_out, graph.weight(second.weight), second.bias))
        steps.append(Step(grow, (first, second), (up_out, first_out, x)))
        layers |= {f"up{level}": up_out, f"fused{level}": first_out} | ({f"decoded{level}": x} if level else {})
    graph.node("Conv", x, graph.weight(net.head.weight), graph.bias(net.head.bias), out=output)
    return Said(deep, steps, layers)


def enlarged(graph: Graph, x: str, conv: nn.Conv2d, framed: bool = False) -> str:
    """Nearest x2, then the 3 x 3 convolution. `framed`: x has a pixel more on each side, which stands for the zeros."""
    kernel, ring = graph.weight(conv.weight), 0 if framed else 1
    if conv.out_channels < WORTH_SPLITTING:
        wide = graph.node("Resize", x, "", graph.constant([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                          coordinate_transformation_mode="asymmetric")  # fmt: skip
        done = graph.conv(wide, kernel, conv.bias, ring)
        return _inner(graph, done, (1, 1), (-1, -1)) if framed else done
    places = []
    for row, down in enumerate(SPLIT):
        for column, across in enumerate(SPLIT):
            small = graph.node("MatMul", graph.constant(down), graph.node("MatMul", kernel, graph.constant(across.T)))
            pad = [0] * 4 if framed else [1 - row, 1 - column, row, column]
            place = graph.conv(x, small, conv.bias, pad)
            if framed:
                place = _inner(graph, place, (row, column), tuple(-1 if k == 0 else END for k in (row, column)))
            places.append(place)
    return graph.node("DepthToSpace", graph.node("Concat", *places, axis=1), blocksize=2)


def _inner(graph: Graph, x: str, starts: tuple[int, ...], stops: tuple[int, ...]) -> str:
    return graph.node("Slice", x, graph.whole(*starts), graph.whole(*stops), graph.whole(2, 3))


def smoothed(graph: Graph, x: str, cell: int, size: str, out: str = "") -> str:
    """The mean over cells of `cell` pixels, interpolated between their middles."""
    return wide(graph, graph.node("AveragePool", x, kernel_shape=[cell, cell], strides=[cell, cell]), size, out)


def wide(graph: Graph, x: str, size: str, out: str = "") -> str:
    """Enlarged bilinearly to `size`."""
    return graph.node("Resize", x, "", "", size, out=out, mode="linear", coordinate_transformation_mode="half_pixel")


def convolutions(layers: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in layers.children() if isinstance(layer, nn.Conv2d)]
