"""A model whose weights are destroyed and whose shape is kept, for the check that a map depends on what was learned."""

from __future__ import annotations

import numpy as np

from unoise_engine.models.content import fields, tensors

DIMS, DATA_TYPE, FLOAT_DATA, RAW_DATA = 1, 2, 4, 9  # fields of an ONNX tensor
KINDS = {1: "<f4", 10: "<f2"}  # float, half


def shuffle_kernels(content: bytes, seed: int) -> bytes:
    """An ONNX file with the values of each kernel (a float tensor of four dimensions) in random order.

    Their spread stays, their structure goes; biases and constants stay. The bytes are changed in place, so that no
    other package is needed to write them. Raises ValueError if there is no kernel.
    """
    changed = bytearray(content)
    random = np.random.default_rng([seed, 0x5EED])
    found = 0
    for tensor in tensors(memoryview(changed), "Model", 0):
        rank, kind, raw = 0, 0, None
        for field, value in fields(tensor):
            if field == DIMS:
                rank += 1 if isinstance(value, int) else sum(byte < 0x80 for byte in value)  # or packed varints
            elif field == DATA_TYPE:
                kind = int(value) if isinstance(value, int) else 0
            elif field in (FLOAT_DATA, RAW_DATA) and not isinstance(value, int):
                raw = value
        if rank != 4 or kind not in KINDS or raw is None:
            continue
        values = np.frombuffer(raw, KINDS[kind])
        if len(values) > 1:
            values[:] = random.permutation(values)
            found += 1
    if not found:
        raise ValueError("holds no kernel")
    return bytes(changed)
