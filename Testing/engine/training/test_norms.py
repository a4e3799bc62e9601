"""Batch norms come back to a net that lost them, and change nothing."""

from typing import Any

import pytest
import torch
from torch import nn

from Testing.engine.training.world import lively_net
from unoise_engine.training.fold import folded
from unoise_engine.training.norms import lost, norms_of, restore
from unoise_engine.training.unet import UNet


def stripped(net: Any) -> Any:
    """The same function with identities for norms, as `rebuilt` makes it of a bundle."""
    bare, plain = UNet(net.in_channels, net.head.out_channels, net.depth, net.first_channels).eval(), folded(net)
    for (_, mine), (_, its) in zip(
        *([(n, p) for n, p in one.named_modules() if isinstance(p, nn.Conv2d)] for one in (bare, plain))
    ):
        mine.load_state_dict(its.state_dict())
    for norm in norms_of(bare):
        assert norm.running_var is not None
        norm.running_var.fill_(1 - norm.eps)
    return bare


def test_the_function_stays_and_training_mode_gives_nearly_the_same() -> None:
    torch.manual_seed(0)
    net = lively_net(first_channels=4)
    bare = stripped(net)
    x = torch.randn(16, 1, 32, 32)
    with torch.no_grad():
        wanted = net(x)
        torch.testing.assert_close(bare(x), wanted, rtol=1e-4, atol=1e-4)
        assert lost(bare) and not lost(folded(net))
        torn = bare.train()(x)  # what a first training step would see
        bare.load_state_dict(stripped(net).state_dict())
        restore(bare, ((part,) for part in x.split(4)))
        assert not lost(bare)
        torch.testing.assert_close(bare(x), wanted, rtol=1e-3, atol=1e-3)
        means = norms_of(bare)[0].running_mean
        torch.testing.assert_close(means, bare.downs[0][0](x).mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
        now = bare.train()(x)
    assert wanted.std() > 0.05
    assert (torn - wanted).std() > 0.3 * wanted.std()
    assert (now - wanted).std() < 0.02 * wanted.std()
    assert now.std().item() == pytest.approx(wanted.std().item(), rel=0.02)
