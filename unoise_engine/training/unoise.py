"""U-Noise: learnable noise masks for interpretable image segmentation, in one page.

Koker, Mireshghallah, Titcombe, Kaissis, ISBI 2021, arXiv 2101.05791. A frozen *utility* U segments an organ. A small
*noise model* N looks at the same image x and says, pixel by pixel, how much Gaussian noise U can bear there:

    z     = N(x)                                        one logit per pixel
    B     = sigmoid(z)                                  in (0, 1)
    sigma = sigma_min + B (sigma_max - sigma_min)       standard deviation of the noise, per pixel
    x'    = x + sigma * eps,   eps ~ N(0, 1)            one draw per pixel, shared by the channels
    loss  = BCE(U(x'), y) - lambda * mean(log B)        only N learns

The first term keeps the segmentation right, the second rewards noise. Where N stays quiet, U needs to see: the
importance of a pixel is -z. (Equation 1 of the paper prints sigma_min as a bias of the noise; the authors' code has
it as the least standard deviation, as here.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid


@dataclass(frozen=True)
class NoiseConfig:
    """The published settings. The sigmas are in units of the normalised image."""

    sigma_min: float = 1.0
    sigma_max: float = 5.0
    noise_reward: float = 1e-3  # lambda

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma_min must be at least 0 and below sigma_max: {self.sigma_min}, {self.sigma_max}")
        if not self.noise_reward > 0:
            raise ValueError(f"noise_reward must be positive: {self.noise_reward}")


def freeze(utility: nn.Module) -> nn.Module:
    """The utility in eval mode without gradients: neither weights nor batch-norm statistics can change."""
    return utility.eval().requires_grad_(False)


def add_noise(x: Tensor, z: Tensor, cfg: NoiseConfig) -> Tensor:
    """Images x (n, c, h, w) drowned as far as the logits z (n, 1, h, w) allow; gradients reach z through sigma."""
    sigma = cfg.sigma_min + z.sigmoid() * (cfg.sigma_max - cfg.sigma_min)
    return x + sigma * torch.randn_like(sigma)


def unoise_loss(utility: nn.Module, noise: nn.Module, x: Tensor, y: Tensor, cfg: NoiseConfig) -> Tensor:
    """Normalised images x (n, c, h, w) and organ masks y (n, 1, h, w) in {0, 1} -> scalar loss.

    The frozen utility is an argument and never a child of the noise model, so ``noise.train()`` cannot wake it.
    """
    return loss_of(utility, noise(x), x, y, cfg)


def loss_of(utility: nn.Module, z: Tensor, x: Tensor, y: Tensor, cfg: NoiseConfig) -> Tensor:
    """The same for noise logits z (n, 1, h, w) that are known already."""
    return binary_cross_entropy_with_logits(utility(add_noise(x, z, cfg)), y) - cfg.noise_reward * logsigmoid(z).mean()


def training_step(
    utility: nn.Module, noise: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, cfg: NoiseConfig
) -> float:
    """One step of the paper's algorithm, as a whole; `fit` adds schedules, precision and checkpoints around it."""
    loss = unoise_loss(utility, noise, x, y, cfg)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def importance(noise: nn.Module, x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, 1, h, w), unbounded; larger = the utility bears less noise there."""
    return -noise(x)
