"""Grad-CAM without autograd: the decoder's transpose, written forwards, so that it exports to ONNX.

Selvaraju et al. 2017, for segmentation Vinogradova et al. 2020. With A_k the channels of the deepest block's output
and ``target`` = d score / d logits (a mask of the pixels whose logits the score sums):

    alpha_k = mean over space of d score / d A_k
    map     = relu(sum_k alpha_k A_k), enlarged bilinearly

In eval mode every layer of the decoder is linear or a 0/1 gate, so its vector-Jacobian product is one more ordinary
layer: a convolution takes its weights turned by 180 degrees with the channels swapped, nearest x2 becomes a sum over
2 x 2, concat a slice. The weights are shared, and only the way from the logits to A is walked: the encoder and the
skips need no gradient.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from unoise_engine.training.unet import UNet

Tape = list[tuple[nn.Module, Tensor, int | None]]  # (layer, its output, how many input channels the way back needs)


class GradCAMGraph(nn.Module):
    """slices (n, c, h, w), target (n, 1, h, w) -> importance (n, 1, h, w), at least 0, in units of score x activation.

    Raises TypeError for a decoder layer whose transpose it does not know.
    """

    def __init__(self, unet: UNet):
        super().__init__()
        self.unet = unet
        self.eval()

    def forward(self, slices: Tensor, target: Tensor) -> Tensor:
        deep, skips = self.unet.encode(slices)
        grad = target
        for layer, out, wanted in reversed(self.record(deep, skips)):
            grad = pull_back(layer, out, grad, wanted)
        alpha = grad.mean((2, 3), keepdim=True)
        coarse = (alpha * deep).sum(1, keepdim=True).relu()
        return interpolate(coarse, size=slices.shape[2:], mode="bilinear", align_corners=False)

    def record(self, deep: Tensor, skips: list[Tensor]) -> Tape:
        """`UNet.decode`, keeping what the way back needs."""
        tape: Tape = []

        def run(layers: Iterable[nn.Module], x: Tensor, wanted: int | None = None) -> Tensor:
            for layer in layers:
                x = layer(x)
                tape.append((layer, x, wanted))
                wanted = None
            return x

        for grow, fuse, skip in zip(self.unet.grows, self.unet.fuses, reversed(skips)):
            up = run(grow, deep)  # type: ignore[arg-type]
            deep = run(fuse, torch.cat([up, skip], dim=1), wanted=up.shape[1])  # type: ignore[arg-type]
        run([self.unet.head], deep)
        return tape


def pull_back(layer: nn.Module, out: Tensor, grad: Tensor, wanted: int | None = None) -> Tensor:
    """Vector-Jacobian product of one layer in eval mode: d score / d output -> d score / d (first `wanted`) input."""
    match layer:
        case nn.Conv2d():
            turned = layer.weight[:, :wanted].transpose(0, 1).flip(2, 3)  # faster than a transposed convolution
            return conv2d(grad, turned, padding=layer.padding)
        case nn.ReLU():
            return grad * (out > 0)
        case nn.Upsample():
            return 4 * avg_pool2d(grad, 2)
        case nn.BatchNorm2d():
            assert layer.running_var is not None  # noqa: S101 - for the type checker
            return grad * (layer.weight * (layer.running_var + layer.eps).rsqrt())[:, None, None]
        case nn.Identity():
            return grad
    raise TypeError(f"no transpose is known for {type(layer).__name__}")


def gradcam_by_autograd(unet: UNet, slices: Tensor, target: Tensor) -> Tensor:
    """The same map from torch's own gradients: the independent reference that tests and the export compare with."""
    deep, skips = unet.eval().encode(slices.detach())
    deep = deep.detach().requires_grad_(True)
    logits = unet.decode(deep, [skip.detach() for skip in skips])
    (grad,) = torch.autograd.grad((logits * target).sum(), deep)
    coarse = (grad.mean((2, 3), keepdim=True) * deep.detach()).sum(1, keepdim=True).relu()
    return interpolate(coarse, size=slices.shape[2:], mode="bilinear", align_corners=False)
