import math
from typing import Any

import pytest
import torch
from torch import nn

from Testing.engine.training.world import lively_net
from unoise_engine.training import unoise
from unoise_engine.training.unoise import NoiseConfig, freeze, importance, training_step, unoise_loss


class Constant(nn.Module):
    """Answers with one logit per pixel, the same everywhere."""

    def __init__(self, z: float) -> None:
        super().__init__()
        self.z = nn.Parameter(torch.tensor(z))

    def forward(self, x: Any) -> Any:
        return self.z.expand(len(x), 1, *x.shape[2:])


class Mean(nn.Module):
    """A utility whose logit is the mean of the channels."""

    def forward(self, x: Any) -> Any:
        return x.mean(1, keepdim=True)


def test_the_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", lambda t: torch.full_like(t, 0.5))  # eps
    x, y = torch.full((1, 2, 1, 2), 0.3), torch.tensor([[[[1.0, 0.0]]]])
    cfg = NoiseConfig(sigma_min=1, sigma_max=5, noise_reward=0.1)
    b = 1 / (1 + math.exp(1.2))  # z = -1.2
    logit = 0.3 + (1 + 4 * b) * 0.5  # sigma eps, shared by both channels
    bce = (math.log(1 + math.exp(-logit)) + math.log(1 + math.exp(logit))) / 2  # y = 1, y = 0
    wanted = bce - 0.1 * math.log(b)
    assert unoise_loss(Mean(), Constant(-1.2), x, y, cfg).item() == pytest.approx(wanted, rel=1e-6)


def test_the_gradient_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", lambda t: torch.full_like(t, 0.5))
    noise, cfg = Constant(-1.2), NoiseConfig(1, 5, 0.1)
    unoise_loss(Mean(), noise, torch.full((1, 1, 1, 1), 0.3), torch.ones(1, 1, 1, 1), cfg).backward()
    b = 1 / (1 + math.exp(1.2))
    logit = 0.3 + (1 + 4 * b) * 0.5
    d_logit = 1 / (1 + math.exp(-logit)) - 1  # of the cross entropy at y = 1
    wanted = d_logit * 0.5 * 4 * b * (1 - b) - 0.1 * (1 - b)
    assert noise.z.grad is not None and noise.z.grad.item() == pytest.approx(wanted, rel=1e-5)


def test_one_draw_is_shared_by_the_channels() -> None:
    x = torch.zeros(2, 3, 8, 8)
    noisy = unoise.add_noise(x, torch.zeros(2, 1, 8, 8), NoiseConfig())
    assert noisy.std() > 1
    assert torch.equal(noisy[:, 0], noisy[:, 2])


def test_only_the_noise_model_learns() -> None:
    utility, noise = freeze(lively_net(0)), lively_net(1).train()
    before = {k: v.clone() for k, v in utility.state_dict().items()}  # batch-norm statistics included
    first = [p.clone() for p in noise.parameters()]
    torch.manual_seed(2)
    x = torch.randn(4, 1, 16, 16)
    optimiser = torch.optim.Adam(noise.parameters(), 1e-2)
    cfg, losses = NoiseConfig(noise_reward=0.1), []
    for _ in range(30):
        torch.manual_seed(3)  # the same noise, so that losses compare
        losses.append(training_step(utility, noise, optimiser, x, (x > 0).float(), cfg))
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(v, before[k]) for k, v in utility.state_dict().items())
    assert sum(not torch.equal(a, b) for a, b in zip(first, noise.parameters())) > len(first) / 2
    assert not utility.training and noise.training


def test_each_step_goes_down_its_own_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain descent, by hand: gradients of earlier steps are not carried along, and the loss told is the step's own."""
    monkeypatch.setattr(torch, "randn_like", lambda t: torch.full_like(t, 0.5))
    utility, noise, cfg = freeze(Mean()), Constant(-1.2), NoiseConfig(1, 5, 0.1)
    x, y = torch.full((2, 1, 4, 4), 0.3), torch.ones(2, 1, 4, 4)
    optimiser, z = torch.optim.SGD(noise.parameters(), 2.0), -1.2
    for _ in range(3):
        this = torch.tensor(z, requires_grad=True)
        loss = unoise.loss_of(utility, this.expand(2, 1, 4, 4), x, y, cfg)
        loss.backward()
        assert this.grad is not None
        z = z - 2.0 * this.grad.item()
        assert training_step(utility, noise, optimiser, x, y, cfg) == pytest.approx(loss.item(), rel=1e-6)
        assert noise.z.item() == pytest.approx(z, rel=1e-5)


def test_a_frozen_utility_has_no_gradients_to_keep() -> None:
    utility = freeze(lively_net(0).train())
    assert not any(p.requires_grad for p in utility.parameters()) and not any(m.training for m in utility.modules())


def test_the_published_settings() -> None:
    assert NoiseConfig() == NoiseConfig(sigma_min=1.0, sigma_max=5.0, noise_reward=1e-3)
    NoiseConfig(sigma_min=0.0)  # no noise at least is allowed


def test_importance_is_minus_z() -> None:
    noise, x = lively_net(1), torch.randn(2, 1, 16, 16)
    assert importance(noise, x).std() > 0
    assert torch.equal(importance(noise, x), -noise(x))


@pytest.mark.parametrize("wrong", [{"sigma_min": 5.0}, {"sigma_min": -1.0}, {"noise_reward": 0.0}])
def test_impossible_constants(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NoiseConfig(**wrong)


def test_the_paper_fits_on_a_page() -> None:
    with open(unoise.__file__, encoding="utf-8") as f:
        assert len(f.readlines()) <= 90
