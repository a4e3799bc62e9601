"""Normalisation: by numbers that were learnt, or by the mean and deviation of the layer itself."""

from __future__ import annotations

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import Growing, Rule, settings

EPSILON = 1e-5


def _batch(graph: Growing, node: Message, gradient: str) -> None:
    """Linear: the same factors, nothing added."""
    get = settings(node).get
    if get("training_mode", 0):
        raise ValueError("BatchNormalization as in training cannot be reversed")
    scale, variance = node.input[1], node.input[4]
    none = graph.add("Sub", [scale, scale])
    inputs = [gradient, scale, none, none, variance]
    graph.give(node.input[0], graph.add("BatchNormalization", inputs, epsilon=get("epsilon", EPSILON)))


def _per_channel(graph: Growing, values: str, layer: str) -> str:
    """(c,) -> (c, 1, ...), as many axes as the layer (n, c, ...) has behind its channels."""
    more = graph.add("Sub", [graph.rank(layer), graph.whole(2)])
    shape = graph.add("Pad", [graph.whole(-1), graph.joined(graph.whole(0), more), graph.scalar(1)])
    return graph.add("Reshape", [values, shape])


def _standardised(graph: Growing, x: str, axes: str, epsilon: float, pushed: str) -> str:
    """Back through (x - mean) / deviation over the axes: the gradient loses its mean and what points along the
    result."""

    def mean(name: str) -> str:
        return graph.add("ReduceMean", [name, axes], keepdims=1)

    centred = graph.add("Sub", [x, mean(x)])
    variance = mean(graph.add("Mul", [centred, centred]))
    deviation = graph.add("Sqrt", [graph.add("Add", [variance, graph.number(epsilon)])])
    unit = graph.add("Div", [centred, deviation])
    along = graph.add("Mul", [unit, mean(graph.add("Mul", [pushed, unit]))])
    left = graph.add("Sub", [graph.add("Sub", [pushed, mean(pushed)]), along])
    return graph.add("Div", [left, deviation])


def _instance(graph: Growing, node: Message, gradient: str) -> None:
    x, scale = node.input[:2]
    axes = graph.counted(2, graph.rank(x))
    pushed = graph.add("Mul", [gradient, _per_channel(graph, scale, x)])
    graph.give(x, _standardised(graph, x, axes, settings(node).get("epsilon", EPSILON), pushed))


def _group(graph: Growing, node: Message, gradient: str) -> None:
    """Before version 21 of the operators the scale had an entry for each group: deprecated, and met nowhere."""
    if graph.version < 21:
        raise ValueError("GroupNormalization older than version 21 cannot be reversed")
    x, scale = node.input[:2]
    lines = graph.whole(0, settings(node)["num_groups"], -1)
    pushed = graph.add("Reshape", [graph.add("Mul", [gradient, _per_channel(graph, scale, x)]), lines])
    epsilon = settings(node).get("epsilon", EPSILON)
    back = _standardised(graph, graph.add("Reshape", [x, lines]), graph.whole(2), epsilon, pushed)
    graph.give(x, graph.shaped_as(back, x))


def _layer(graph: Growing, node: Message, gradient: str) -> None:
    x, scale = node.input[:2]
    axis, epsilon = settings(node).get("axis", -1), settings(node).get("epsilon", EPSILON)
    axes = graph.whole(*range(axis, 0)) if axis < 0 else graph.counted(axis, graph.rank(x))
    graph.give(x, _standardised(graph, x, axes, epsilon, graph.add("Mul", [gradient, scale])))


RULES: dict[str, Rule] = {
    "BatchNormalization": _batch,
    "InstanceNormalization": _instance,
    "GroupNormalization": _group,
    "LayerNormalization": _layer,
}
