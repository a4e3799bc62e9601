"""Slices in a file are what they were in memory, and cleaning them up is what it is on whole arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from unoise_engine.models.clean_up import LARGEST_LOGIT, CleanUp
from unoise_engine.volume import scratch
from unoise_engine.volume.scratch import Scratch, room


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 0)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(9, 5, 7)).astype(np.float32)
    stack = Scratch(values.shape, tmp_path)
    stack[6:9], stack[0:6] = values[6:], values[:6]
    stack[4] = values[4] = -values[4]
    assert len(stack) == 9 and np.array_equal(np.stack([*stack]), values)
    assert np.array_equal(stack[3:7], values[3:7]) and np.array_equal(stack[8], values[8])
    for wrong in (9, slice(4, 4), slice(0, 9, 2)):
        with pytest.raises(IndexError):
            stack[wrong]
    with pytest.raises(ValueError, match="4 slices"):
        stack[0:4] = values[:5]


def test_what_was_not_written_is_no_slice(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="shorter"):
        Scratch((3, 4, 4), tmp_path)[0]


def test_few_slices_stay_in_memory_and_files_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(room((2, 3, 4), tmp_path), np.ndarray)
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 95)
    assert isinstance(room((2, 3, 4)), np.ndarray), "no folder was given"
    stack = room((2, 3, 4), tmp_path)
    assert isinstance(stack, Scratch)
    stack[0:2] = np.ones((2, 3, 4))
    del stack
    assert not list(tmp_path.iterdir())


def clean_at_once(how: Any, logits: Any, slice_mm: Any, pixel_mm: Any) -> Any:
    """The plain way, on whole arrays."""
    if (sigma := how.smooth_z_mm / slice_mm) >= 0.2:
        reach = int(np.ceil(3 * sigma))
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        sure = 1 / (1 + np.exp(-np.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT)))
        padded = np.pad(sure, ((reach, reach), (0, 0), (0, 0)), mode="edge")
        shifted = (w * padded[k : k + len(logits)] for k, w in enumerate(weights / weights.sum()))
        voted = np.clip(sum(shifted), 1e-7, 1 - 1e-7)
        logits = np.log(voted / (1 - voted)).astype(np.float32)
    logits = logits - np.float32(np.log(how.probability / (1 - how.probability)))
    found = logits > 0
    grow = [round(how.gap_mm / 2 / mm) for mm in (pixel_mm, pixel_mm, slice_mm)]
    image = sitk.BinaryDilate(sitk.GetImageFromArray(found.astype(np.uint8)), grow, sitk.sitkBox)
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
    weight = np.bincount(pieces[found], weights=1 / (1 + np.exp(-np.clip(logits[found], 0, 30))))
    weight[0] = 0
    drop = found & (pieces != weight.argmax())
    return np.where(drop, -logits, logits), np.count_nonzero(drop) / np.count_nonzero(found)


@pytest.mark.parametrize("folder", ["memory", "file"])
@pytest.mark.parametrize(("smooth", "probability"), [(0.0, 0.5), (2.0, 0.5), (4.0, 0.4)])
@pytest.mark.parametrize("seed", range(6))
def test_clean_up_is_that_of_whole_arrays_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: Any, smooth: Any, probability: Any, folder: Any
) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 0)
    random = np.random.default_rng(seed)
    logits = random.normal(-6, 1.5, (24, 32, 40)).astype(np.float32)
    for _ in range(7):  # pieces anywhere, some at the edge
        z, y, x = (int(random.integers(0, n)) for n in logits.shape)
        logits[z : z + 5, y : y + 6, x : x + 7] += random.uniform(7, 12)
    how = CleanUp(smooth_z_mm=smooth, probability=probability, one_piece=True, gap_mm=8)
    wanted, share = clean_at_once(how, logits, 2.5, 2.0)
    asked = room(logits.shape, tmp_path) if folder == "file" else logits.copy()
    asked[0 : len(logits)] = logits
    cleaned, dropped = how.apply(asked, 2.5, 2.0, tmp_path if folder == "file" else None)
    assert isinstance(cleaned, Scratch if folder == "file" else np.ndarray)
    assert np.array_equal(np.stack([*cleaned]), wanted) and dropped == share > 0
    assert np.array_equal(np.stack([*asked]), logits), "what is asked stays"


def test_no_organ_is_no_piece(tmp_path: Path, in_files: Any) -> None:
    logits = room((3, 8, 8), tmp_path)
    logits[0:3] = np.full((3, 8, 8), -1)
    cleaned, dropped = CleanUp(one_piece=True).apply(logits, 1, 1, tmp_path)
    assert np.array_equal(np.stack([*cleaned]), np.stack([*logits])) and dropped == 0
