"""An ONNX graph written node by node, its weights stored in half precision and used in single."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET = 18
IR_VERSION = 10
Shape = Sequence[Any]  # whole numbers, and letters for free axes


class Graph:
    """Names in, names out: every method adds something and returns the name of its value.

    A weight is stored once as float16 and cast where it is used; a runtime does that cast, like every node that depends
    on weights alone, once when it opens the file, so that all computing is float32.
    """

    def __init__(self) -> None:
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
            half = values.detach().numpy().astype(np.float16)
            self._weights[id(values)] = self.node("Cast", self._store(half), to=TensorProto.FLOAT)
        return self._weights[id(values)]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        array = np.asarray(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._store(array)
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
        offset = [] if bias is None else [self.constant(bias.detach().numpy())]
        return self.node("Conv", x, kernel, *offset, pads=pads)

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def model(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> onnx.ModelProto:
        """The finished model, checked. Names and shapes of its ports; a letter is a free axis."""

        def ports(shapes: Mapping[str, Shape]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

        graph = helper.make_graph(self.nodes, "unet", ports(inputs), ports(outputs), self.stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _store(self, values: np.ndarray) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name
