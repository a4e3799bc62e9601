"""The paper's models by size, without its training: random weights, real batch-norm statistics, an organ to explain.

Speed does not depend on what was learned. It does depend, a little, on how many numbers are zero and on where the organ
is, so the statistics come from slices, and the last layer, one weight a channel, is fitted by least squares to find the
organ on a slice as well as random features can.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unoise_engine import __version__
from unoise_engine.models.bundles import find_bundle
from unoise_engine.models.manifest import UNOISE, Manifest, write_bundle
from unoise_engine.models.recipe import Recipe
from unoise_engine.training.export import describe, write_models
from unoise_engine.training.fold import rounded
from unoise_engine.training.recipes import Net, Noise
from unoise_engine.training.unet import UNet

RECIPE = Recipe(window_hu=(-160.0, 240.0), channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
RIDGE = 1e-3  # of the features' mean square: keeps the fit finite
SEED = 34


def paper_bundle(out: Path, slices: np.ndarray, organ: np.ndarray, net: Net | None = None, size: str = "large") -> Path:
    """Writes the bundle `out`: the Utility (`net`, by default of 34 million parameters) and U-Noise of a size.

    `slices` (n, 3, h, w) are normalised by `RECIPE`; `organ` (h, w) bool is that of the first. Raises Environment.
    """
    net = net or Net()
    torch.manual_seed(SEED)
    x = torch.from_numpy(slices)
    utility = UNet(RECIPE.channels, 1, net.depth, net.first_channels)
    shape = Noise(size=size).net
    noise = UNet(RECIPE.channels, 1, shape.depth, shape.first_channels)
    for one in (utility, noise):
        settle(one, x)
    fit_head(utility, x[:1], torch.from_numpy(organ))
    stored, stored_noise = rounded(utility), rounded(noise)
    manifest = Manifest(
        name=out.name,
        title="The paper's models by size, untrained",
        synthetic=True,
        intended_use="timing",
        licence="Apache-2.0",
        training_data="none",
        recipe=RECIPE,
        labels={"pancreas": 1},
        architecture={"utility": describe(utility), "unoise": describe(noise)},
        engine_version=__version__,
    )
    with tempfile.TemporaryDirectory() as scratch:
        write_bundle(out, manifest, write_models(stored, {UNOISE: stored_noise}, Path(scratch)))
    return find_bundle(out)


def settle(net: UNet, x: torch.Tensor, passes: int = 2) -> None:
    """He initialisation, and batch-norm statistics that are the mean over a few passes in training mode."""
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
        net.train()
        for some in [*x.split(2)] * passes:
            net(some)
    net.eval()


def fit_head(net: UNet, x: torch.Tensor, organ: torch.Tensor) -> None:
    """Sets the 1 x 1 convolution at the end so that logits > 0 on about as many pixels as the organ (h, w) has."""
    seen: list[torch.Tensor] = []
    hook = net.head.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(x)
        hook.remove()
        features = seen[0][0].flatten(1).T.double()
        wanted = organ.flatten().double()
        centred = features - features.mean(0)
        gram = centred.T @ centred
        gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        weight = torch.linalg.solve(gram, centred.T @ (wanted - wanted.mean()))
        weight /= (features @ weight).std()
        threshold = (features @ weight).quantile(1 - float(wanted.mean()))
        net.head.weight.copy_(weight.float().reshape(net.head.weight.shape))
        assert net.head.bias is not None  # noqa: S101 - for the type checker
        net.head.bias.fill_(-float(threshold))
