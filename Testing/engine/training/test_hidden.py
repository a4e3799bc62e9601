"""Training slices of which most is hidden."""

from typing import Any

import torch

from unoise_engine.training.hidden import SIGMA, partly_hidden

N, SIDE = 400, 48


def world() -> Any:
    torch.manual_seed(0)
    x = 1 + 0.1 * torch.randn(N, 1, SIDE, SIDE)
    y = torch.zeros(N, 2, SIDE, SIDE, dtype=torch.bool)
    y[:, 0, 20:28, 20:28] = True
    y[:, 1, :, :] = True
    return x, y


def test_a_share_of_the_slices_is_hidden_by_grey_or_noise_and_the_others_stay_as_they_were() -> None:
    x, y = world()
    hidden, target = partly_hidden(x, y, 0.4)
    changed = (hidden != x).flatten(1).any(dim=1)
    assert 0.3 < changed.float().mean() < 0.5
    torch.testing.assert_close(target[~changed], y[~changed])
    grey, noise = hidden[0::2][changed[0::2]], hidden[1::2][changed[1::2]]
    assert (grey == 0).float().mean() > 0.3
    assert (noise == 0).sum() == 0
    assert noise[noise > 3].mean() > 4  # some of sigma 5
    assert hidden.std() < SIGMA


def test_what_is_hidden_is_no_target_and_what_is_visible_is_one() -> None:
    x, y = world()
    hidden, target = partly_hidden(x, y, 1.0)
    gone = hidden[0::2] == 0  # of those hidden by grey it can be read off
    assert not (target[0::2] & gone).any()
    assert (target[0::2] | gone)[:, 1].all()
    share = (~gone).flatten(1).float().mean(dim=1)
    assert share.min() < 0.02
    assert share.max() > 0.5  # log-uniform up to 0.7
    near = target[0::2, 0].float().sum((1, 2)) / 64  # patches are drawn to the organ
    assert near.mean() > 1.3 * share.mean()
