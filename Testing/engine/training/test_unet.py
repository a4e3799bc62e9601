from typing import Any

import pytest
import torch

from Testing.engine.training.world import lively_net
from unoise_engine.training.fold import folded
from unoise_engine.training.unet import UNet


@pytest.mark.parametrize(
    ("depth", "first_channels", "with_three", "with_one"),
    [(5, 64, 34_527_041, 34_525_889), (2, 16, 28_529, 28_241), (3, 16, 130_577, 130_289), (4, 16, 537_425, 537_137)],
)
def test_the_paper_s_parameter_counts(depth: Any, first_channels: Any, with_three: Any, with_one: Any) -> None:
    with torch.device("meta"):
        assert UNet(3, 1, depth, first_channels).n_parameters == with_three
        assert UNet(1, 1, depth, first_channels).n_parameters == with_one


def test_shapes_and_the_two_halves() -> None:
    net, x = lively_net(in_channels=3, out_channels=2, depth=3), torch.randn(2, 3, 24, 32)
    deep, skips = net.encode(x)
    assert deep.shape == (2, 16, 6, 8)
    assert [tuple(s.shape) for s in skips] == [(2, 4, 24, 32), (2, 8, 12, 16)]
    assert torch.equal(net.decode(deep, skips), net(x))
    assert net(x).shape == (2, 2, 24, 32)


def test_folding_keeps_the_function_and_the_original() -> None:
    net, x = lively_net(), torch.randn(2, 1, 24, 32)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    small = folded(net)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in small.modules())
    with torch.no_grad():
        wanted = net(x)
        assert wanted.std() > 0.01
        torch.testing.assert_close(small(x), wanted, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
