"""A convolution is reversed by the transposed one with the same kernel, and the other way about."""

from __future__ import annotations

from typing import Any

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import Growing, Rule, settings
from unoise_engine.models.reverse.windows import Windows


def _sizes(graph: Growing, node: Message) -> list[int]:
    """Of the kernel, where the file holds it as it is."""
    kernel = graph.stored(node.input[1])
    return list(kernel.shape[2:]) if kernel is not None else []


def _convolution(graph: Growing, node: Message, gradient: str) -> None:
    x, kernel, set_to = node.input[0], node.input[1], settings(node)
    group, plain = set_to.get("group", 1), "auto_pad" not in set_to or set_to["auto_pad"] in ("NOTSET", "VALID")
    if plain and max(set_to.get("strides", [1])) == 1:
        chosen: dict[str, Any] = {name: set_to.get(name) for name in ("pads", "dilations", "kernel_shape")}
        graph.give(x, graph.add("ConvTranspose", [gradient, kernel], group=group, **chosen))
        return
    # How far the kernel reached at the far ends is known by the input's size alone.
    if plain:
        rank = len(set_to["strides"])
        near = [*set_to.get("pads", [0] * (2 * rank))[:rank], *[0] * rank]
        chosen = {name: set_to.get(name) for name in ("strides", "dilations", "kernel_shape")}
        back = graph.add("ConvTranspose", [gradient, kernel], group=group, pads=near, **chosen)
        graph.give(x, graph.as_large_as(back, x))
        return
    windows = Windows(node, _sizes(graph, node))
    graph.give(x, windows.spread(graph, gradient, kernel, graph.part(graph.shape(x), 2), group=group))


def _transposed(graph: Growing, node: Message, gradient: str) -> None:
    x, kernel, set_to = node.input[0], node.input[1], settings(node)
    if set_to.get("output_shape"):
        raise ValueError("ConvTranspose to a size that is told cannot be reversed")
    chosen: dict[str, Any] = {name: set_to.get(name) for name in ("strides", "dilations", "group", "kernel_shape")}
    pads = set_to.get("pads")
    if (auto := set_to.get("auto_pad", "NOTSET")).startswith("SAME"):
        windows = Windows(node, _sizes(graph, node))
        more = set_to.get("output_padding", [0] * len(windows.kernel))
        reach = [d * (k - 1) + 1 for k, d in zip(windows.kernel, windows.dilations)]
        total = [max(n + o - step, 0) for n, o, step in zip(reach, more, windows.strides)]
        half = [n // 2 for n in total]
        rest = [n - m for n, m in zip(total, half)]
        pads = [*half, *rest] if auto == "SAME_UPPER" else [*rest, *half]
    back = graph.add("Conv", [gradient, kernel], pads=pads, **chosen)
    graph.give(x, graph.as_large_as(back, x) if any(set_to.get("output_padding", [])) else back)


RULES: dict[str, Rule] = {"Conv": _convolution, "ConvTranspose": _transposed}
