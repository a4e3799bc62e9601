"""The gradient of a score with respect to the input, written into the model's own graph: no other package runs it.

Every node on the way from the input to the scores gets its transpose (its vector-Jacobian product), which for the
layers of a U-Net is an ordinary node too: a convolution is reversed by a transposed convolution with the same kernel,
ReLU by a gate, concatenation by a split, the maximum of a block by handing the gradient to the voxels that are the
maximum, each its part where several are. RULES lists the operators that can be reversed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unoise_engine.models.onnx_format import Message, parse, serialise

FLOAT32, INT64 = 1, 7  # TensorProto.DataType
OLDEST = 18  # version of the operators: from here on ReduceMean takes its axes as an input


def reversed_graph(content: bytes, given: str = "slices", asked: str = "logits") -> bytes:
    """The bytes of an ONNX model -> those of one that takes `given` (k, c, *s) and "target" (k, 1, *s), and answers
    "gradient" (k, c, *s), d sum(target * asked) / d given. Raises ValueError, saying why, where that cannot be."""
    model = parse(content)
    if max((one.version for one in model.opset_import), default=0) < OLDEST:
        raise ValueError(f"operators older than version {OLDEST} cannot be reversed")
    way = _way(model, given, asked)
    if not way:
        raise ValueError(f"no way leads from {given} to {asked}")
    if unknown := sorted({node.op_type for node in way} - set(RULES)):
        raise ValueError(f"{', '.join(unknown)} cannot be reversed")
    graph = _Reverse(model, way, given)
    try:
        graph.run(asked, "target")
        model.graph.node.add(op_type="Identity", input=[graph.of(given)], output=["gradient"])
    except (LookupError, TypeError, OverflowError):
        raise ValueError("a node lacks what its operator needs") from None
    _keep(model, "gradient")
    ports = {port.name: port for port in (*model.graph.input, *model.graph.output)}
    target, gradient = (copy.deepcopy(ports[name]) for name in (asked, given))
    target.name, gradient.name = "target", "gradient"
    kept = ports[given]
    del model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.input.extend([kept, target])
    model.graph.output.append(gradient)
    return serialise(model)


def _way(model: Message, given: str, asked: str) -> list[Message]:
    """The nodes, in order, through which the input reaches the output."""
    reached, nodes = {given}, []
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
            nodes.append(node)
    wanted, way = {asked}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            way.append(node)
    return way[::-1]


def _keep(model: Message, asked: str) -> None:
    """Drops the nodes and tensors that the output does not need."""
    wanted, kept = {asked}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept[::-1])
    model.graph.initializer.extend(tensors)


class _Reverse:
    """A graph that grows by the reverse of its way. Tensors are called by their names."""

    def __init__(self, model: Message, way: Sequence[Message], given: str):
        self.graph, self.way = model.graph, way
        self.on_way = {given, *(name for node in way for name in node.output)}
        self._gradients: dict[str, str] = {}
        self._count = 0

    def run(self, asked: str, seed: str) -> None:
        self._gradients[asked] = seed
        for node in reversed(self.way):
            RULES[node.op_type](self, node, self.of(node.output[0]))

    def of(self, name: str) -> str:
        """The gradient of a tensor, all that reads it taken together."""
        return self._gradients[name]

    def give(self, name: str, gradient: str) -> None:
        """Adds to the gradient of a tensor; kernels and constants need none."""
        if name in self.on_way:
            before = self._gradients.get(name)
            self._gradients[name] = self.add("Add", [before, gradient]) if before else gradient

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node of one output; its name."""
        return self.add_many(op, inputs, 1, **attributes)[0]

    def add_many(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        self._count += 1
        names = [f"reverse.{self._count}.{k}" for k in range(count)]
        node = self.graph.node.add(op_type=op, input=inputs, output=names)
        for name, value in attributes.items():
            if value is None:
                continue
            attribute = node.attribute.add(name=name)
            if isinstance(value, str):
                attribute.type, attribute.s = 3, value.encode()
            elif isinstance(value, int):
                attribute.type, attribute.i = 2, value
            else:
                attribute.type = 7
                attribute.ints.extend(value)
        return names

    def constant(self, value: Any, kind: int = FLOAT32) -> str:
        self._count += 1
        values = np.asarray(value, np.float32 if kind == FLOAT32 else np.int64)
        name = f"reverse.{self._count}.c"
        self.graph.initializer.add(name=name, data_type=kind, dims=values.shape, raw_data=values.tobytes())
        return name

    def value_of(self, name: str) -> np.ndarray:
        """Of a stored tensor of floats. Raises ValueError if it is none."""
        for tensor in self.graph.initializer:
            if tensor.name == name and tensor.data_type == FLOAT32:
                stored = np.frombuffer(tensor.raw_data, np.float32) if tensor.raw_data else tensor.float_data
                return np.asarray(stored, np.float32).reshape(list(tensor.dims))
        raise ValueError(f"{name} is no stored number")


def _settings(node: Message) -> dict[str, Any]:
    """The attributes of a node that are numbers or words."""
    kinds: dict[int, Callable[[Message], Any]] = {
        1: lambda a: a.f,
        2: lambda a: a.i,
        3: lambda a: a.s.decode(),
        7: lambda a: list(a.ints),
    }
    return {a.name: kinds[a.type](a) for a in node.attribute if a.type in kinds}


def _convolution(graph: _Reverse, node: Message, gradient: str, op: str) -> None:
    set_to = _settings(node)
    if set_to.get("auto_pad", "NOTSET") != "NOTSET" or any(set_to.get("output_padding", [])):
        raise ValueError("automatic padding cannot be reversed")
    chosen: dict[str, Any] = {
        name: set_to.get(name) for name in ("strides", "pads", "dilations", "group", "kernel_shape")
    }
    strided = op == "ConvTranspose" and any(step > 1 for step in set_to.get("strides", []))
    if strided and chosen["pads"]:  # how far the kernel reached at the far ends is known by the input's size alone
        rank = len(chosen["pads"]) // 2
        chosen["pads"] = [*chosen["pads"][:rank], *[0] * rank]
    back = graph.add(op, [gradient, node.input[1]], **chosen)
    graph.give(node.input[0], _as_large_as(graph, back, node.input[0]) if strided else back)


def _as_large_as(graph: _Reverse, name: str, other: str) -> str:
    """Cut off, or filled up with 0, at the far ends."""
    more = graph.add("Sub", [graph.add("Shape", [other]), graph.add("Shape", [name])])
    none = graph.add("Mul", [more, graph.constant([0], INT64)])
    return graph.add("Pad", [name, graph.add("Concat", [none, more], axis=0)])


def _gate(graph: _Reverse, node: Message, gradient: str, slope: float) -> None:
    opened = graph.add("Greater", [node.input[0], graph.constant(0.0)])
    closed = graph.add("Mul", [gradient, graph.constant(slope)])
    graph.give(node.input[0], graph.add("Where", [opened, gradient, closed]))


def _concat(graph: _Reverse, node: Message, gradient: str) -> None:
    axis = graph.constant([_settings(node)["axis"]], INT64)
    sizes = [graph.add("Gather", [graph.add("Shape", [name]), axis]) for name in node.input]
    split = graph.add("Concat", sizes, axis=0)
    parts = graph.add_many("Split", [gradient, split], len(node.input), axis=_settings(node)["axis"])
    for name, part in zip(node.input, parts):
        graph.give(name, part)


def _max_pool(graph: _Reverse, node: Message, gradient: str) -> None:
    """Blocks side by side; where several voxels are the maximum, each gets its part."""
    set_to = _settings(node)
    blocks = set_to["kernel_shape"]
    if set_to.get("strides") != blocks or any(set_to.get("pads", [])) or len(node.output) > 1:
        raise ValueError("a maximum of blocks that overlap cannot be reversed")
    scales = graph.constant([1, 1, *blocks])
    largest = _repeated(graph, node.output[0], scales)
    here = graph.add("Cast", [graph.add("Equal", [node.input[0], largest])], to=FLOAT32)
    share = graph.add("AveragePool", [here], kernel_shape=blocks, strides=blocks)
    each = graph.add("Div", [gradient, graph.add("Mul", [share, graph.constant(float(np.prod(blocks)))])])
    graph.give(node.input[0], graph.add("Mul", [here, _repeated(graph, each, scales)]))


def _repeated(graph: _Reverse, name: str, scales: str) -> str:
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", [name, "", scales], **nearest)


def _resize(graph: _Reverse, node: Message, gradient: str) -> None:
    """Voxels that were repeated: their gradients are summed."""
    set_to = _settings(node)
    scales = graph.value_of(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(0)
    blocks = [int(scale) for scale in scales[2:]]
    whole = len(scales) > 2 and np.array_equal(scales, [1, 1, *blocks]) and min(blocks) >= 1
    if not whole or set_to.get("mode", "nearest") != "nearest":
        raise ValueError("only voxels repeated a whole number of times can be reversed")
    mean = graph.add("AveragePool", [gradient], kernel_shape=blocks, strides=blocks)
    graph.give(node.input[0], graph.add("Mul", [mean, graph.constant(float(np.prod(blocks)))]))


def _depth_to_space(graph: _Reverse, node: Message, gradient: str) -> None:
    set_to = _settings(node)
    if set_to.get("mode", "DCR") != "DCR":
        raise ValueError("DepthToSpace in the order CRD cannot be reversed")
    graph.give(node.input[0], graph.add("SpaceToDepth", [gradient], blocksize=set_to["blocksize"]))


def _instance_norm(graph: _Reverse, node: Message, gradient: str) -> None:
    """x -> (x - mean) / deviation over space; the gradient loses its mean and what points along the result."""
    x, scale = node.input[0], node.input[1]
    epsilon = graph.constant(_settings(node).get("epsilon", 1e-5))
    rank = graph.add("Size", [graph.add("Shape", [x])])
    axes = graph.add("Range", [graph.constant(2, INT64), rank, graph.constant(1, INT64)])

    def mean(name: str) -> str:
        return graph.add("ReduceMean", [name, axes], keepdims=1)

    ones = graph.add("ConstantOfShape", [graph.add("Shape", [axes])])  # zeros of float, as many as axes of space
    shape = graph.add("Concat", [graph.constant([1, -1], INT64), _integers(graph, ones)], axis=0)
    centred = graph.add("Sub", [x, mean(x)])
    variance = mean(graph.add("Mul", [centred, centred]))
    deviation = graph.add("Sqrt", [graph.add("Add", [variance, epsilon])])
    unit = graph.add("Div", [centred, deviation])
    pushed = graph.add("Mul", [gradient, graph.add("Reshape", [scale, shape])])
    along = graph.add("Mul", [unit, mean(graph.add("Mul", [pushed, unit]))])
    left = graph.add("Sub", [graph.add("Sub", [pushed, mean(pushed)]), along])
    graph.give(x, graph.add("Div", [left, deviation]))


def _integers(graph: _Reverse, zeros: str) -> str:
    """Zeros of float -> ones of int64."""
    return graph.add("Add", [graph.add("Cast", [zeros], to=INT64), graph.constant([1], INT64)])


def _both(graph: _Reverse, node: Message, gradient: str) -> None:
    for name in node.input:
        graph.give(name, gradient)


def _difference(graph: _Reverse, node: Message, gradient: str) -> None:
    graph.give(node.input[0], gradient)
    if node.input[1] in graph.on_way:
        graph.give(node.input[1], graph.add("Neg", [gradient]))


def _scaled(graph: _Reverse, node: Message, gradient: str) -> None:
    if sum(name in graph.on_way for name in node.input) > 1:
        raise ValueError("a product of two layers cannot be reversed")
    name, factor = sorted(node.input, key=lambda one: one not in graph.on_way)
    graph.give(name, graph.add("Mul", [gradient, factor]))


Rule = Callable[[_Reverse, Message, str], None]
RULES: dict[str, Rule] = {
    "Conv": lambda graph, node, gradient: _convolution(graph, node, gradient, "ConvTranspose"),
    "ConvTranspose": lambda graph, node, gradient: _convolution(graph, node, gradient, "Conv"),
    "Relu": lambda graph, node, gradient: _gate(graph, node, gradient, 0.0),
    "LeakyRelu": lambda graph, node, gradient: _gate(graph, node, gradient, _settings(node).get("alpha", 0.01)),
    "Concat": _concat,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "InstanceNormalization": _instance_norm,
    "Add": _both,
    "Sub": _difference,
    "Mul": _scaled,
    "Identity": _both,
}
