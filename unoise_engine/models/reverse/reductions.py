"""Sums, means and norms over axes, and what divides by them: softmax."""

from __future__ import annotations

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import FLOAT32, Growing, Rule, settings


def _kept(graph: Growing, node: Message, name: str) -> str:
    """With the axes of length 1 that the node may have dropped."""
    axes = node.input[1] if len(node.input) > 1 else ""
    if axes and not settings(node).get("keepdims", 1):
        return graph.add("Unsqueeze", [name, axes])
    return name


def _shared(graph: Growing, node: Message, gradient: str) -> str:
    """The gradient of a sum: the same for every voxel that was summed."""
    return graph.add("Expand", [_kept(graph, node, gradient), graph.shape(node.input[0])])


def _averaged(graph: Growing, node: Message, gradient: str) -> str:
    sizes = [graph.add("Cast", [graph.add("Size", [n])], to=FLOAT32) for n in (node.output[0], node.input[0])]
    return graph.add("Mul", [_shared(graph, node, gradient), graph.add("Div", sizes)])


def _of_largest(graph: Growing, node: Message, gradient: str) -> str:
    """Where several voxels are the largest or smallest, each gets its part."""
    equal = graph.add("Equal", [node.input[0], _kept(graph, node, node.output[0])])
    here = graph.add("Cast", [equal], to=FLOAT32)
    if node.op_type == "GlobalMaxPool":
        count = graph.add("Mul", [graph.add("GlobalAveragePool", [here]), _sides(graph, node)])
    else:
        count = graph.add("ReduceSum", [here, *node.input[1:]], keepdims=1)
    return graph.add("Mul", [here, graph.add("Div", [_kept(graph, node, gradient), count])])


def _sides(graph: Growing, node: Message) -> str:
    """How many voxels a channel of an item has."""
    sizes = [graph.add("Cast", [graph.add("Size", [n])], to=FLOAT32) for n in (node.input[0], node.output[0])]
    return graph.add("Div", sizes)


def _of_length(graph: Growing, node: Message, gradient: str) -> str:
    share = graph.add("Div", [gradient, node.output[0]])
    return graph.add("Mul", [node.input[0], _kept(graph, node, share)])


def _of_squares(graph: Growing, node: Message, gradient: str) -> str:
    return graph.add("Mul", [graph.add("Mul", [node.input[0], graph.number(2.0)]), _kept(graph, node, gradient)])


def _of_sizes(graph: Growing, node: Message, gradient: str) -> str:
    return graph.add("Mul", [graph.add("Sign", [node.input[0]]), _kept(graph, node, gradient)])


def _of_log_sum(graph: Growing, node: Message, gradient: str) -> str:
    part = graph.add("Exp", [graph.add("Sub", [node.input[0], _kept(graph, node, node.output[0])])])
    return graph.add("Mul", [part, _kept(graph, node, gradient)])


REDUCTIONS = {
    "ReduceSum": _shared,
    "ReduceMean": _averaged,
    "GlobalAveragePool": _averaged,
    "GlobalMaxPool": _of_largest,
    "ReduceMax": _of_largest,
    "ReduceMin": _of_largest,
    "ReduceL1": _of_sizes,
    "ReduceL2": _of_length,
    "ReduceSumSquare": _of_squares,
    "ReduceLogSumExp": _of_log_sum,
}


def _reduction(graph: Growing, node: Message, gradient: str) -> None:
    if settings(node).get("noop_with_empty_axes", 0):
        raise ValueError(f"{node.op_type} over axes that may be none cannot be reversed")
    graph.give(node.input[0], REDUCTIONS[node.op_type](graph, node, gradient))


def _softmax(graph: Growing, node: Message, gradient: str) -> None:
    y, axis = node.output[0], graph.whole(settings(node).get("axis", -1))
    total = graph.add("ReduceSum", [graph.add("Mul", [gradient, y]), axis], keepdims=1)
    graph.give(node.input[0], graph.add("Mul", [y, graph.add("Sub", [gradient, total])]))


def _log_softmax(graph: Growing, node: Message, gradient: str) -> None:
    total = graph.add("ReduceSum", [gradient, graph.whole(settings(node).get("axis", -1))], keepdims=1)
    share = graph.add("Mul", [graph.add("Exp", [node.output[0]]), total])
    graph.give(node.input[0], graph.add("Sub", [gradient, share]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, _reduction),
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
}
