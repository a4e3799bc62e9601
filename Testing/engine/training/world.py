"""A small world: CTs with one bright ball (label 7) in a soft body, a few kilobytes each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import nn

from unoise_engine.models.recipe import Recipe
from unoise_engine.training.recipes import Augment, Data, Draw, Fit, Net, Noise, UNoiseRecipe, UtilityFit, UtilityRecipe
from unoise_engine.training.unet import UNet


def save(voxels: np.ndarray, path: Path, spacing_mm: Any = (2.0, 2.0, 5.0), origin_mm: Any = (0.0, 0.0, 0.0)) -> None:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin_mm)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def ball(seed: int, size: int = 40, slices: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """HU int16 and labels uint8, (slices, size, size): 3 = the body, 7 = a ball at a place that depends on the seed."""
    random = np.random.default_rng(seed)
    z, y, x = np.mgrid[:slices, :size, :size]
    cy, cx = random.uniform(0.4, 0.6, 2) * size
    body = (y - size / 2) ** 2 + (x - size / 2) ** 2 < (0.45 * size) ** 2
    organ = (y - cy) ** 2 + (x - cx) ** 2 + (3 * (z - slices / 2)) ** 2 < (0.2 * size) ** 2
    hu = np.where(organ, 180, np.where(body, 0, -1000)) + random.normal(0, 10, body.shape)
    return hu.astype(np.int16), np.where(organ, 7, np.where(body, 3, 0)).astype(np.uint8)


def write_case(folder: Path, name: str, seed: int, **shape: int) -> None:
    hu, labels = ball(seed, **shape)
    save(hu, folder / f"{name}-ct.nii.gz")
    save(labels, folder / f"{name}-labels.nii.gz")


def write_world(folder: Path, patients: int = 5) -> Path:
    """Patients of two sizes, and the names of the labels."""
    for k in range(patients):
        write_case(folder, f"case-{k:04d}", seed=k, size=40 + 8 * (k % 2))
    (folder / "labels.json").write_text(json.dumps({"body": 3, "pancreas": 7}))
    return folder


def lively_net(seed: int = 0, **shape: int) -> UNet:
    """A random U-Net in eval mode with batch-norm statistics and logits of both signs, of spread about 1.

    He initialisation keeps the signal alive from layer to layer; torch's default lets it die in so small a net.
    """
    torch.manual_seed(seed)
    net = UNet(**{"in_channels": 1, "depth": 3, "first_channels": 4, **shape})
    x = torch.randn(4, net.in_channels, 32, 32)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.3)
                part.momentum = None  # statistics become the plain mean over the calls
        for _ in range(4):
            net(torch.randn_like(x))
        net.eval()
        net.head.bias -= net(x).mean()
    return net


def utility_recipe(**fit: Any) -> UtilityRecipe:
    settings: dict[str, Any] = {"max_steps": 8, "round_steps": 4, **fit}
    return UtilityRecipe(
        fit=UtilityFit(**settings),
        ct=Recipe(multiple_of=4),
        net=Net(depth=3, first_channels=4),
        data=Data(val_share=0.2, test_share=0.2),
        draw=Draw(crop=32, batch=4),
        augment=Augment(shift_px=2, elastic_px=0.5),
    )


def unoise_recipe(**fit: Any) -> UNoiseRecipe:
    settings: dict[str, Any] = {"max_steps": 8, "round_steps": 4, "weight_decay": 0.0, **fit}
    return UNoiseRecipe(fit=Fit(**settings), noise=Noise(size="small"), draw=Draw(crop=32, batch=4))
