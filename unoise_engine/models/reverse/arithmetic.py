"""Sums, products and choices of several tensors, each repeated along the axes that it lacks."""

from __future__ import annotations

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import FLOAT32, Growing, Rule


def _give(graph: Growing, node: Message, name: str, gradient: str) -> None:
    """Summed over the axes along which `name` was repeated; a lone number beside it repeats nothing."""
    if name not in graph.layers:
        return
    stored = [graph.stored(other) for other in node.input if other != name]
    lone = all(one is not None and one.ndim < 2 and one.size == 1 for one in stored)
    graph.give(name, gradient if lone else graph.summed_as(gradient, name))


def _sum(graph: Growing, node: Message, gradient: str) -> None:
    for name in node.input:
        _give(graph, node, name, gradient)


def _mean(graph: Growing, node: Message, gradient: str) -> None:
    _sum(graph, node, graph.add("Div", [gradient, graph.number(float(len(node.input)))]))


def _difference(graph: Growing, node: Message, gradient: str) -> None:
    a, b = node.input
    _give(graph, node, a, gradient)
    if b in graph.layers:
        _give(graph, node, b, graph.add("Neg", [gradient]))


def _product(graph: Growing, node: Message, gradient: str) -> None:
    a, b = node.input
    for name, other in ((a, b), (b, a)):
        if name in graph.layers:
            _give(graph, node, name, graph.add("Mul", [gradient, other]))


def _quotient(graph: Growing, node: Message, gradient: str) -> None:
    a, b = node.input
    share = graph.add("Div", [gradient, b])
    _give(graph, node, a, share)
    if b in graph.layers:
        _give(graph, node, b, graph.add("Neg", [graph.add("Mul", [share, node.output[0]])]))


def _power(graph: Growing, node: Message, gradient: str) -> None:
    """Of a layer to a constant power."""
    x, power = node.input
    if power in graph.layers:
        raise ValueError("a layer as an exponent cannot be reversed")
    power = graph.add("Cast", [power], to=FLOAT32)
    less = graph.add("Pow", [x, graph.add("Sub", [power, graph.number(1.0)])])
    _give(graph, node, x, graph.add("Mul", [gradient, graph.add("Mul", [power, less])]))


def _extreme(graph: Growing, node: Message, gradient: str) -> None:
    """The largest or smallest of several; where several are it, each gets its part."""
    here = [graph.add("Cast", [graph.add("Equal", [name, node.output[0]])], to=FLOAT32) for name in node.input]
    share = graph.add("Div", [gradient, graph.add("Sum", here)])
    for name, one in zip(node.input, here):
        if name in graph.layers:
            _give(graph, node, name, graph.add("Mul", [share, one]))


def _choice(graph: Growing, node: Message, gradient: str) -> None:
    where, yes, no = node.input
    zero = graph.number(0.0)
    if yes in graph.layers:
        graph.give(yes, graph.summed_as(graph.add("Where", [where, gradient, zero]), yes))
    if no in graph.layers:
        graph.give(no, graph.summed_as(graph.add("Where", [where, zero, gradient]), no))


RULES: dict[str, Rule] = {
    "Add": _sum,
    "Sum": _sum,
    "Mean": _mean,
    "Sub": _difference,
    "Mul": _product,
    "Div": _quotient,
    "Pow": _power,
    "Max": _extreme,
    "Min": _extreme,
    "Where": _choice,
}
