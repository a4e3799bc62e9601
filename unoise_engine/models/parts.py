"""Graphs that borrow their weights: a file without kernels, run with those of another."""

from __future__ import annotations

from unoise_engine.models.content import fields

GRAPH, INITIALIZER = 7, 5  # fields of an ONNX model and of its graph


def with_weights(part: bytes, lender: bytes) -> bytes:
    """The part's ONNX file with all tensors that the lender's graph stores.

    Protobuf messages that follow one another are read as one: their lists are joined. Nothing is parsed or changed, and
    no other package is needed.
    """
    graph = b"".join(
        _field(INITIALIZER, bytes(tensor))
        for field, value in fields(memoryview(lender))
        if field == GRAPH and not isinstance(value, int)
        for number, tensor in fields(value)
        if number == INITIALIZER and not isinstance(tensor, int)
    )
    return part + _field(GRAPH, graph)


def _field(number: int, content: bytes) -> bytes:
    length, size = len(content), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | 2]) + bytes(size) + content
