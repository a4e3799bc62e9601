"""A model whose weights are destroyed and whose shape is kept, for the check that a map depends on what was learned."""

from __future__ import annotations

import numpy as np

from unoise_engine.models.onnx_format import Message, parse, serialise, tensors

KINDS: dict[int, np.dtype] = {1: np.dtype("<f4"), 3: np.dtype("i1"), 10: np.dtype("<f2")}  # TensorProto.DataType
AXES = (4, 5)  # of a kernel in 2-D and in 3-D


def shuffle_kernels(content: bytes, seed: int, matrices: bool = False) -> bytes:
    """An ONNX file with the values of each kernel (a float tensor of four or five dimensions) in random
    order; with `matrices` also of what inputs are multiplied by, as transformers learn them.

    Their spread stays, their structure goes; biases and constants stay. Raises ValueError if there is no kernel.
    """
    model, random = parse(content), np.random.default_rng([seed, 0x5EED])
    learnt = _factors(model) if matrices else frozenset()
    found = 0
    for tensor in tensors(model):
        if (len(tensor.dims) in AXES or tensor.name in learnt) and tensor.data_type in KINDS:
            values = tensor.float_data or np.frombuffer(tensor.raw_data, KINDS[tensor.data_type])
            if len(values) > 1:
                mixed = random.permutation(values)
                if tensor.float_data:
                    tensor.float_data[:] = mixed
                else:
                    tensor.raw_data = mixed.tobytes()
                found += 1
    if not found:
        raise ValueError("holds no kernel")
    return serialise(model)


def _factors(model: Message) -> frozenset[str]:
    """Names of what MatMul and Gemm are given."""
    return frozenset(name for node in model.graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input[:2])
