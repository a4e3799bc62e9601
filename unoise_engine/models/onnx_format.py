"""The part of the ONNX format that a bundle may use: a closed list of fields and of operators.

The classes are protobuf's own, made from the table below; the numbers are those of onnx.proto. What the table does not
name - data outside the file, graphs within nodes, functions, sparse tensors - is unknown to them, and `parse` refuses
whatever is unknown, at any depth. A file must also be written as protobuf itself writes it, byte for byte: so no other
reader can find in it what was not seen here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

Message = Any  # the classes are made at run time
TEXT, BYTES, INT64, INT32, UINT64, FLOAT, DOUBLE = 9, 12, 3, 5, 4, 2, 1  # FieldDescriptorProto.Type
MANY, PACKED = "many", "packed"

# {message: {field: (number, type or message, once if nothing is said)}}
SCHEMA: dict[str, dict[str, tuple[Any, ...]]] = {
    "Model": {
        "ir_version": (1, INT64), "producer_name": (2, TEXT), "producer_version": (3, TEXT), "domain": (4, TEXT),
        "model_version": (5, INT64), "doc_string": (6, TEXT), "graph": (7, "Graph"),
        "opset_import": (8, "Opset", MANY), "metadata_props": (14, "Pair", MANY),
    },
    "Graph": {
        "node": (1, "Node", MANY), "name": (2, TEXT), "initializer": (5, "Tensor", MANY), "doc_string": (10, TEXT),
        "input": (11, "Port", MANY), "output": (12, "Port", MANY), "value_info": (13, "Port", MANY),
        "metadata_props": (16, "Pair", MANY),
    },
    "Node": {
        "input": (1, TEXT, MANY), "output": (2, TEXT, MANY), "name": (3, TEXT), "op_type": (4, TEXT),
        "attribute": (5, "Attribute", MANY), "doc_string": (6, TEXT), "domain": (7, TEXT),
        "metadata_props": (9, "Pair", MANY),
    },
    "Attribute": {
        "name": (1, TEXT), "f": (2, FLOAT), "i": (3, INT64), "s": (4, BYTES), "t": (5, "Tensor"),
        "floats": (7, FLOAT, MANY), "ints": (8, INT64, MANY), "strings": (9, BYTES, MANY), "doc_string": (13, TEXT),
        "type": (20, INT32),
    },
    "Tensor": {
        "dims": (1, INT64, MANY), "data_type": (2, INT32), "float_data": (4, FLOAT, PACKED),
        "int32_data": (5, INT32, PACKED), "int64_data": (7, INT64, PACKED), "name": (8, TEXT), "raw_data": (9, BYTES),
        "double_data": (10, DOUBLE, PACKED), "uint64_data": (11, UINT64, PACKED), "doc_string": (12, TEXT),
        "data_location": (14, INT32), "metadata_props": (16, "Pair", MANY),
    },
    "Port": {"name": (1, TEXT), "type": (2, "Type"), "doc_string": (3, TEXT), "metadata_props": (4, "Pair", MANY)},
    "Type": {"tensor_type": (1, "TensorType"), "denotation": (6, TEXT)},
    "TensorType": {"elem_type": (1, INT32), "shape": (2, "Shape")},
    "Shape": {"dim": (1, "Dimension", MANY)},
    "Dimension": {"dim_value": (1, INT64), "dim_param": (2, TEXT), "denotation": (3, TEXT)},
    "Opset": {"domain": (1, TEXT), "version": (2, INT64)},
    "Pair": {"key": (1, TEXT), "value": (2, TEXT)},
}  # fmt: skip

# What a refusal calls those unknown fields that are known to others.
REFUSED = {
    ("Model", 20): "training", ("Model", 25): "functions", ("Model", 26): "devices", ("Graph", 15): "sparse weights",
    ("Attribute", 6): "a graph within a node", ("Attribute", 11): "graphs within a node",
    ("Attribute", 22): "sparse weights", ("Attribute", 23): "sparse weights", ("Tensor", 6): "text",
    ("Tensor", 13): "external data",
}  # fmt: skip

NUMBERS_AND_TENSORS = frozenset((1, 2, 3, 4, 6, 7, 8))  # AttributeProto.AttributeType
# By TensorProto.DataType: bytes of an element, and the list it is stored in if not raw; int32_data if none is named.
NUMBERS = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
LISTS = {1: "float_data", 7: "int64_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}

# Arithmetic on tensors, and nothing that loops, branches, draws random numbers or handles text.
OPERATORS = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant
    ConstantOfShape Conv ConvTranspose CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand
    Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    GridSample GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LRN
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool Mean
    MeanVarianceNormalization Min Mish Mod Mul Neg Not NonZero OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()  # noqa: SIM905 - a line a word would fill two pages
)


def parse(content: bytes) -> Message:
    """The bytes of an ONNX file as a Model. Raises ValueError, saying what, if it holds anything not understood."""
    from google.protobuf.message import DecodeError

    model = classes()["Model"]()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise ValueError(
            "no ONNX file: damaged, or hiding something (such as external data) from some readers"
        ) from None
    if unknown := next(_unknown(model), ""):
        raise ValueError(f"holds {unknown}")
    if not content or serialise(model) != content:
        raise ValueError("not written as protobuf writes it; load and save it once with the package onnx")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise ValueError(f"uses the operator {node.op_type[:60]!r} of {node.domain[:60]!r}")
        if not NUMBERS_AND_TENSORS.issuperset(attribute.type for attribute in node.attribute):
            raise ValueError(f"a {node.op_type} has an attribute of an unknown type")
    for tensor in tensors(model):
        _check_tensor(tensor)
    return model


def serialise(model: Message) -> bytes:
    """The Model's bytes, the same each time."""
    return model.SerializeToString(deterministic=True)


def tensors(model: Message) -> Iterator[Message]:
    """Every tensor that the Model stores."""
    for node in model.graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))
    yield from model.graph.initializer


def _check_tensor(tensor: Message) -> None:
    """Numbers inside the file, as many as its dimensions say."""
    size = NUMBERS.get(tensor.data_type)
    if size is None:
        raise ValueError(f"holds a tensor of an unknown type ({tensor.data_type})")
    if tensor.data_location:
        raise ValueError("holds external data")
    lists = {name: len(getattr(tensor, name)) for name in ("int32_data", *LISTS.values())}
    listed = lists.pop(LISTS.get(tensor.data_type, "int32_data"))
    if any(lists.values()) or (listed and tensor.raw_data):
        raise ValueError("holds a tensor whose numbers are stored twice")
    wanted = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or wanted * size != (len(tensor.raw_data) or listed * size):
        raise ValueError("holds a tensor whose dimensions do not fit its numbers")


def _unknown(message: Message) -> Iterator[str]:
    """What a message holds, itself or below, that SCHEMA does not name."""
    from google.protobuf.message import Message as Base
    from google.protobuf.unknown_fields import UnknownFieldSet

    kind = message.DESCRIPTOR.name
    for field in UnknownFieldSet(message):
        yield REFUSED.get((kind, field.field_number), f"an unknown field ({kind} {field.field_number})")
    for field, value in message.ListFields():
        some = [value] if isinstance(value, Base | str | bytes) else value
        if field.message_type:
            for one in some:
                yield from _unknown(one)
        elif field.type == TEXT and not all(isinstance(one, str) for one in some):  # bytes, where it is none
            yield "text that is not UTF-8"


@cache
def classes() -> dict[str, type]:
    """Name -> protobuf class of every message in SCHEMA. Imported late: only what opens a model needs protobuf."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="bundle.proto", package="bundle", syntax="proto2")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, *many) in fields.items():
            one = message.field.add(name=field, number=number, label=3 if many else 1)
            if isinstance(kind, str):
                one.type, one.type_name = one.TYPE_MESSAGE, f".bundle.{kind}"
            else:
                one.type = kind
            one.options.packed = many == [PACKED]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bundle.{name}")) for name in SCHEMA}
