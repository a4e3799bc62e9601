"""A run's folder: what was trained, on which cases, how far it came.

recipe.toml    every setting, defaults included        last.ckpt   the end of the last round, for going on
split.json     cases that learn, steer and judge       best.ckpt   the best validation, for use
utility.json   (U-Noise) the utility it explains       metrics.csv, logs/ (TensorBoard)
cases.json     what the CTs are known again by         finished.json  nothing is left to do
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from unoise_engine.errors import Environment, Integrity
from unoise_engine.files import new_file, sha256
from unoise_engine.training.budgets import CoarseUNet
from unoise_engine.training.checkpoints import BEST, network_weights, read_checkpoint
from unoise_engine.training.near import NearNet
from unoise_engine.training.recipes import FILE, Net, Noise, UNoiseRecipe, UtilityRecipe, read_recipe
from unoise_engine.training.split import Split
from unoise_engine.training.unet import UNet

UTILITY = "utility.json"
AnyNet = TypeVar("AnyNet", bound=nn.Module)


@dataclass(frozen=True)
class UtilityRun:
    """The folder `train utility` leaves: recipe, split, checkpoints."""

    folder: Path
    recipe: UtilityRecipe
    split: Split

    @staticmethod
    def open(folder: Path) -> UtilityRun:
        return UtilityRun(folder, read_recipe(present(folder, FILE), UtilityRecipe), Split.read(folder))

    def whole_net(self) -> UNet:
        """The best checkpoint's net with an output for the organ and each other structure, in eval mode on the CPU."""
        outputs = 1 + len(self.recipe.data.others)
        return filled(make_net(self.recipe.net, self.recipe.ct.channels, outputs), self.folder)

    def net(self) -> UNet:
        """The same net with the organ's output alone: what is explained and shipped."""
        whole = self.whole_net()
        net = make_net(self.recipe.net, self.recipe.ct.channels)
        kept = {name: v[:1] if name.startswith("head.") else v for name, v in whole.state_dict().items()}
        net.load_state_dict(kept)
        return net.eval()

    def fingerprint(self) -> str:
        """sha256 of the best checkpoint."""
        return sha256(present(self.folder, BEST))


@dataclass(frozen=True)
class UNoiseRun:
    """The folder `train unoise` leaves: recipe, split, checkpoints, and which utility it explains."""

    folder: Path
    recipe: UNoiseRecipe
    split: Split

    @staticmethod
    def open(folder: Path) -> UNoiseRun:
        return UNoiseRun(folder, read_recipe(present(folder, FILE), UNoiseRecipe), Split.read(folder))

    def net(self, channels: int) -> UNet | NearNet:
        """The best checkpoint's net for slices of that many channels, in eval mode on the CPU."""
        return filled(make_noise(self.recipe.noise, channels), self.folder)

    def check_explains(self, utility: UtilityRun) -> None:
        """Raises Integrity unless this noise model was trained against the utility's best checkpoint as it is now."""
        try:
            known = json.loads(present(self.folder, UTILITY).read_text("utf-8"))["sha256"]
        except (ValueError, KeyError, TypeError):
            known = ""
        if known != utility.fingerprint():
            raise Integrity(
                self.folder,
                f"explains another utility than {utility.folder / BEST}",
                "train U-Noise against this utility, or give the utility it was trained with",
            )


def make_net(shape: Net, channels: int, outputs: int = 1) -> UNet:
    """The utility of a recipe, its weights random."""
    return UNet(channels, outputs, shape.depth, shape.first_channels)


def make_noise(told: Noise, channels: int) -> UNet | NearNet:
    """The noise model of a recipe."""
    if told.near:
        return NearNet(channels, told.net.depth, told.net.first_channels, told.cell)
    if told.cell == 1:
        return make_net(told.net, channels)
    return CoarseUNet(told.cell, channels, 1, told.net.depth, told.net.first_channels)


def filled(net: AnyNet, run: Path) -> AnyNet:
    """The net with the best checkpoint's weights, in eval mode. Raises Integrity for damaged or foreign ones."""
    path = present(run, BEST)
    try:
        net.load_state_dict(network_weights(path))
    except RuntimeError:  # another shape
        raise Integrity(path, f"does not fit the net that {FILE} describes", "train the run again") from None
    return net.eval()


def is_settled(run: Path) -> bool:
    """Whether the best checkpoint holds weights alone, as `replace_weights` leaves it."""
    return "loops" not in read_checkpoint(present(run, BEST), "train the run again")


def replace_weights(run: Path, net: nn.Module) -> None:
    """Puts these weights, and nothing else, into the best checkpoint. Raises Environment if it cannot be written."""
    weights = {"state_dict": {f"net.{name}": values for name, values in net.state_dict().items()}}
    try:
        with new_file(run / BEST, replace=True) as draft, draft.path.open("wb") as drafted:
            torch.save(weights, drafted)  # given a path it would write down the draft's name
    except (OSError, RuntimeError) as e:  # torch tells a full disk by the latter
        raise Environment(run / BEST, f"cannot be written ({e})", "make room, then go on with --resume") from None


def present(run: Path, name: str) -> Path:
    if not (run / name).is_file():
        raise Environment(run, f"holds no {name}, so no finished round of training", "train it, or give another run")
    return run / name
