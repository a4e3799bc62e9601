"""The level of a map that was trained on its order: how much noise its numbers stand for.

The loss over shares visible (budgets.py) asks for an order of the pixels and leaves their unit and zero open, so a long
training inflates them. The published loss knows both: it is the one that says what noise costs and what it is worth. So
after training z becomes a z + b, with the a > 0 and b that this loss likes best; no pixel changes its rank. It is flat
around its best b, so b becomes the largest that is not worse by more than a standard error: of levels that cannot be
told apart the one by which the fewest pixels count as important. Before that a near net's organ, whose place in the
order is not trained, comes to its top.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unoise_engine.training.near import NearNet
from unoise_engine.training.unet import UNet
from unoise_engine.training.unoise import NoiseConfig, loss_of

SPREAD = 3.0  # standard deviations of logits to begin with: the sigmoid's whole range, hardly saturated
STEPS, LR = 100, 0.1
RISE, MOST_RISES = 0.25, 80  # of b, logits

Sample = tuple[Tensor, Tensor, Tensor]  # noise logits (n, 1, h, w), images (n, c, h, w), targets (n, 1, h, w)


def best_level(utility: nn.Module, samples: Sequence[Sample], cfg: NoiseConfig) -> tuple[float, float]:
    """(a, b) for which the published loss of a z + b is least over the samples, b as high as standard errors let it.

    At least two samples. Draws noise from torch's generator and seeds it.
    """
    every = torch.cat([z.flatten() for z, _, _ in samples])
    mean, spread = every.mean().item(), max(every.std().item(), 1e-6)
    log_a, b = torch.tensor(SPREAD).log().requires_grad_(), torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([log_a, b], LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for step in range(STEPS):
        z, x, y = samples[step % len(samples)]
        loss = loss_of(utility, log_a.exp() * (z - mean) / spread + b, x, y, cfg)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    a = log_a.exp().item() / spread
    return a, highest(utility, samples, cfg, a, b.item() - a * mean)


@torch.no_grad()
def highest(utility: nn.Module, samples: Sequence[Sample], cfg: NoiseConfig, a: float, best: float) -> float:
    """The largest b of those in a row up from the best whose loss, paired over samples, is not clearly above its."""

    def losses(b: float) -> Tensor:
        found = []
        for k, (z, x, y) in enumerate(samples):
            torch.manual_seed(k)  # the same noise for every b
            found.append(loss_of(utility, a * z + b, x, y, cfg))
        return torch.stack(found)

    least, b = losses(best), best
    for _ in range(MOST_RISES):
        worse = losses(b + RISE) - least
        if worse.mean() > worse.std() / len(worse) ** 0.5:
            break
        b += RISE
    return b


@torch.no_grad()
def raise_top(net: NearNet, samples: Sequence[Sample]) -> None:
    """Puts the organ (the samples' targets) as high as the most important pixel beside it, in the median slice.

    Not higher: the organ's rim, half found, comes part of the way up with it and would cover what else matters.
    """
    beside = [(-z).masked_fill(y > 0.5, -torch.inf).amax((1, 2, 3)) for z, _, y in samples]
    net.top.fill_(torch.cat(beside).median().item())


@torch.no_grad()
def relevel(net: UNet | NearNet, a: float, b: float) -> None:
    """Makes z into a z + b by the last layer's weights."""
    head = net.unet.head if isinstance(net, NearNet) else net.head
    assert head.bias is not None  # noqa: S101 - for the type checker
    head.weight.mul_(a)
    head.bias.mul_(a)
    head.bias[-1] += b  # the fine part of a near net, which no smoothing touches; the only output of another
    if isinstance(net, NearNet):
        net.weight.mul_(a)
        net.top.copy_(a * net.top - b)
