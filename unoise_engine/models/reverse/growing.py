"""A graph that grows by the reverse of itself: what the rules write with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unoise_engine.models.onnx_format import Message

FLOAT32, INT64 = 1, 7  # TensorProto.DataType
KINDS: dict[int, np.dtype[Any]] = {FLOAT32: np.dtype("<f4"), INT64: np.dtype("<i8")}
LISTS = {FLOAT32: "float_data", INT64: "int64_data"}


class Growing:
    """Tensors are called by their names. `layers` are those that depend on the input: they alone get gradients."""

    def __init__(self, model: Message, layers: set[str]):
        self.graph, self.layers = model.graph, layers
        self.version = opset(model)
        self.given: list[str] = []  # layers that the present rule gave to
        self._gradients: dict[str, str] = {}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                name = node.output[0]
                self._stored.update((name, a.t) for a in node.attribute if a.name == "value")
        self._made_by = {name: node for node in model.graph.node for name in node.output}
        ports = (*model.graph.input, *model.graph.output, *model.graph.value_info)
        self._ranks = {p.name: len(p.type.tensor_type.shape.dim) for p in ports if p.type.tensor_type.HasField("shape")}
        self._count = 0

    def of(self, name: str) -> str:
        """The gradient of a tensor, all that reads it taken together; zeros where nothing does."""
        if name not in self._gradients:
            self._gradients[name] = self.zeros(self.shape(name))
        return self._gradients[name]

    def has(self, name: str) -> bool:
        return name in self._gradients

    def give(self, name: str, gradient: str) -> None:
        """Adds to the gradient of a tensor; kernels and constants need none."""
        if name in self.layers:
            before = self._gradients.get(name)
            self._gradients[name] = self.add("Add", [before, gradient]) if before else gradient
            self.given.append(name)

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node of one output; its name."""
        return self.add_many(op, inputs, 1, **attributes)[0]

    def add_many(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        names = [self.new_name() for _ in range(count)]
        node = self.graph.node.add(op_type=op, input=inputs, output=names)
        for name, value in attributes.items():
            if value is None:
                continue
            attribute = node.attribute.add(name=name)
            if isinstance(value, str):
                attribute.type, attribute.s = 3, value.encode()
            elif isinstance(value, int):
                attribute.type, attribute.i = 2, value
            elif isinstance(value, float):
                attribute.type, attribute.f = 1, value
            else:
                attribute.type = 7
                attribute.ints.extend(value)
        return names

    def again(self, node: Message, inputs: Sequence[str]) -> str:
        """The same operator with the same attributes on other tensors."""
        made = self.graph.node.add(op_type=node.op_type, input=inputs, output=[self.new_name()])
        made.attribute.MergeFrom(node.attribute)
        return made.output[0]

    def new_name(self) -> str:
        self._count += 1
        return f"reverse.{self._count}"

    def number(self, value: Any) -> str:
        return self._constant(value, FLOAT32)

    def whole(self, *values: int) -> str:
        """A list of whole numbers."""
        return self._constant(values, INT64)

    def scalar(self, value: int) -> str:
        return self._constant(value, INT64)

    def _constant(self, value: Any, kind: int) -> str:
        values = np.asarray(value, KINDS[kind])
        key = (kind, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = self.new_name()
            self.graph.initializer.add(
                name=self._constants[key], data_type=kind, dims=values.shape, raw_data=values.tobytes()
            )
        return self._constants[key]

    def stored(self, name: str) -> np.ndarray | None:
        """The numbers of a tensor that the file holds (float32 or int64), or None."""
        tensor = self._stored.get(name)
        if tensor is None or tensor.data_type not in KINDS:
            return None
        kind = KINDS[tensor.data_type]
        raw = np.frombuffer(tensor.raw_data, kind) if tensor.raw_data else getattr(tensor, LISTS[tensor.data_type])
        return np.asarray(raw, kind).reshape(list(tensor.dims))

    def rank_of(self, name: str) -> int:
        """How many axes a layer has. Raises ValueError if the file does not say."""
        for _ in range(len(self._made_by)):
            if name in self._ranks:
                return self._ranks[name]
            node = self._made_by.get(name)
            if node is None or node.op_type not in KEEPS_RANK:
                break
            name = next((one for one in node.input if one in self.layers), node.input[0])
        raise ValueError("a layer's number of axes is not told")

    def shape(self, name: str) -> str:
        return self.add("Shape", [name])

    def rank(self, name: str) -> str:
        """A list of one."""
        return self.shape(self.shape(name))

    def zeros(self, shape: str) -> str:
        return self.add("ConstantOfShape", [shape])

    def part(self, values: str, start: int, stop: int | None = None) -> str:
        """values[start:stop] of a list."""
        return self.add("Slice", [values, self.whole(start), self.whole(2**31 if stop is None else stop)])

    def joined(self, *lists: str) -> str:
        return self.add("Concat", lists, axis=0)

    def flat(self, name: str) -> str:
        return self.add("Reshape", [name, self.whole(-1)])

    def counted(self, start: int, stop: str) -> str:
        """start, start + 1 ... up to, not including, `stop`, a list of one."""
        end = self.add("Squeeze", [stop])
        return self.add("Range", [self.scalar(start), end, self.scalar(1)])

    def shaped_as(self, name: str, other: str) -> str:
        """The same values in the other's shape."""
        return self.add("Reshape", [name, self.shape(other)])

    def summed_as(self, gradient: str, name: str) -> str:
        """Summed over the axes along which `name` was repeated to meet its partner."""
        shape, one = self.shape(name), self.scalar(1)
        missing = self.add("Sub", [self.rank(gradient), self.shape(shape)])
        aligned = self.add("Pad", [shape, self.joined(missing, self.whole(0)), one])
        axes = self.flat(self.add("NonZero", [self.add("Equal", [aligned, one])]))
        total = self.add("ReduceSum", [gradient, axes], keepdims=1, noop_with_empty_axes=1)
        return self.add("Reshape", [total, shape])

    def as_large_as(self, name: str, other: str) -> str:
        """Cut off, or filled up with 0, at the far ends."""
        more = self.add("Sub", [self.shape(other), self.shape(name)])
        return self.add("Pad", [name, self.joined(self.add("Mul", [more, self.whole(0)]), more)])

    def placed(self, name: str, begin: str, size: str, rank: int) -> str:
        """What begins `begin` voxels before an item of `size` (lists, an entry an axis of space): that item."""
        more = self.add("Sub", [size, self.part(self.shape(name), 2)])
        pads = self.joined(self.add("Neg", [begin]), self.add("Add", [more, begin]))
        return self.add("Pad", [name, pads, "", self.whole(*range(2, 2 + rank))])

    def scattered(self, gradient: str, name: str, moved: Callable[[str], str]) -> str:
        """Of a rearrangement: `moved` does to the places of `name`'s voxels what was done to the voxels themselves."""
        count = self.flat(self.add("Size", [name]))
        places = self.flat(moved(self.shaped_as(self.counted(0, count), name)))
        inputs = [self.zeros(count), places, self.flat(gradient)]
        return self.shaped_as(self.add("ScatterElements", inputs, axis=0, reduction="add"), name)


# Operators whose result has as many axes as the first layer that they are given.
KEEPS_RANK = frozenset(
    """
    Add AveragePool BatchNormalization Cast Celu Clip Concat Conv ConvTranspose DepthToSpace Div Dropout Elu
    GlobalAveragePool GlobalMaxPool GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu
    MaxPool Mish Mul Neg PRelu Pad Relu Resize Selu Sigmoid Slice Softmax Softplus SpaceToDepth Sub Tanh
    """.split()  # noqa: SIM905
)


def opset(model: Message) -> int:
    """The version of the standard operators."""
    return max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)


def settings(node: Message) -> dict[str, Any]:
    """The attributes of a node that are numbers or words."""
    kinds: dict[int, Callable[[Message], Any]] = {
        1: lambda a: a.f,
        2: lambda a: a.i,
        3: lambda a: a.s.decode(),
        7: lambda a: list(a.ints),
    }
    return {a.name: kinds[a.type](a) for a in node.attribute if a.type in kinds}


Rule = Callable[[Growing, Message, str], None]  # what it is given last is the gradient of the node's first output
