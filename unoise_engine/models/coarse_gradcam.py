"""Grad-CAM of any net, written into its own graph: the block is found, and the way back to it is reversed.

Selvaraju et al. 2017, for segmentation Vinogradova et al. 2020. With A_k the channels of a block's output and `target`
= d score / d logits:

    alpha_k = mean over space of d score / d A_k
    map     = relu(sum_k alpha_k A_k)

The block is the last one of a scale, in the order of the file: of the coarsest scale the deepest block, of a finer one
the decoder's. It ends with an activation, with the sum or product of layers (the end of a residual block), or where
such ends are joined; what only leads on to the next scale, a convolution before an enlargement, is none of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.backward import back_to, closed, opened, port, way_between
from unoise_engine.models.reverse.growing import Growing
from unoise_engine.models.scales import JOINED, coarseness, scales

ACTIVATIONS = frozenset(
    """
    Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Sigmoid Softplus Softsign Tanh
    """.split()  # noqa: SIM905
)


def coarse_gradcam(content: bytes, given: str = "slices", asked: str = "logits", layer: int = 0) -> bytes:
    """The bytes of an ONNX model -> those of one that takes `given` (n, c, *s) and "target" (n, k, *s), of the shape
    of `asked`, and answers "gradcam" (n, 1, *coarse) >= 0, for the score sum(target * asked).

    `layer` 0 is the deepest block, 1 the last block of the next finer scale, and so on. Raises ValueError, saying why,
    where that cannot be.
    """
    model = opened(content, asked)
    rank = len(port(model, given).type.tensor_type.shape.dim) - 2
    block = _block(model, given, asked, rank, layer)
    graph = back_to(model, block, asked)
    space = graph.whole(*range(2, 2 + rank))
    alpha = graph.add("ReduceMean", [graph.of(block), space], keepdims=1)
    total = graph.add("ReduceSum", [graph.add("Mul", [alpha, block]), graph.whole(1)], keepdims=1)
    model.graph.node.add(op_type="Relu", input=[total], output=["gradcam"])
    answer = copy.deepcopy(port(model, given))
    answer.name = "gradcam"
    sides = answer.type.tensor_type.shape.dim
    sides[1].dim_value = 1
    for axis, side in enumerate(sides[2:]):
        side.dim_param = f"coarse{axis}"
    return closed(model, given, asked, answer)


def _block(model: Message, given: str, asked: str, rank: int, layer: int) -> str:
    """The name of the block's output."""
    way = way_between(model, given, asked)
    graph = Growing(model, {given, *(name for node in way for name in node.output)})
    found = scales(graph, way, given, asked, rank)
    inner = [name for node in way for name in node.output if name in found and name != asked]
    if not inner:
        raise ValueError(f"nothing is known of the layers between {given} and {asked}")
    there = sorted({found[name] for name in inner}, key=coarseness, reverse=True)
    if not 0 <= layer < len(there):
        raise ValueError(f"has {len(there)} scales, and none of the number {layer} (0 is the coarsest)")
    ends = _ends_of_blocks(way, graph.layers)
    of_scale = [name for name in inner if found[name] == there[layer]]
    return next((name for name in reversed(of_scale) if name in ends), of_scale[-1])


def _ends_of_blocks(way: Sequence[Message], layers: Iterable[str]) -> set[str]:
    ends: set[str] = set()
    for node in way:
        of = [name for name in node.input if name in layers]
        several = node.op_type in JOINED and len(of) > 1
        if node.op_type in ACTIVATIONS or several or (node.op_type == "Concat" and ends.issuperset(of)):
            ends.add(node.output[0])
    return ends
