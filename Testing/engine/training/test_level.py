"""The level of a map that was trained on its order."""

from typing import Any

import pytest
import torch
from torch import nn

from Testing.engine.training.world import lively_net
from unoise_engine.training.level import RISE, best_level, highest, relevel
from unoise_engine.training.near import NearNet
from unoise_engine.training.unoise import NoiseConfig, loss_of

CFG = NoiseConfig(noise_reward=1e-2)


class Square(nn.Module):
    """Finds bright pixels in the middle and looks at nothing else."""

    def forward(self, x: Any) -> Any:
        inside = torch.zeros_like(x)
        inside[:, :, 8:16, 8:16] = 1
        return 6 * inside * x - 6 * (1 - inside) - 3


def samples(factor: Any, offset: Any) -> Any:
    torch.manual_seed(0)
    x = 0.05 * torch.randn(4, 1, 24, 24)
    x[:, :, 8:16, 8:16] += 1
    y, x_ = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    far = ((y - 11.5) ** 2 + (x_ - 11.5) ** 2).sqrt()[None, None].expand(4, 1, 24, 24)  # noise may grow outwards
    return [(factor * far + offset, x, (x > 0.5).float())] * 4


def test_the_level_does_not_depend_on_how_far_the_training_inflated_the_map() -> None:
    levels = []
    for factor, offset in ((1.0, 0.0), (40.0, -7.0)):
        some = samples(factor, offset)
        torch.manual_seed(0)
        a, b = best_level(Square(), some, CFG)
        levels.append(a * some[0][0] + b)
        assert a > 0
        losses = [
            loss_of(Square(), z, x, y, CFG).item() for z, (_, x, y) in ((some[0][0], some[0]), (levels[-1], some[0]))
        ]
        assert losses[1] < losses[0]
    torch.testing.assert_close(levels[0], levels[1], rtol=1e-3, atol=1e-3)
    assert levels[0][0, 0, 12, 12] < 0 < levels[0][0, 0, 0, 0]  # quiet where the utility looks, noise in the corner


def test_of_levels_that_cannot_be_told_apart_the_one_with_most_noise() -> None:
    some = samples(1.0, -10.0)
    b = highest(Square(), some, CFG, 1.0, 0.0)

    def losses(offset: Any) -> Any:
        found = []
        for k, (z, x, y) in enumerate(some):
            torch.manual_seed(k)
            found.append(loss_of(Square(), z + offset, x, y, CFG))
        return torch.stack(found)

    def worse(offset: Any) -> Any:
        """In standard errors."""
        rise = losses(offset) - losses(0.0)
        return rise.mean() / (rise.std() / len(rise) ** 0.5)

    assert b > 0 and worse(b) <= 1 < worse(b + RISE)
    assert worse(b + 3) > 5  # there is a price


@pytest.mark.parametrize("near", [False, True])
def test_a_net_gets_another_level_and_keeps_its_order(near: Any) -> None:
    torch.manual_seed(0)
    x, logits = torch.randn(2, 1, 32, 32), 4 * torch.randn(2, 1, 32, 32)
    net: Any = NearNet(1, depth=2, first_channels=4, cell=4).eval() if near else lively_net()
    if near:
        nn.init.normal_(net.unet.head.weight)
    with torch.no_grad():
        before = net(x, logits) if near else net(x)
        relevel(net, 0.3, 2.0)
        after = net(x, logits) if near else net(x)
    torch.testing.assert_close(after, 0.3 * before + 2, rtol=1e-4, atol=1e-4)
