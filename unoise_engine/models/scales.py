"""How coarse each layer of a graph is: how many voxels of the input one of the layer's own spans along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import Growing, settings

Scale = tuple[Fraction, ...]  # an entry for each axis of space

# Their result lies on the grid of the layers that they are given.
SAME_GRID = frozenset(
    """
    Abs BatchNormalization Cast Celu Clip Concat Dropout Elu Erf Exp Gelu GroupNormalization HardSigmoid HardSwish
    Identity InstanceNormalization LayerNormalization LeakyRelu Log Mish Neg PRelu Pad Pow Reciprocal Relu Selu Sigmoid
    Slice Softmax Softplus Softsign Split Sqrt Tanh
    """.split()  # noqa: SIM905
)
JOINED = frozenset(("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min"))  # they may repeat what has no space left


def scales(graph: Growing, way: Sequence[Message], given: str, asked: str, rank: int) -> dict[str, Scale]:
    """Layer -> its scale, for the layers between `given` and `asked`, which share a grid, where it can be told.

    What changes the grid in a known ratio tells of one side from the other, in either direction: so layers behind
    what tells nothing (reshaping into windows, sizes computed elsewhere) are known from what follows.
    """
    ones: Scale = (Fraction(1),) * rank
    found, steps = {given: ones, asked: ones}, _steps(graph, way, rank)
    before = 0
    while before < len(found):
        before = len(found)
        for a, b, ratio in (*steps, *reversed(steps)):
            if a in found and b not in found:
                found[b] = tuple(x * y for x, y in zip(found[a], ratio))
            elif b in found and a not in found:
                found[a] = tuple(x / y for x, y in zip(found[b], ratio))
    return found


def coarseness(scale: Scale) -> Fraction:
    """Voxels of the input in one of this scale."""
    return math.prod(scale, start=Fraction(1))


def _steps(graph: Growing, way: Sequence[Message], rank: int) -> list[tuple[str, str, Scale]]:
    """Pairs of layers, and how much coarser the second is."""
    steps: list[tuple[str, str, Scale]] = []
    pooled: set[str] = set()  # without space: a number a channel
    for node in way:
        layers = [name for name in dict.fromkeys(node.input) if name in graph.layers]
        if _pools(graph, node) or pooled.issuperset(layers):
            pooled.update(node.output)
        elif ratio := _ratio(graph, node, rank):
            steps += [(name, out, ratio) for name in layers if name not in pooled for out in node.output]
    return steps


def _pools(graph: Growing, node: Message) -> bool:
    """Over space, not over channels alone."""
    if node.op_type.startswith("Reduce"):
        axes = graph.stored(node.input[1]) if len(node.input) > 1 else None
        return axes is None or axes.tolist() != [1]
    return node.op_type.startswith("Global")


def _ratio(graph: Growing, node: Message, rank: int) -> Scale | None:
    """How much coarser a node's result is, or None if it does not tell."""
    get = settings(node).get
    if node.op_type in SAME_GRID | JOINED or node.op_type.startswith("Reduce"):
        return (Fraction(1),) * rank
    if node.op_type in ("Conv", "MaxPool", "AveragePool"):
        return _whole(get("strides", [1] * rank), rank)
    if node.op_type == "ConvTranspose":
        return _inverse(_whole(get("strides", [1] * rank), rank))
    if node.op_type in ("SpaceToDepth", "DepthToSpace"):
        blocks = _whole([get("blocksize", 1)] * rank, rank)
        return blocks if node.op_type == "SpaceToDepth" else _inverse(blocks)
    if node.op_type == "Resize" and "axes" not in settings(node):
        known = graph.stored([*node.input, "", ""][2])
        if known is not None and len(known) == rank + 2:
            return _inverse(tuple(Fraction(float(one)).limit_denominator(1000) for one in known[2:]))
    return None


def _whole(steps: Sequence[int], rank: int) -> Scale | None:
    return tuple(Fraction(step) for step in steps) if len(steps) == rank else None


def _inverse(scale: Scale | None) -> Scale | None:
    return scale and tuple(1 / one for one in scale)
