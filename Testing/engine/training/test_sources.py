"""Several data folders in one training: shares, splits, structures that only some labels tell."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unoise_engine.errors import Usage
from unoise_engine.training.augment import erase, wash_out
from unoise_engine.training.cases import Case
from unoise_engine.training.draw import Mixture, Stream
from unoise_engine.training.learners import evenly, others_loss
from unoise_engine.training.recipes import Data, Draw
from unoise_engine.training.sources import open_sources, split_sources


def a_case(name: Any, source: Any, n: Any = 7, known: Any = ()) -> Any:
    organ = np.zeros((n, 24, 24), bool)
    organ[:, 4:9, 4:9] = True
    others = np.zeros((n, 24, 24), np.uint8) if any(known) else None
    if others is not None:
        others[:, 15:20, 15:20] = 2
    return Case(name, np.full((n, 24, 24), 10 * (source + 1), np.uint8), organ, others, known, source)


def test_every_stretch_has_its_shares_and_every_slice_its_turn() -> None:
    cases = [a_case("a", 0), a_case("b", 0, n=5), a_case("c", 1, n=30)]
    mixture = Mixture(cases, Draw(crop=16, empty_share=0), (0.75, 0.25), seed=3)
    drawn = [mixture[k] for k in range(240)]
    sources = np.array([cases[c].source for c, _ in drawn])
    assert abs(np.mean(sources == 1) - 0.25) < 0.02
    assert all(abs(np.mean(sources[i : i + 24] == 1) - 0.25) < 0.1 for i in range(0, 240, 24))
    first_pass = [d for d in drawn if cases[d[0]].source == 0][:12]
    assert len(set(first_pass)) == 12  # 7 + 5 slices, each once before any comes again
    assert drawn == [mixture[k] for k in range(240)]


def test_one_source_without_shares_is_drawn_as_it_comes() -> None:
    cases = [a_case("a", 0), a_case("b", 0)]
    mixture = Mixture(cases, Draw(crop=16, empty_share=0), (), seed=0)
    assert len({mixture[k] for k in range(14)}) == 14


def test_structures_unknown_to_a_slice_cost_nothing() -> None:
    cases = [a_case("a", 0, known=(False, False)), a_case("b", 1, known=(True, True))]
    stream = Stream(cases, Draw(crop=16, batch=8, empty_share=0, organ_crops=0), 0, lambda: 0, (0.5, 0.5))
    batch = next(iter(stream))
    assert batch["organ"].shape[1] == 3 and not batch["organ"][:, 1].any()
    real = torch.tensor([name.startswith("a") for name in batch["names"]])
    assert real.any() and not real.all()
    assert torch.equal(batch["known"][:, 1], ~real) and batch["known"][:, 0].all()
    y, known = batch["organ"][:, 1:].float(), batch["known"][:, 1:]
    logits = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    wild = logits.clone()
    wild[real] = 50.0
    assert torch.isclose(others_loss(logits, y, known), others_loss(wild, y, known))
    right = (y * 2 - 1) * 9
    assert others_loss(right, y, known) < 0.1 < others_loss(logits, y, known)
    assert torch.isfinite(others_loss(logits, y, torch.zeros_like(known)))


def test_erasing_takes_the_organ_out_of_image_and_mask() -> None:
    image = torch.full((2, 1, 20, 20), 0.6)
    organ = torch.zeros(2, 2, 20, 20, dtype=torch.bool)
    organ[:, 0, 5:10, 5:10] = True
    organ[:, 1, 15:, 15:] = True
    got, mask = erase(image, organ, torch.tensor([True, False]))
    assert got[0, 0, 7, 7] == 0 and not mask[0, 0].any() and torch.equal(mask[:, 1], organ[:, 1])
    assert torch.equal(got[1], image[1]) and torch.equal(mask[1], organ[1])
    assert torch.allclose(got[0, 0, 16:, 16:], image[0, 0, 16:, 16:])


@pytest.mark.parametrize("low", [0.0, -100.0])
def test_washing_out_leaves_fat_and_bone_and_takes_the_contrast(low: Any) -> None:
    """In a window that ends at 0 HU and in one that shows fat."""
    torch.manual_seed(0)
    fat, muscle, organ, vessel, bone = bands = (
        slice(0, 20),
        slice(20, 40),
        slice(40, 60),
        slice(60, 80),
        slice(80, 100),
    )
    image = torch.zeros(40, 1, 100, 30)
    for band, hu in zip(bands, (low, 55, 90, 160, 255)):
        image[:, :, band] = (hu - low) / (255 - low)
    image[:, :, fat, :15] = (low * 0.4 - low) / (255 - low)  # fat that is part tissue
    before = image.clone()
    got = wash_out(image, torch.arange(40) < 30, (low, 255.0))
    assert torch.equal(image, before) and torch.equal(got[30:], before[30:])  # the batch itself stays
    assert torch.equal(got[:, :, fat], before[:, :, fat])
    washed = got[:30, 0] * (255 - low) + low
    assert washed[:, bone].mean() > 245 and washed.max() <= 255.001
    means = torch.stack([washed[:, band].mean((1, 2)) for band in (muscle, organ, vessel)])
    assert means.min() > 15 and means.max() < 100  # HU: unenhanced soft tissue, not fat
    contrast = means[2] - means[1]
    assert (contrast.abs() < 40).all() and (contrast < 0).any() and (contrast > 0).any()  # 70 HU before
    grain = washed[:, organ].std((1, 2))
    assert grain.min() > 1.5 and grain.max() < 12 and grain.std() > 1


def test_evenly() -> None:
    case = a_case("a", 0, n=7)
    assert evenly(0) is None
    three, fifty = evenly(3), evenly(50)
    assert three is not None and three(case).tolist() == [0, 3, 6]
    assert fifty is not None and len(fifty(case)) == 7


def test_folders_are_split_each_by_its_own_patients(world: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(world, other)
    (other / "labels.json").write_text(json.dumps({"pancreas": 7, "spleen": 1}))
    data = Data(others=("spleen", "no_such_thing"), shares=(0.5, 0.5))
    sources = open_sources([world, other], data)
    assert sources[1].others == (1, None) and sources[0].numbers == (7,)
    split = split_sources(sources, data)
    for part in (split.train, split.val):
        assert {name.split("/")[0] for name in part} == {world.name, "other"}
    assert not set(split.train) & set(split.val)


def test_a_folder_of_one_patient_beside_others_only_teaches(world: Any, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in (*world.glob("case-0001-*"), world / "labels.json"):
        shutil.copy(path, alone)
    sources = open_sources([world, alone], Data())
    split = split_sources(sources, Data())
    assert "alone/case-0001" in split.train and split.val
    assert all(name.startswith(world.name) for name in (*split.val, *split.test))
    with pytest.raises(Usage, match="are of 1 patient"):
        split_sources(open_sources([alone], Data()), Data())
    again = tmp_path / "again"
    shutil.copytree(alone, again)
    with pytest.raises(Usage, match="every data folder - holds one patient"):
        split_sources(open_sources([alone, again], Data()), Data())


def test_what_does_not_fit_is_said(world: Any, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="same name"):
        open_sources([world, world], Data())
    with pytest.raises(Usage, match="2 shares for 1 data folders"):
        open_sources([world], Data(shares=(0.5, 0.5)))
    with pytest.raises(ValueError, match="organ itself"):
        Data(others=("pancreas",))
    with pytest.raises(ValueError, match="above 0"):
        Data(shares=(1.0, 0.0))
