"""What moves voxels and changes none."""

from __future__ import annotations

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import Growing, Rule, settings


def _reshaped(graph: Growing, node: Message, gradient: str) -> None:
    graph.give(node.input[0], graph.shaped_as(gradient, node.input[0]))


def _repeated(graph: Growing, node: Message, gradient: str) -> None:
    graph.give(node.input[0], graph.summed_as(gradient, node.input[0]))


def _turned(graph: Growing, node: Message, gradient: str) -> None:
    order = settings(node).get("perm")
    back = order and sorted(range(len(order)), key=order.__getitem__)  # without an order the axes are reversed
    graph.give(node.input[0], graph.add("Transpose", [gradient], perm=back))


def _concat(graph: Growing, node: Message, gradient: str) -> None:
    axis = settings(node)["axis"]
    sizes = graph.joined(*(graph.add("Gather", [graph.shape(name), graph.whole(axis)]) for name in node.input))
    parts = graph.add_many("Split", [gradient, sizes], len(node.input), axis=axis)
    for name, part in zip(node.input, parts):
        graph.give(name, part)


def _split(graph: Growing, node: Message, gradient: str) -> None:
    parts = [graph.of(name) for name in node.output]
    graph.give(node.input[0], graph.add("Concat", parts, axis=settings(node).get("axis", 0)))


def _moved(graph: Growing, node: Message, gradient: str) -> None:
    """Any rearrangement: the node itself tells, of the places of voxels, where each came from."""
    x = node.input[0]
    graph.give(x, graph.scattered(gradient, x, lambda places: graph.again(node, [places, *node.input[1:]])))


def _slice(graph: Growing, node: Message, gradient: str) -> None:
    """Without steps: filled up with 0 on both sides. The bounds may be counted from the end, or lie beyond it."""
    x, starts, ends, axes, steps = [*node.input, "", ""][:5]
    step, known = graph.stored(steps), graph.stored(axes or starts)
    if known is None or (steps and (step is None or (step != 1).any())):
        _moved(graph, node, gradient)
        return
    cut = [int(axis) for axis in (known if axes else range(len(known)))]
    before, behind = [], []
    for k, axis in enumerate(cut):
        length = graph.add("Gather", [graph.shape(x), graph.whole(axis)])
        kept = graph.add("Slice", [graph.counted(0, length), graph.part(starts, k, k + 1), graph.part(ends, k, k + 1)])
        first = graph.part(kept, 0, 1)
        before.append(first)
        behind.append(graph.add("Sub", [graph.add("Sub", [length, first]), graph.shape(kept)]))
    graph.give(x, graph.add("Pad", [gradient, graph.joined(*before, *behind), "", graph.whole(*cut)]))


def _pad(graph: Growing, node: Message, gradient: str) -> None:
    x, pads, _, axes = [*node.input, "", ""][:4]
    if settings(node).get("mode", "constant") == "constant":
        graph.give(x, graph.add("Pad", [gradient, graph.add("Neg", [pads]), "", axes]))
    else:  # voxels of the edge were repeated
        graph.give(x, graph.scattered(gradient, x, lambda places: graph.again(node, [places, pads, "", axes])))


def _depth_to_space(graph: Growing, node: Message, gradient: str) -> None:
    block, mode = settings(node)["blocksize"], settings(node).get("mode", "DCR")
    back = graph.add("SpaceToDepth", [gradient], blocksize=block)
    if mode == "CRD":  # channels first, then the places in a block: the other way about
        apart = graph.joined(graph.whole(0, block**2, -1), graph.part(graph.shape(back), 2))
        swapped = graph.add("Transpose", [graph.add("Reshape", [back, apart])], perm=[0, 2, 1, 3, 4])
        back = graph.add("Reshape", [swapped, graph.shape(back)])
    graph.give(node.input[0], back)


def _space_to_depth(graph: Growing, node: Message, gradient: str) -> None:
    graph.give(node.input[0], graph.add("DepthToSpace", [gradient], blocksize=settings(node)["blocksize"]))


def _triangle(graph: Growing, node: Message, gradient: str) -> None:
    graph.give(node.input[0], graph.again(node, [gradient, *node.input[1:]]))


RULES: dict[str, Rule] = {
    "Reshape": _reshaped,
    "Flatten": _reshaped,
    "Squeeze": _reshaped,
    "Unsqueeze": _reshaped,
    "Expand": _repeated,
    "Tile": _moved,
    "Transpose": _turned,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _moved,
    "GatherElements": _moved,
    "GatherND": _moved,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Trilu": _triangle,
}
