from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from Testing.engine.training.world import lively_net
from unoise_engine.training.fold import rounded
from unoise_engine.training.gradcam_graph import explained_model, gradcam_by_autograd


def opened(net: Any) -> Any:
    return onnxruntime.InferenceSession(explained_model(net).SerializeToString(), providers=["CPUExecutionProvider"])


def targets(logits: Any) -> Any:
    """Some in the middle, some at a border and in a corner, where the window is cut off."""
    pixel, corner = np.zeros_like(logits), np.zeros_like(logits)
    pixel[:, :, 25, 47] = 1
    corner[:, :, 60:, :3] = 1
    edge = np.roll(corner, 30, axis=3)
    one_slice = pixel * np.array([0, 1, 0], np.float32)[:, None, None, None]
    return {
        "own": None,
        "all": np.ones_like(logits),
        "pixel": pixel,
        "minus": -pixel,
        "corner": corner,
        "edge": -edge,
        "both": corner + pixel,
        "one slice": one_slice,
    }


@pytest.mark.parametrize("which", ["own", "all", "pixel", "minus", "corner", "edge", "both", "one slice"])
def test_the_forward_graph_equals_autograd(which: Any) -> None:
    telling = close = 0
    for seed in range(4):
        net = rounded(lively_net(seed, depth=4))
        torch.manual_seed(100 + seed)
        x = torch.randn(3, 1, 64, 80)
        logits = net(x).detach().numpy()
        target = targets(logits)[which]
        score = (logits > 0).astype(np.float32) if target is None else target
        wanted = gradcam_by_autograd(net, x, torch.from_numpy(score), coarse=True).numpy()
        feeds = {"slices": x.numpy()} | ({} if target is None else {"target": target})
        said, got = opened(net).run(["logits", "gradcam"], feeds)
        assert got.shape == (3, 1, 8, 10) and got.min() >= 0
        # A gate whose input is zero to rounding may open on one side alone, which moves a mean over few pixels: most
        # seeds have no such gate and agree closely.
        apart = np.abs(got - wanted).max() / max(wanted.max(), 1e-6)
        assert apart < 0.05
        close += apart < 1e-4
        np.testing.assert_allclose(said, logits, rtol=0, atol=1e-4 * np.abs(logits).max())
        telling += bool(wanted.max() > 0)
    assert close >= 2
    assert telling >= 2, "the reference was zero nearly everywhere: the test says nothing"


def test_the_way_back_is_a_small_part_of_a_pass(tmp_path: Path) -> None:
    """Counted in the graph that runs: for an organ that fills a hundredth of the slice, at most a tenth more work."""
    from unoise_engine.models.profile import counted

    content = explained_model(rounded(lively_net(0, depth=5))).SerializeToString()

    class Opens:
        def _open(self, model: Any, adjust: Any) -> Any:
            options = onnxruntime.SessionOptions()
            adjust(options)
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    slices = np.random.default_rng(0).normal(size=(1, 1, 256, 256)).astype(np.float32)
    organ = np.zeros_like(slices)
    organ[..., 110:136, 90:116] = 1
    nothing = np.zeros((1, 1, 1, 1), np.float32)
    opens: Any = Opens()
    with_map, without = (counted(opens, "utility", {"slices": slices, "target": t}) for t in (organ, nothing))
    assert 1 < with_map / without < 1.1


def test_no_target_no_map() -> None:
    net = rounded(lively_net(0, depth=3))
    feeds = {"slices": np.ones((2, 1, 16, 16), np.float32)}
    session = opened(net)
    assert not session.run(["gradcam"], {**feeds, "target": np.zeros((1, 1, 1, 1), np.float32)})[0].any()
    assert session.run(["gradcam"], {**feeds, "target": np.ones((2, 1, 16, 16), np.float32)})[0].shape == (2, 1, 4, 4)


def test_a_net_by_hand() -> None:
    """Depth 2, every convolution the identity on channel 0: alpha = mean of the target over a deep pixel's four."""
    net = lively_net(0, depth=2, first_channels=1)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.zero_(), part.running_var.fill_(1 - part.eps), part.bias.zero_(), part.weight.fill_(1)
            if isinstance(part, nn.Conv2d):
                assert part.bias is not None
                part.weight.zero_(), part.bias.zero_()
                part.weight[0, 0, part.weight.shape[2] // 2, part.weight.shape[3] // 2] = 1
    x = torch.rand(1, 1, 4, 4) + 0.5
    target = np.zeros((1, 1, 4, 4), np.float32)
    target[..., :3] = 1
    alpha = target.sum() / 4  # every pixel of the target pulls on one deep pixel; there are four
    wanted = alpha * nn.functional.max_pool2d(x, 2).numpy()
    got = opened(rounded(net)).run(["gradcam"], {"slices": x.numpy(), "target": target})[0]
    assert wanted.min() > 0
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
