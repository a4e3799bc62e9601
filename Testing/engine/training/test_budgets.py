"""The loss over sampled shares: what is kept, where the gradient goes, and that it teaches where the organ is."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from Testing.engine.training.world import lively_net
from unoise_engine.training.budgets import (
    Budgets,
    CoarseUNet,
    budget_loss,
    draw_shares,
    hide,
    keep_best,
    own_prediction,
    wandered,
)
from unoise_engine.training.recipes import Noise


def test_the_best_pixels_are_kept_and_the_threshold_learns() -> None:
    importance = torch.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
    keep = keep_best(importance, torch.tensor([0.25]), 0.3)
    assert keep.detach().flatten().tolist() == [0.0] * 12 + [1.0] * 4
    keep.sum().backward()
    assert importance.grad is not None
    steep = importance.grad.flatten()
    assert (steep >= 0).all() and steep[12] == steep.max() > 3 * steep[0]  # most at the threshold


def test_every_image_has_its_own_share() -> None:
    importance = torch.randn(3, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    keep = keep_best(importance, torch.tensor([0.1, 0.5, 0.9]), 0.3)
    assert keep.mean((1, 2, 3)).tolist() == pytest.approx([0.1, 0.5, 0.9])
    torch.manual_seed(0)
    shares = draw_shares(2000, Budgets(0.02, 0.5), torch.device("cpu"))
    assert shares.min() >= 0.02 and shares.max() <= 0.5
    by_grey, by_noise = shares[::2], shares[1::2]
    assert by_grey.log().mean().item() == pytest.approx(np.log(0.1), abs=0.06)  # log-uniform: the geometric middle
    assert by_noise.mean().item() == pytest.approx(0.26, abs=0.01)


def test_what_is_shown_anyway_neither_counts_nor_learns() -> None:
    importance = torch.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
    shown = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    shown[..., 0, 0] = shown[..., 3, 3] = shown[..., 3, 2] = True  # the least and the two most important pixels
    share = torch.tensor([3 / 13])
    keep = keep_best(importance, share, 0.3, shown)
    assert keep.detach().flatten().nonzero().flatten().tolist() == [0, 11, 12, 13, 14, 15]
    keep.sum().backward()
    assert importance.grad is not None
    steep = importance.grad.flatten()
    assert steep[[0, 14, 15]].tolist() == [0, 0, 0] and steep[11] == steep.max() > 0
    assert keep_best(importance, share, 0.3, ~shown).mean() == 14 / 16  # of three, a share of 3/13 is one


def test_hidden_by_grey_and_by_noise_in_turn() -> None:
    x, keep = torch.ones(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    keep[..., :32] = 1
    hidden = hide(x, keep, 5.0)
    assert (hidden[:, :, :, :32] == 1).all()
    assert (hidden[0, :, :, 32:] == 0).all()
    noise = hidden[1, :, :, 32:] - 1
    assert noise.std().item() == pytest.approx(5, rel=0.1)
    assert torch.equal(noise[0], noise[1])  # one draw a pixel, shared by the channels


class Ball(nn.Module):
    """Finds organ where the mean over 5 x 5 pixels is high: it needs to see that place and no other."""

    def forward(self, x: Any) -> Any:
        return 10 * (nn.functional.avg_pool2d(x.mean(1, keepdim=True), 5, 1, 2) - 0.5)


def test_chance_shows_places_that_the_map_does_not_ask_for() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(32.0)[None, None, :, None].expand(400, 1, 32, 32)
    low = (..., slice(8, 16), slice(None))  # one to two standard deviations below the best eighth
    share = torch.full((400,), 1 / 8)
    assert keep_best(wandered(ramp, Budgets(wander=0.0)), share, 0.3)[low].sum() == 0
    seen = keep_best(wandered(ramp, Budgets(wander=1.5)), share, 0.3)
    assert 0.005 < seen[low].mean() < 0.12
    assert seen[:, :, 28:].mean() > 0.4
    larger = wandered(100 * ramp, Budgets(wander=1.5)) - 100 * ramp  # in proportion to the map, not to its unit
    smaller = wandered(ramp, Budgets(wander=1.5)) - ramp
    assert larger.std() / smaller.std() == pytest.approx(100, rel=0.2)


def test_the_map_learns_to_keep_the_organ() -> None:
    """A map of one logit a pixel, trained by the loss alone, ends on the ball and its margin."""
    torch.manual_seed(1)
    x = torch.zeros(8, 1, 24, 24)
    x[:, :, 6:14, 9:17] = 1
    utility = Ball()
    y = own_prediction(utility, x)
    assert y[0].sum() > 30 and not y.requires_grad
    z = (0.01 * torch.randn(1, 1, 24, 24)).requires_grad_()
    optimiser = torch.optim.Adam([z], 0.05)
    for _ in range(150):
        loss = budget_loss(utility, z.expand(8, 1, 24, 24), x, y, 5.0, Budgets(0.1, 0.5))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    best = keep_best(-z.detach(), torch.tensor([0.12]), 0.3)[0, 0] > 0
    assert best[4:16, 7:19].sum() > 0.5 * best.sum()  # by chance: a quarter


def test_a_coarse_map_is_the_mean_over_cells() -> None:
    torch.manual_seed(0)
    plain = lively_net(first_channels=4)
    coarse = CoarseUNet(8, 1, 1, 3, 4).eval()
    coarse.load_state_dict(plain.state_dict())
    x = torch.randn(2, 1, 32, 48)
    with torch.no_grad():
        z, fine = coarse(x), plain(x)
    assert z.shape == fine.shape
    assert z.mean().item() == pytest.approx(fine.mean().item(), abs=0.02 * fine.std().item() + 1e-3)
    assert z[:, :, :, 1:].sub(z[:, :, :, :-1]).abs().max() < fine[:, :, :, 1:].sub(fine[:, :, :, :-1]).abs().max()
    middle = z[0, 0, 11:13, 11:13].mean()  # around the middle of the cell 8 .. 16
    assert middle.item() == pytest.approx(fine[0, 0, 8:16, 8:16].mean().item(), abs=0.3 * fine.std().item())


def test_budgets_must_rise() -> None:
    with pytest.raises(ValueError, match="must rise"):
        Budgets(0.5, 0.1)


class Undecided(nn.Module):
    """One half, everywhere."""

    def forward(self, x: Any) -> Any:
        return 0 * x


def test_the_loss_by_hand() -> None:
    """Cross-entropy log 2, and the dice of a half with a quarter of 64 pixels, each side with 1 for empty organs."""
    x, y = torch.ones(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    y[0, :, :4, :4] = 1
    loss = budget_loss(
        Undecided(), torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), x, y, 5.0, Budgets()
    )
    dices = [(2 * 0.5 * 16 + 1) / (32 + 16 + 1), (0 + 1) / (32 + 0 + 1)]
    assert loss.item() == pytest.approx(np.log(2) + 1 - np.mean(dices), rel=1e-5)


def test_a_recipe_that_says_nothing_trains_as_the_shipped_models_were() -> None:
    assert Noise().budgets == Budgets(low=0.02, high=0.7, softness=0.5, wander=1.5, knot=4)
