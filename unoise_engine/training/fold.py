"""The same U-Net with batch norm folded into its convolutions: equal in eval mode, fewer layers to run.

And the same with its weights rounded as the bundle stores them.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

AnyNet = TypeVar("AnyNet", bound=nn.Module)


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


def rounded(net: AnyNet) -> AnyNet:
    """A folded copy whose kernels went through float16: what the files of a bundle hold. Biases stay as they are.

    Raises ValueError where float16 is too narrow.
    """
    net = folded(net)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.copy_(part.weight.half().float())
                if not part.weight.isfinite().all():
                    raise ValueError("a weight beyond 65504")
    return net
