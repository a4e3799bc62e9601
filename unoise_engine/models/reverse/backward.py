"""The walk back through a graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from unoise_engine.models.onnx_format import Message, parse, serialise
from unoise_engine.models.reverse.growing import Growing, opset, settings
from unoise_engine.models.reverse.rules import RULES

OLDEST = 18  # version of the operators: from here on ReduceMean takes its axes as an input
# Steps, and what is no number of the kind that changes a little when the input does: no gradient passes.
FLAT = frozenset(
    """
    And ArgMax ArgMin Ceil ConstantOfShape Equal Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonZero Not
    OneHot Or Round Shape Sign Size Xor
    """.split()  # noqa: SIM905
)

FLOATS = (1, 10, 11, 16)  # TensorProto.DataType: float32, float16, float64, bfloat16


def reversed_graph(content: bytes, given: str = "slices", asked: str = "logits") -> bytes:
    """The bytes of an ONNX model -> those of one that takes `given` (n, c, *s) and "target" (n, k, *s), of the shape
    of `asked`, and answers "gradient" (n, c, *s), d sum(target * asked) / d given.

    Raises ValueError, saying why, where that cannot be.
    """
    model = opened(content, asked)
    graph = back_to(model, given, asked)
    model.graph.node.add(op_type="Identity", input=[graph.of(given)], output=["gradient"])
    gradient = copy.deepcopy(port(model, given))
    gradient.name = "gradient"
    return closed(model, given, asked, gradient)


def opened(content: bytes, asked: str) -> Message:
    """The part of a model that leads to `asked`. Raises ValueError where it cannot be reversed for its age."""
    model = parse(content)
    if opset(model) < OLDEST:
        raise ValueError(f"operators older than version {OLDEST} cannot be reversed")
    keep(model, asked)
    return model


def closed(model: Message, given: str, asked: str, answer: Message) -> bytes:
    """The bytes of the model that takes `given` and "target", and answers the port `answer` alone."""
    keep(model, answer.name)
    target, kept = copy.deepcopy(port(model, asked)), copy.deepcopy(port(model, given))
    target.name = "target"
    del model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.input.extend([kept, target])
    model.graph.output.append(answer)
    return serialise(model)


def port(model: Message, name: str) -> Message:
    """Raises ValueError if the model has none of that name."""
    for one in (*model.graph.input, *model.graph.output):
        if one.name == name:
            return one
    raise ValueError(f"has no input or output {name}")


def back_to(model: Message, given: str, asked: str) -> Growing:
    """Writes the way back from `asked`, whose gradient is "target", to the layer `given`. Raises ValueError."""
    way = way_between(model, given, asked)
    if not way:
        raise ValueError(f"no way leads from {given} to {asked}")
    if unknown := sorted({node.op_type for node in way} - set(RULES)):
        raise ValueError(f"{', '.join(unknown)} cannot be reversed")
    graph = Growing(model, {given, *(name for node in way for name in node.output)})
    graph.give(asked, "target")
    for node in reversed(way):
        _reverse(graph, node)
    return graph


def _reverse(graph: Growing, node: Message) -> None:
    if not any(graph.has(name) for name in node.output):
        return
    if node.op_type != "Split" and any(graph.has(name) for name in node.output[1:]):
        raise ValueError(f"the further results of {node.op_type} cannot be reversed")
    graph.given.clear()
    try:
        RULES[node.op_type](graph, node, graph.of(node.output[0]))
    except (LookupError, TypeError, OverflowError):
        raise ValueError(f"{node.op_type} lacks what it needs") from None
    layers = [name for name in node.input if name in graph.layers]
    if forgotten := [name for name in layers if layers.count(name) > graph.given.count(name)]:
        place = max(k for k, name in enumerate(node.input, 1) if name in forgotten)
        raise ValueError(f"{node.op_type} cannot be reversed where its input {place} depends on the image")


def way_between(model: Message, given: str, asked: str) -> list[Message]:
    """The nodes, in order, through which a change of the one reaches the other."""
    reached, nodes = {given}, []
    for node in model.graph.node:
        flat = node.op_type in FLAT or (node.op_type == "Cast" and settings(node).get("to") not in FLOATS)
        if reached.intersection(node.input) and not flat:
            reached.update(node.output)
            nodes.append(node)
    wanted, way = {asked}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            way.append(node)
    return way[::-1]


def keep(model: Message, asked: str) -> None:
    """Drops the nodes and tensors that the output does not need."""
    wanted, kept = {asked}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    _only(model.graph.node, kept[::-1])
    _only(model.graph.initializer, [one for one in model.graph.initializer if one.name in wanted - {"target"}])


def _only(field: Message, some: Sequence[Message]) -> None:
    del field[:]
    field.extend(some)
