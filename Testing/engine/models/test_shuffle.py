"""Kernels as files may store them: as bytes or as numbers, in half precision, or of one value."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unoise_engine.models.shuffle import shuffle_kernels

VALUES = np.arange(12.0)
TYPES = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.INT8: np.int8}


def model_with(*tensors: Any) -> Any:
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [], [], list(tensors))
    return helper.make_model(graph).SerializeToString()


def kernel(kind: Any = TensorProto.FLOAT, raw: Any = False, shape: Any = (3, 1, 2, 2)) -> Any:
    values = VALUES[: np.prod(shape)].astype(TYPES[kind])
    return helper.make_tensor("k", kind, shape, values.tobytes() if raw else values, raw=raw)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (TensorProto.FLOAT, False),
        *((kind, True) for kind in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8)),
    ],
)
@pytest.mark.parametrize("shape", [(3, 1, 2, 2), (1, 3, 1, 2, 2)], ids=["2-D", "3-D"])
def test_in_another_order(shape: Any, kind: Any, raw: Any) -> None:
    content = model_with(kernel(kind, raw, shape), numpy_helper.from_array(np.arange(6, dtype=np.float32), "bias"))
    after = onnx.load_from_string(shuffle_kernels(content, 3)).graph.initializer
    assert not (after[0].raw_data and after[0].float_data)  # one way to store them, as before
    mixed = numpy_helper.to_array(after[0]).ravel()
    assert np.array_equal(np.sort(mixed), VALUES) and not np.array_equal(mixed, VALUES)
    assert np.array_equal(numpy_helper.to_array(after[1]), np.arange(6))
    assert shuffle_kernels(content, 3) != shuffle_kernels(content, 4)


@pytest.mark.parametrize(
    "tensor",
    [
        kernel(shape=(1, 1, 1, 1)),
        kernel(shape=(3, 2, 2)),
        helper.make_tensor("k", TensorProto.INT64, (3, 1, 2, 2), range(12)),
    ],
)
def test_what_is_no_kernel(tensor: Any) -> None:
    with pytest.raises(ValueError, match="no kernel"):
        shuffle_kernels(model_with(tensor), 0)


def test_two_values_are_enough() -> None:
    shuffle_kernels(model_with(kernel(shape=(2, 1, 1, 1))), 0)
