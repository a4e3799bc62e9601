"""An ONNX graph written node by node, its weights stored in half precision or as bytes, and used in single."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from unoise_engine.training.fold import step_of

OPSET = 18
IR_VERSION = 10
OFF = 1e-4  # of a step: rounding of float32; no trained kernel is that near to whole steps by chance
Shape = Sequence[Any]  # whole numbers, and letters for free axes
STEP = ".step"  # after a kernel's name: what one of its whole numbers is worth, (out, 1, 1, 1)


def whole_steps(kernel: Tensor) -> tuple[Tensor | None, Tensor]:
    """A kernel's whole numbers and its steps, as `fold.in_steps` made them; None for a kernel that is in no steps."""
    step = step_of(kernel.detach())
    whole = (found := kernel.detach() / step).round()
    return (whole if (found - whole).abs().max() < OFF else None), step


class Graph:
    """Names in, names out: every method adds something and returns the name of its value.

    A weight is stored once, as int8 and steps if it is in whole steps (`fold.rounded`), else as float16, and made
    float32 where it is used; a runtime does that, like every node that depends on weights alone, once when it opens the
    file, so that all computing is float32.

    Weights and biases are named as in the net. With `borrow` they are named and not stored: the graph is a part, to run
    with the weights of another file. `mark` keeps the names of a part's own constants apart from the other's.
    """

    def __init__(self, net: nn.Module, mark: str = "", borrow: bool = False) -> None:
        self.mark, self.borrow = mark, borrow
        self._names = {id(values): name for name, values in net.named_parameters()}
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self._weights: dict[int, str] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def node(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def weight(self, values: Tensor) -> str:
        """The same tensor twice is stored once. What float16 cannot hold exactly must have been rounded before."""
        if id(values) not in self._weights:
            whole, step = whole_steps(values)
            stored = self._parameter(values, np.float16 if whole is None else np.int8, whole)
            used = self.node("Cast", stored, to=TensorProto.FLOAT)
            if whole is not None:
                used = self.node("Mul", used, self._parameter(values, np.float32, step, STEP))
            self._weights[id(values)] = used
        return self._weights[id(values)]

    def bias(self, values: Tensor | None) -> str:
        assert values is not None  # noqa: S101 - for the type checker: every convolution here has one
        if id(values) not in self._weights:
            self._weights[id(values)] = self._parameter(values, np.float32)
        return self._weights[id(values)]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        array = np.asarray(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._store(array, f"{self.mark}c{len(self._constants)}")
        return self._constants[key]

    def whole(self, *values: int) -> str:
        """A constant vector of whole numbers: axes, sizes, positions."""
        return self.constant(values, np.int64)

    def default(self, name: str, values: np.ndarray) -> None:
        """What an input is when nobody gives it."""
        self.stored.append(numpy_helper.from_array(values, name))

    def conv(self, x: str, kernel: str, bias: Tensor | None = None, pad: int | Sequence[int] = 1) -> str:
        """`pad`: zeros around, or (top, left, bottom, right)."""
        pads = [pad] * 4 if isinstance(pad, int) else list(pad)
        offset = [] if bias is None else [self.bias(bias)]
        return self.node("Conv", x, kernel, *offset, pads=pads)

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def model(
        self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape], whole: Sequence[str] = ()
    ) -> onnx.ModelProto:
        """The finished model, checked unless it borrows. Names and shapes of its ports; a word is a free axis."""

        def ports(shapes: Mapping[str, Shape]) -> list[onnx.ValueInfoProto]:
            kinds = {name: TensorProto.INT64 if name in whole else TensorProto.FLOAT for name in shapes}
            return [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]

        graph = helper.make_graph(self.nodes, "unet", ports(inputs), ports(outputs), self.stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        if not self.borrow:
            onnx.checker.check_model(model, full_check=True)
        return model

    def _parameter(self, values: Tensor, dtype: Any, stored: Tensor | None = None, what: str = "") -> str:
        name = self._names[id(values)] + what
        stored = values if stored is None else stored
        return name if self.borrow else self._store(stored.detach().numpy().astype(dtype), name)

    def _store(self, values: np.ndarray, name: str) -> str:
        self.stored.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name
