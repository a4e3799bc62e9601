"""One occluded patch, computed only where it changes anything: two graphs that borrow the utility's weights.

`clean_model` runs the net on a slice and hands out every layer's output. `patched_model` takes these and a patch's new
pixels; layer by layer it computes the window that the patch can have changed, on the old values around it. The window
starts as the patch, grows by a pixel a convolution and halves with each pooling; so the encoder costs next to nothing,
and the decoder a part of a full pass. Within the region asked for, the numbers are those of a full pass, to rounding;
of the decoder only what that region depends on is computed.

Handed-out images are framed: zeros one pixel wide around them, which is what the convolutions see beyond the border.
"""

from __future__ import annotations

import onnx

from unoise_engine.training.graph import Graph
from unoise_engine.training.unet import UNet
from unoise_engine.training.unet_graph import add_unet, convolutions, enlarged
from unoise_engine.training.window import COLUMNS, ROWS, Span, Window


def clean_model(net: UNet) -> onnx.ModelProto:
    """slices (1, c, h, w) -> logits (1, 1, h, w) and the framed layers, named as `patched_model` takes them."""
    graph = Graph(net, mark="clean-", borrow=True)
    layers = add_unet(graph, net, "logits").layers
    for name, value in layers.items():
        graph.node("Pad", value, graph.whole(1, 1, 1, 1), "", graph.whole(ROWS, COLUMNS), out=name)
    shapes = {"logits": [1, 1, "h", "w"]} | {name: [1, n, f"{name}_h", f"{name}_w"] for name, n in widths(net).items()}
    return graph.model({"slices": [1, net.in_channels, "h", "w"]}, shapes)


def patched_model(net: UNet) -> onnx.ModelProto:
    """patch (1, c, p, q), place (2,) first row and column, region (4,) and the framed layers -> logits of the window,
    window (4,). Regions and windows: first row, first column, first row and column not any more."""
    graph = Graph(net, mark="patched-", borrow=True)
    window, new, skips = _start(graph), "patch", []
    for level, down in enumerate(net.downs):
        for conv, old in zip(convolutions(down), ("in", "first")):
            wide = window.wider(graph, 1)
            tile = window.pasted(graph, new, f"{old}{level}", wide, ring=1)
            new, window = graph.relu(graph.conv(tile, graph.weight(conv.weight), conv.bias, pad=0)), wide
        if level < net.depth - 1:
            skips.append((new, window))
            wide = window.even(graph)
            tile = window.pasted(graph, new, f"out{level}", wide, ring=0)
            new, window = graph.node("MaxPool", tile, kernel_shape=[2, 2], strides=[2, 2]), wide.halved(graph)
    needed = _needed(graph, net)
    below = f"out{net.depth - 1}"
    for level, up, fuse in zip(reversed(range(net.depth - 1)), net.grows, net.fuses):
        (grow,), (first, second) = convolutions(up), convolutions(fuse)
        low, middle, high = needed.pop()
        wide = window.wider(graph, 1).within(graph, low)
        tile = window.pasted(graph, new, below, wide, ring=1)
        new, window = graph.relu(enlarged(graph, tile, grow, framed=True)), wide.doubled(graph)
        wide = window.wider(graph, 1).within(graph, middle)
        skip, skip_window = skips.pop()
        both = graph.node(
            "Concat",
            window.pasted(graph, new, f"up{level}", wide, ring=1),
            skip_window.pasted(graph, skip, f"out{level}", wide, ring=1),
            axis=1,
        )
        new, window = graph.relu(graph.conv(both, graph.weight(first.weight), first.bias, pad=0)), wide
        wide = window.wider(graph, 1).within(graph, high)
        tile = window.pasted(graph, new, f"fused{level}", wide, ring=1)
        new, window = graph.relu(graph.conv(tile, graph.weight(second.weight), second.bias, pad=0)), wide
        below = f"decoded{level}"
    graph.node("Conv", new, graph.weight(net.head.weight), graph.bias(net.head.bias), out="logits")
    ends = (window.rows.start, window.columns.start, window.rows.stop, window.columns.stop)
    graph.node("Concat", *ends, axis=0, out="window")
    framed = {name: [1, n, f"{name}_h", f"{name}_w"] for name, n in widths(net).items()}
    return graph.model(
        {"patch": [1, net.in_channels, "p", "q"], "place": [2], "region": [4], **framed},
        {"logits": [1, 1, "window_h", "window_w"], "window": [4]},
        whole=("place", "region", "window"),
    )


def widths(net: UNet) -> dict[str, int]:
    """The layers that are handed out, and their channels."""
    channels = [net.first_channels * 2**level for level in range(net.depth)]
    before = [net.in_channels, *channels]
    every = {f"in{k}": before[k] for k in range(net.depth)}
    every |= {f"{name}{k}": n for k, n in enumerate(channels) for name in ("first", "out")}
    every |= {f"{name}{k}": n for k, n in enumerate(channels[:-1]) for name in ("up", "fused")}
    return every | {f"decoded{k}": n for k, n in enumerate(channels[:-1]) if k}


def _start(graph: Graph) -> Window:
    spans = []
    for k, axis in enumerate((ROWS, COLUMNS)):
        start = _entry(graph, "place", k)
        size = graph.node("Shape", "patch", start=axis, end=axis + 1)
        spans.append(Span(start, graph.node("Add", start, size), _length(graph, axis)))
    return Window(*spans)


def _needed(graph: Graph, net: UNet) -> list[tuple[Window, Window, Window]]:
    """For each step of the decoder, finest first, where its outputs are needed: at the low resolution, of the first
    convolution, of the second."""
    ends = ((0, 2, ROWS), (1, 3, COLUMNS))
    region = Window(
        *(Span(_entry(graph, "region", a), _entry(graph, "region", b), _length(graph, k)) for a, b, k in ends)
    )
    windows = []
    for _ in range(net.depth - 1):
        middle = region.wider(graph, 1)
        low = middle.wider(graph, 1).even(graph).halved(graph)
        windows.append((low, middle, region))
        region = low.wider(graph, 1)
    return windows


def _entry(graph: Graph, vector: str, k: int) -> str:
    return graph.node("Slice", vector, graph.whole(k), graph.whole(k + 1))


def _length(graph: Graph, axis: int) -> str:
    return graph.node("Sub", graph.node("Shape", "in0", start=axis, end=axis + 1), graph.whole(2))
