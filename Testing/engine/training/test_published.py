"""Beside the published definitions: net, loss, gradient and visibility curve as numpy alone computed them, once.

The numbers came from loops over the formulae in double precision: convolutions, batch norms, pooling and concatenation
of the U-Net; BCE(U(x + (1 + 4 sigmoid z) eps), y) - 1e-3 mean(log sigmoid z), its slopes by differences of 1e-6; dice
over the pixels whose B stays at or below each of the 21 thresholds.
"""

from typing import Any

import numpy as np
import pytest
import torch

from unoise_engine.explanation.slices import LabelledItem
from unoise_engine.explanation.visibility import How, evaluate_maps
from unoise_engine.training.unet import UNet
from unoise_engine.training.unoise import NoiseConfig, freeze, unoise_loss

SILENT = -0.061086369  # z where no unit of the last block is active
Z = (SILENT, 1.620271048, 1.177366009, SILENT, SILENT, SILENT, 2.781061002, -0.209239655,
     -0.332663828, SILENT, SILENT, 1.264823873, 0.639880567, -0.166586406, SILENT, 0.049598601)  # fmt: skip
LOSS = 0.7652645824597288
HEAD_SLOPES, HEAD_BIAS_SLOPE = (0.164318644, 0.053723930), -0.045109577
FIRST_SLOPES = (-0.253369758, -0.080522193, 0.392629566)
# Pixels visible of the two slices' 72, and the mean dice; what lies between two thresholds needs no second row.
CURVE = ((8, 0.0), (14, 0.0), (24, 0.0), (28, 0.0), (30, 0.0), (31, 0.111111111), (34, 0.111111111), (36, 0.111111111),
         (38, 0.111111111), (46, 0.111111111), (47, 0.111111111), (51, 0.304347826))  # fmt: skip
FULL = 0.448275862


def wave(shape: tuple[int, ...], start: int) -> torch.Tensor:
    return torch.from_numpy(0.6 * np.sin(1.7 * (start + np.arange(np.prod(shape))) + 0.3)).reshape(shape)


def waved(start: int) -> Any:
    """Depth 2, two channels at first; kernels and biases one after the other, batch norms as they begin."""
    net = UNet(3, 1, 2, 2).double().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                for values in (module.weight, module.bias):
                    assert values is not None
                    values.copy_(wave(tuple(values.shape), start))
                    start += values.numel()
    return net


def test_net_loss_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    utility, noise, x = freeze(waved(0)), waved(1000), wave((1, 3, 4, 4), 5000)
    y = (torch.arange(16).reshape(1, 1, 4, 4) % 3 == 0).double()
    np.testing.assert_allclose(noise(x).detach().numpy().ravel(), Z, atol=2e-9)
    monkeypatch.setattr(torch, "randn_like", lambda like: 2 * wave(tuple(like.shape), 7000))
    loss = unoise_loss(utility, noise, x, y, NoiseConfig())
    loss.backward()
    assert loss.item() == pytest.approx(LOSS, rel=1e-12)
    np.testing.assert_allclose(noise.head.weight.grad.ravel(), HEAD_SLOPES, rtol=1e-6)
    assert noise.head.bias.grad.item() == pytest.approx(HEAD_BIAS_SLOPE, rel=1e-6)
    np.testing.assert_allclose(noise.downs[0][0].weight.grad[0, 0].ravel()[:3], FIRST_SLOPES, rtol=1e-6)


class MeanOfNine:
    """Organ is where the mean of 3 x 3 pixels lies above 0.3."""

    def predict(self, x: Any) -> Any:
        padded = np.pad(x[:, 0].astype(float), ((0, 0), (1, 1), (1, 1)))
        return np.mean([padded[:, i : i + 6, j : j + 6] for i in range(3) for j in range(3)], axis=0)[:, None] - 0.3


def test_visibility_curve() -> None:
    z = [3 * np.sin(0.9 * np.arange(36) + k).reshape(6, 6) for k in (0, 2)]
    images = [np.cos(0.09 * np.arange(36) + k).reshape(6, 6) for k in (0, 1)]
    slices = [LabelledItem(f"c{k}", f"c{k}", 0, image[None], image > 0.2) for k, image in enumerate(images)]
    how = How(tuple(n / 72 for n, _ in CURVE), ("grey",), ("pooled",), (), (), 1)
    curve = evaluate_maps(MeanOfNine(), slices, {"unoise": [-one for one in z]}, how).curve("unoise", "pooled", "grey")
    np.testing.assert_allclose(curve.mean(axis=0), [0, *(dice for _, dice in CURVE), FULL], atol=1e-9)
