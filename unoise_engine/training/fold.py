"""The same U-Net with batch norm folded into its convolutions: equal in eval mode, fewer layers to run.

And the same with its weights rounded as the bundle stores them.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

AnyNet = TypeVar("AnyNet", bound=nn.Module)
FLOAT16, INT8 = "float16", "int8"
STEPS = 127  # of a signed byte, on each side of zero


def folded(net: AnyNet) -> AnyNet:
    """A copy in eval mode; every batch norm becomes an identity. The net given does not change."""
    net = copy.deepcopy(net).eval()
    for part in net.modules():
        if isinstance(part, nn.Sequential):
            fold_sequence(part)
    return net


def fold_sequence(layers: nn.Sequential) -> None:
    for k, (conv, norm) in enumerate(zip(list(layers)[:-1], list(layers)[1:])):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101 - for the type checker
            conv.weight, bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            conv.bias = bias
            layers[k + 1] = nn.Identity()


def rounded(net: AnyNet, precision: str = FLOAT16) -> AnyNet:
    """A folded copy whose kernels went through `precision`: what the files of a bundle hold. Biases stay as they are.

    int8 is symmetric, one step a kernel's output channel. Raises ValueError where float16 is too narrow.
    """
    net = folded(net)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.copy_(in_steps(part.weight) if precision == INT8 else part.weight.half().float())
                if not part.weight.isfinite().all():
                    raise ValueError("a weight beyond 65504")
    return net


def in_steps(kernel: Tensor) -> Tensor:
    """The kernel (out, in, h, w) in whole steps, of which the largest weight of each output channel is `STEPS`."""
    step = step_of(kernel)
    return (kernel / step).round() * step


def step_of(kernel: Tensor) -> Tensor:
    """(out, 1, 1, 1); 1 for a channel of zeros."""
    step = kernel.abs().amax((1, 2, 3), keepdim=True) / STEPS
    return torch.where(step > 0, step, torch.ones_like(step))
