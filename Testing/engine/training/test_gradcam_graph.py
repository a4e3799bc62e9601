import pytest
import torch
from torch import nn

from Testing.engine.training.world import lively_net
from unoise_engine.training.fold import folded
from unoise_engine.training.gradcam_graph import GradCAMGraph, gradcam_by_autograd, pull_back


def targets(logits):
    one_pixel = torch.zeros_like(logits)
    one_pixel[:, :, 5, 7] = 1
    return {"organ": (logits > 0).float(), "all": torch.ones_like(logits), "pixel": one_pixel, "minus": -one_pixel}


@pytest.mark.parametrize("which", ["organ", "all", "pixel", "minus"])
@pytest.mark.parametrize("fold", [False, True])
def test_the_forward_graph_equals_autograd(which, fold):
    telling = 0
    for seed in range(6):
        net = lively_net(seed, depth=4)
        net = folded(net) if fold else net
        x = torch.randn(3, 1, 24, 32)
        target = targets(net(x).detach())[which]
        wanted = gradcam_by_autograd(net, x, target)
        got = GradCAMGraph(net)(x, target).detach()
        assert got.shape == (3, 1, 24, 32) and got.min() >= 0
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * max(wanted.max().item(), 1e-6))
        telling += bool(wanted.max() > 0)
    assert telling >= 2, "the reference was zero nearly everywhere: the test says nothing"


def test_a_net_by_hand():
    """Depth 2, every convolution the identity on channel 0: alpha = mean of the target over a deep pixel's four."""
    net = lively_net(0, depth=2, first_channels=1)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.zero_(), part.running_var.fill_(1 - part.eps), part.bias.zero_(), part.weight.fill_(1)
            if isinstance(part, nn.Conv2d):
                part.weight.zero_(), part.bias.zero_()
                part.weight[0, 0, part.weight.shape[2] // 2, part.weight.shape[3] // 2] = 1
    x = torch.rand(1, 1, 4, 4) + 0.5
    target = torch.zeros_like(x)
    target[..., :3] = 1
    alpha = target.sum() / 4  # every pixel of the target pulls on one deep pixel; there are four
    deep = nn.functional.max_pool2d(x, 2)
    wanted = nn.functional.interpolate(alpha * deep, size=(4, 4), mode="bilinear", align_corners=False)
    assert wanted.min() > 0
    torch.testing.assert_close(GradCAMGraph(net)(x, target), wanted)


def test_an_unknown_layer_is_named():
    with pytest.raises(TypeError, match="GELU"):
        pull_back(nn.GELU(), torch.zeros(1), torch.zeros(1))
