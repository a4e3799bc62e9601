"""The nets of a bundle as torch modules again, from the weights its ONNX files hold.

Batch norms went into the convolutions when the bundle was made. They come back as identities, so that the nets have the
layers they were trained with and give the bundle's own numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from unoise_engine.errors import Usage
from unoise_engine.files import refuse_overlap
from unoise_engine.models.given import own
from unoise_engine.models.manifest import Manifest
from unoise_engine.models.segmenter import NEAR, NOISE
from unoise_engine.training import begun, runs
from unoise_engine.training.budgets import CoarseUNet
from unoise_engine.training.graph import STEP
from unoise_engine.training.near import NearNet
from unoise_engine.training.recipes import DEPTHS, Data, Fit, Net, Noise, UNoiseRecipe, UtilityFit, UtilityRecipe
from unoise_engine.training.split import Split
from unoise_engine.training.unet import UNet


def unpack(
    folder: Path, manifest: Manifest, split: Split, out: Path, unoise: Path | None = None, near: Path | None = None
) -> Path:
    """A verified bundle's utility as a finished run `out`, and its noise models as runs: algorithm 1 as `unoise`, the
    one that is told what was found as `near`. Raises Usage.

    Both can be trained further and exported again. `split` names the cases that taught, steered and judge them. What
    the bundle does not say - how they were trained, the outputs for other structures - is lost.
    """
    refuse_overlap(out, [folder])
    begun.check_free(out)
    wanted = {kind: run for kind, run in ((NOISE, unoise), (NEAR, near)) if run is not None}
    for run in wanted.values():
        refuse_overlap(run, [folder])
        begun.check_free(run)
    if len({run.resolve() for run in (out, *wanted.values())}) <= len(wanted):
        raise Usage(out, "is to hold several of the models", "give each a folder of its own")
    noise = {kind: rebuilt_unoise(folder, manifest, kind) for kind in wanted}
    utility = rebuilt_utility(folder, manifest)
    shape = Net(utility.depth, utility.first_channels)
    recipe = UtilityRecipe(UtilityFit(max_steps=1), own(manifest.recipe), shape, Data(manifest.organ))
    begun.begin(out, recipe, split)
    runs.replace_weights(out, utility)
    for kind, run in wanted.items():
        told = UNoiseRecipe(Fit(max_steps=1), told_of(folder, manifest, noise[kind]))
        begun.begin(run, told, split, runs.UtilityRun.open(out))
        runs.replace_weights(run, noise[kind])
    return out


def told_of(folder: Path, manifest: Manifest, noise: UNet | NearNet) -> Noise:
    """The recipe's [noise] of a bundle's noise model, as far as the bundle tells it."""
    with _told(folder):
        sizes = {depth: size for size, depth in DEPTHS.items()}
        shape: dict[str, Any] = {"size": sizes.get(noise.depth, "large"), "first_channels": noise.first_channels}
        shape |= {} if noise.depth in sizes else {"depth": noise.depth}
        cell = int(getattr(noise, "cell", 1))
        return Noise(**shape, cell=cell, near=isinstance(noise, NearNet), **manifest.architecture.get("noise", {}))


def rebuilt(folder: Path, manifest: Manifest) -> tuple[UNet, UNet | NearNet]:
    """Utility and first noise model of a verified bundle, in eval mode. Raises Usage for nets of another build."""
    kinds = [*manifest.noise_models]
    return rebuilt_utility(folder, manifest), rebuilt_unoise(folder, manifest, kinds[0] if kinds else NOISE)


def rebuilt_unoise(folder: Path, manifest: Manifest, kind: str) -> UNet | NearNet:
    """The noise model that answers NOISE or NEAR. Raises Usage."""
    if kind not in manifest.noise_models:
        what, there = {NOISE: "U-Noise", NEAR: "U-Noise (near)"}[kind], ", ".join(manifest.noise_models.values())
        raise Usage(folder, f"has no {what}", f"it has {there or 'no noise model'}")
    with _told(folder):
        stem = manifest.noise_models[kind]
        graph = onnx.load(folder / f"{stem}.onnx").graph
        told, channels = manifest.architecture[stem], own(manifest.recipe).channels
        depth, width, cell = (told.get(key, 1) for key in ("depth", "first_channels", "cell"))
        noise: UNet | NearNet
        if kind == NEAR:
            noise = NearNet(channels, depth, width, cell)
        else:
            noise = CoarseUNet(cell, channels, 1, depth, width) if cell > 1 else UNet(channels, 1, depth, width)
        _fill(noise, graph)
    return noise


def rebuilt_utility(folder: Path, manifest: Manifest) -> UNet:
    """The first of the two. Raises Usage."""
    with _told(folder):
        told = manifest.architecture["utility"]
        utility = UNet(own(manifest.recipe).channels, 1, told["depth"], told["first_channels"])
        _fill(utility, onnx.load(folder / "utility.onnx").graph)
    return utility


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, AttributeError, RuntimeError, StopIteration) as error:
        raise Usage(folder, f"its nets cannot be built again ({error})", "measure it without torch") from None


def _fill(net: nn.Module, graph: onnx.GraphProto) -> None:
    """Takes the stored weights by their names. Raises KeyError where one is missing."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    with torch.no_grad():
        for name, part in net.named_modules():
            if isinstance(part, nn.Conv2d):
                for kind, values in part.named_parameters():
                    step = stored.get(f"{name}.{kind}{STEP}", np.float32(1))
                    values.copy_(torch.from_numpy(stored[f"{name}.{kind}"].astype(np.float32) * step))
            elif isinstance(part, nn.BatchNorm2d):
                assert part.running_var is not None  # noqa: S101 - for the type checker
                part.running_var.fill_(1 - part.eps)
        if isinstance(net, NearNet):
            net.weight.fill_(stored["weight"].item())
            net.top.fill_(stored["top"].item())
    net.eval()
