"""Grad-CAM without autograd: the decoder's transpose, written forwards, so that onnxruntime can run it.

Selvaraju et al. 2017, for segmentation Vinogradova et al. 2020. With A_k the channels of the deepest block's output
and `target` = d score / d logits (a mask of the pixels whose logits the score sums):

    alpha_k = mean over space of d score / d A_k
    map     = relu(sum_k alpha_k A_k)

In eval mode every layer of the decoder is linear or a 0/1 gate, so its vector-Jacobian product is one more ordinary
layer: a convolution takes its weights turned by 180 degrees with the channels swapped, concat a slice, nearest x2 a sum
over 2 x 2, which joins the convolution before it to one of 4 x 4 that steps by 2. The weights are shared, and only the
way from the logits to A is walked: the encoder and the skips need no gradient.

Away from the target the gradient is zero. Only the window is computed in which it may not be: the box around the
target, a pixel wider after each convolution. And of the last convolution only the sum over space is wanted, which is
the kernel times nine sums of its input, one a tap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn.functional import interpolate

from unoise_engine.training.graph import Graph
from unoise_engine.training.unet import UNet
from unoise_engine.training.unet_graph import Step, add_unet
from unoise_engine.training.window import COLUMNS, ROWS, Span, Window

# What the rows (or columns) of a turned kernel weigh in the four of that kernel after nearest x2.
JOIN = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32)
BACKWARDS = np.iinfo(np.int64).min  # as the end of a slice with step -1: to the very beginning


def explained_model(net: UNet) -> onnx.ModelProto:
    """slices (n, c, h, w), target (n, 1, h, w) -> logits (n, 1, h, w), gradcam (n, 1, h / k, w / k), k = 2^(depth-1).

    `target` may be left out: the score then sums the logits of the net's own prediction, logits > 0. The net must be
    folded.
    """
    graph, image = Graph(net), ["n", 1, "h", "w"]
    said = add_unet(graph, net, "logits")
    add_gradcam(graph, said.deep, said.steps, net.head)
    return graph.model(
        {"slices": ["n", net.in_channels, "h", "w"], "target": image},
        {"logits": image, "gradcam": ["n", 1, "deep_h", "deep_w"]},
    )


def add_gradcam(graph: Graph, deep: str, steps: Sequence[Step], head: nn.Conv2d) -> None:
    """Adds the input "target", by default the prediction of "logits", and the output "gradcam", of the size of `deep`.

    `deep` is the deepest block's output, `steps` run from the deepest to the finest.
    """
    graph.default("target", np.full((1, 1, 1, 1), np.nan, np.float32))
    organ = graph.node("Cast", graph.node("Greater", "logits", graph.constant(0)), to=TensorProto.FLOAT)
    target = graph.node("Where", graph.node("IsNaN", "target"), organ, "target")
    window = Window(Span.around(graph, target, ROWS), Span.around(graph, target, COLUMNS))
    turned_head = graph.node("Transpose", graph.weight(head.weight), perm=[1, 0, 2, 3])
    grad = graph.conv(window.cut(graph, target), turned_head, pad=0)
    for step in reversed(steps):
        first, second = step.fuse
        ends = [graph.whole(end) for end in (0, second.out_channels, 1)]
        first_up = graph.node("Slice", graph.weight(first.weight), *ends)  # the rest belongs to the skip
        for kernel, gate in zip((graph.weight(second.weight), first_up), reversed(step.gates)):
            grad = graph.conv(gated(graph, grad, gate, window), turned(graph, kernel), pad=2)
            wide = window.wider(graph, 1)
            grad, window = wide.of(graph, grad, window.beyond(graph, 1)), wide
        grad, grow = gated(graph, grad, step.gates[0], window), graph.weight(step.grow.weight)
        if step is not steps[0]:
            wide = window.even(graph)
            grad, window = window.pad(graph, grad, wide), wide.halved(graph)
            joined = graph.node(
                "MatMul", graph.constant(JOIN), graph.node("MatMul", turned(graph, grow), graph.constant(JOIN.T))
            )
            grad = graph.node("Conv", grad, joined, strides=[2, 2], pads=[3] * 4)
            wide = window.wider(graph, 1)
            grad, window = wide.of(graph, grad, window.beyond(graph, 1)), wide
    sums = tap_sums(graph, grad, window)
    total = graph.conv(sums, graph.node("Transpose", grow, perm=[1, 0, 2, 3]), pad=0)
    area = graph.node("Mul", window.rows.length, window.columns.length)
    pixels = graph.node("Div", graph.node("Cast", area, to=TensorProto.FLOAT), graph.constant(4))
    alpha = graph.node("Div", total, pixels)
    graph.node("Relu", graph.node("ReduceSum", graph.node("Mul", alpha, deep), graph.whole(1)), out="gradcam")


def gated(graph: Graph, grad: str, gate: str, window: Window) -> str:
    """Zero where the ReLU with the output `gate` was closed."""
    return graph.node("Mul", grad, graph.node("Sign", window.cut(graph, gate)))


def tap_sums(graph: Graph, grad: str, window: Window) -> str:
    """(n, c, rows, columns) -> (n, c, 3, 3): for each tap of a 3 x 3 convolution the sum of what it hands back to the
    image's pixels: the first tap nothing from the first line, the last nothing from the last."""

    def lines(span: Span) -> str:
        place = graph.node(
            "Range", *(graph.node("Squeeze", end) for end in (span.start, span.stop)), graph.constant(1, np.int64)
        )
        last = graph.node("Sub", span.length, graph.whole(1))
        inside = (graph.node("Greater", place, graph.whole(0)), graph.node("Less", place, last))
        before, after = (graph.node("Cast", one, to=TensorProto.FLOAT) for one in inside)
        every = graph.node("Max", before, graph.constant([1.0]))
        return graph.node(
            "Concat", *(graph.node("Unsqueeze", one, graph.whole(0)) for one in (before, every, after)), axis=0
        )

    across = graph.node("Transpose", lines(window.columns), perm=[1, 0])
    return graph.node("MatMul", lines(window.rows), graph.node("MatMul", grad, across))


def turned(graph: Graph, kernel: str) -> str:
    """The kernel of the transposed convolution."""
    swapped = graph.node("Transpose", kernel, perm=[1, 0, 2, 3])
    last, step = graph.whole(-1, -1), graph.whole(-1, -1)
    return graph.node("Slice", swapped, last, graph.whole(BACKWARDS, BACKWARDS), graph.whole(ROWS, COLUMNS), step)


def gradcam_by_autograd(unet: UNet, slices: Tensor, target: Tensor, *, coarse: bool = False) -> Tensor:
    """The same map from torch's own gradients: the independent reference that tests and the export compare with.

    Enlarged bilinearly to the slices' size, unless `coarse`.
    """
    deep, skips = unet.eval().encode(slices.detach())
    deep = deep.detach().requires_grad_(True)
    logits = unet.decode(deep, [skip.detach() for skip in skips])
    (grad,) = torch.autograd.grad((logits * target).sum(), deep)
    small = (grad.mean((2, 3), keepdim=True) * deep.detach()).sum(1, keepdim=True).relu()
    return small if coarse else interpolate(small, size=slices.shape[2:], mode="bilinear", align_corners=False)
