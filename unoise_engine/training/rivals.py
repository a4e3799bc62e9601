"""The same nets as others run them: torch as it is, autograd as the usual Grad-CAM takes it, a plain ONNX export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unoise_engine.models.bare import open_bare
from unoise_engine.training.near import NearNet
from unoise_engine.training.unet import UNet

Answer = Callable[[], np.ndarray]


def use_threads(threads: int) -> None:
    """0: as many as torch takes by itself."""
    if threads:
        torch.set_num_threads(threads)


class Eager:
    """A bundle's nets in torch, layer by layer. Arrays in, arrays out; slices (n, c, h, w) float32.

    A GPU has finished when the answer is an array.
    """

    def __init__(self, utility: UNet, noise: UNet | NearNet, device: str):
        self.device = device
        self.utility, self.noise = utility.to(device), noise.to(device)

    def tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def logits(self, slices: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.utility(self.tensor(slices)).cpu().numpy()

    def noise_logits(self, slices: np.ndarray, logits: np.ndarray) -> np.ndarray:
        x = self.tensor(slices)
        with torch.inference_mode():
            z = self.noise(x, self.tensor(logits)) if isinstance(self.noise, NearNet) else self.noise(x)
        return z.cpu().numpy()

    def gradcam(self, slices: np.ndarray, target: np.ndarray) -> np.ndarray:
        """As published code does it: one forward pass, then backwards from the score through the whole net.

        -> (n, 1, h / k, w / k), not enlarged.
        """
        kept: list[Tensor] = []
        hook = self.utility.downs[-1].register_forward_hook(lambda part, inputs, out: kept.append(out))
        try:
            with torch.enable_grad():
                score = (self.utility(self.tensor(slices)) * self.tensor(target)).sum()
                kept[0].retain_grad()
                score.backward()
        finally:
            hook.remove()
            self.utility.zero_grad(set_to_none=True)
        deep = kept[0]
        assert deep.grad is not None  # noqa: S101 - for the type checker
        return (deep.grad.mean((2, 3), keepdim=True) * deep).sum(1, keepdim=True).relu().detach().cpu().numpy()


class _Named(nn.Module):
    """So that the exported inputs have the names that everything else uses."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, slices: Tensor, logits: Tensor | None = None) -> Tensor:
        return self.net(slices) if logits is None else self.net(slices, logits)


def plain_export(
    net: UNet | NearNet, example: np.ndarray, path: Path, device: str, threads: int
) -> Callable[..., np.ndarray]:
    """`torch.onnx.export` of the net as it is, for slices of the example's size, opened in onnxruntime.

    Returns a function of the inputs `slices` and, for a near net, `logits`.
    """
    inputs: tuple[Tensor, ...] = (torch.from_numpy(example),)
    names = ["slices"]
    if isinstance(net, NearNet):
        inputs, names = (*inputs, inputs[0][:, :1]), [*names, "logits"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            _Named(net.cpu()).eval(), inputs, path, input_names=names, dynamo=True, external_data=False, verbose=False
        )
    session = open_bare(path, device, threads)
    return lambda **feeds: session(feeds)
