"""The planted rule, read back from the finished CT and labels and not from what drew them."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from unoise_engine.lab.phantom.planted import FAR_MM, FIELD_MM, LABELS, NEAR_MM, SPOT_MM, lay_out, plant
from unoise_engine.lab.phantom.write import write_phantoms

SIZE, SLICES = 144, 12
STEP = FIELD_MM / SIZE


def gap_mm(a: Any, b: Any) -> Any:
    """Between the nearest pixels of two masks."""
    p, q = np.argwhere(a), np.argwhere(b)
    return STEP * np.sqrt(((p[:, None] - q[None]) ** 2).sum(-1)).min()


def parts(mask: Any) -> Any:
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    found = [numbered == k for k in range(1, numbered.max() + 1)]
    return [part for part in found if part.sum() > 3]


def test_targets_have_a_landmark_near_and_decoys_have_none() -> None:
    seen = {"target": 0, "decoy": 0, "landmark": 0, "decoy_landmark": 0}
    for seed in range(3):
        for labels in plant(seed, size=SIZE, slices=SLICES).labels.voxels:
            mask = {name: labels == number for name, number in LABELS.items()}
            spots = mask["landmark"] | mask["decoy_landmark"]
            for part in parts(mask["target"]):
                seen["target"] += 1
                assert gap_mm(part, mask["landmark"]) < NEAR_MM[1] - SPOT_MM + 2 * STEP
            for part in parts(mask["decoy"]):
                seen["decoy"] += 1
                assert not spots.any() or gap_mm(part, spots) > FAR_MM - SPOT_MM - 2 * STEP
            seen["landmark"] += len(parts(mask["landmark"]))
            assert mask["target"].any() == mask["landmark"].any()
            seen["decoy_landmark"] += len(parts(mask["decoy_landmark"]))
    assert min(seen.values()) > 10, seen


def test_target_and_decoy_look_alike() -> None:
    """So do both kinds of spot: means over many agree within their spread."""
    values: dict[str, list[Any]] = {name: [] for name in LABELS}
    for seed in range(4):
        phantom = plant(seed, size=SIZE, slices=SLICES)
        for name, number in LABELS.items():
            for hu, labels in zip(phantom.ct.voxels, phantom.labels.voxels):
                values[name] += [hu[part].mean() for part in parts(labels == number)]
    for one, other in (("target", "decoy"), ("landmark", "decoy_landmark")):
        assert abs(np.mean(values[one]) - np.mean(values[other])) < 12
    assert np.mean(values["landmark"]) - np.mean(values["target"]) > 40


def test_same_seed_same_bytes_and_an_organ_changes_its_part() -> None:
    a, b = plant(7, size=SIZE, slices=SLICES), plant(7, size=SIZE, slices=SLICES)
    np.testing.assert_array_equal(a.ct.voxels, b.ct.voxels)
    np.testing.assert_array_equal(a.labels.voxels, b.labels.voxels)
    counts = [(a.labels.voxels == LABELS[name]).sum(axis=(1, 2)) for name in ("target", "decoy")]
    assert all(count.max() > 0 for count in counts) and len(set((counts[0] > 0).tolist())) == 2


def test_every_scene_has_a_target() -> None:
    for seed in range(50):
        scene = lay_out(np.random.default_rng(seed), 60.0)
        assert scene.spots[0].organ == 0 and sum(spot.organ < 0 for spot in scene.spots) == 2


def test_written_like_other_phantoms(tmp_path: Path) -> None:
    (ct,) = write_phantoms(tmp_path, 1, seed=3, size=64, slices=8, planted=True)
    assert '"decoy_landmark": 4' in (tmp_path / "labels.json").read_text("utf-8")
    assert sitk.ReadImage(str(ct)).GetSize() == (64, 64, 8)
