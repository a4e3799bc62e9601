"""Batches and their augmentation."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from unoise_engine.training.augment import augment, centre_crop
from unoise_engine.training.cases import Case
from unoise_engine.training.draw import Epoch, Stream, cut_size
from unoise_engine.training.recipes import Augment, Draw

WINDOW = (-160.0, 240.0)
STILL = Augment(
    rotate_deg=0.0, scale=0.0, shift_px=0.0, elastic_px=0.0, gain=0.0, offset=0.0, gamma=0.0, noise=0.0, blur=0.0
)


def a_case(name: Any = "a", n: Any = 10, with_organ: Any = 6, size: Any = 40) -> Any:
    """Every pixel of slice k reads 10 + k; the organ is a small square in the first slices."""
    organ = np.zeros((n, size, size), bool)
    organ[:with_organ, 30:34, 8:12] = True
    image = np.broadcast_to(10 + np.arange(n, dtype=np.uint8)[:, None, None], organ.shape)
    return Case(name, np.ascontiguousarray(image), organ)


def first(stream: Any, n: Any) -> Any:
    return list(islice(iter(stream), n))


def test_an_epoch_shows_every_organ_slice_once() -> None:
    epoch = Epoch([a_case("a"), a_case("b", n=8, with_organ=3)], Draw(empty_share=0.25))
    order = epoch.order(seed=0, epoch=0)
    assert len(order) == len(epoch) == 12  # 9 with organ and 3 without
    assert sorted(x for x in order if x in epoch.organ) == sorted(epoch.organ)
    assert order != epoch.order(seed=0, epoch=1) != epoch.order(seed=1, epoch=1)


def test_the_same_step_gives_the_same_batch() -> None:
    """Whoever starts at step 3 sees what the unbroken stream showed there."""
    cases, draw = [a_case("a"), a_case("b", size=56)], Draw(crop=16, batch=4)
    whole = first(Stream(cases, draw, 0, lambda: 0), 6)
    late = first(Stream(cases, draw, 0, lambda: 3), 3)
    for a, b in zip(whole[3:], late):
        assert a["names"] == b["names"]
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["organ"], b["organ"])
    assert whole[0]["names"] != whole[1]["names"]


def test_crops_are_of_one_size_and_show_their_slice() -> None:
    batch = first(Stream([a_case("a"), a_case("b", size=56)], Draw(crop=32, batch=8), 0, lambda: 0), 1)[0]
    assert batch["image"].shape == batch["organ"].shape == (8, 1, cut_size(32), cut_size(32))
    for image, name in zip(batch["image"], batch["names"]):
        k = int(name.split()[-1]) - 1  # names count from 1
        assert set(image.unique().tolist()) <= {0, 10 + k}  # air beyond the slice


def test_aimed_crops_hold_the_organ() -> None:
    draw = Draw(crop=16, batch=16, empty_share=0.0, organ_crops=1.0)
    for batch in first(Stream([a_case(size=80)], draw, 0, lambda: 0), 5):
        assert centre_crop(batch["organ"], 16).flatten(1).any(1).all()


def test_a_slice_smaller_than_the_crop_is_padded() -> None:
    batch = first(Stream([a_case(size=40)], Draw(crop=96, batch=4), 0, lambda: 0), 1)[0]
    inside = centre_crop(batch["image"], 96) > 0
    assert inside.flatten(1).sum(1).tolist() == [40 * 40] * 4


def test_no_change_is_the_centre_crop() -> None:
    image, organ = torch.rand(3, 1, 40, 40), torch.rand(3, 1, 40, 40) > 0.5
    got, mask = augment(image, organ, 32, STILL, WINDOW)
    torch.testing.assert_close(got, centre_crop(image, 32), rtol=0, atol=1e-5)
    assert torch.equal(mask, centre_crop(organ, 32))


@pytest.mark.parametrize("flip", [False, True])
def test_the_mask_moves_with_the_image(flip: Any) -> None:
    organ = torch.zeros(16, 1, 80, 80, dtype=torch.bool)
    organ[..., 30:46, 44:56] = True
    still = {**vars(STILL), "rotate_deg": 20.0, "scale": 0.2, "shift_px": 5.0, "elastic_px": 0.5, "flip": flip}
    torch.manual_seed(0)
    image, mask = augment(organ.float(), organ, 64, Augment(**still), WINDOW)
    assert torch.equal(image > 0.5, mask)
    assert not torch.equal(mask[0], mask[1])
    areas = mask.flatten(1).sum(1) / organ[0].sum()
    assert areas.min() > 0.6 and areas.max() < 1.7  # scale 0.8 .. 1.2, squared


def test_no_flip_unless_asked() -> None:
    """A mark on the right stays on the right."""
    organ = torch.zeros(64, 1, 80, 80, dtype=torch.bool)
    organ[..., 36:44, 60:66] = True
    _, mask = augment(organ.float(), organ, 64, Augment(rotate_deg=5, shift_px=2), WINDOW)
    assert mask[..., :32].sum() == 0 and mask[..., 32:].flatten(1).any(1).all()


def test_intensities_stay_in_the_window() -> None:
    torch.manual_seed(0)
    image, _ = augment(torch.rand(8, 1, 40, 40), torch.zeros(8, 1, 40, 40), 32, Augment(), WINDOW)
    assert image.min() >= 0 and image.max() <= 1 and image.isfinite().all()
