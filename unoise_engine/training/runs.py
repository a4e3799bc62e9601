"""A run's folder: what was trained, on which cases, how far it came.

recipe.toml    every setting, defaults included        last.ckpt   the end of the last round, for going on
split.json     cases that learn, steer and judge       best.ckpt   the best validation, for use
utility.json   (U-Noise) the utility it explains       metrics.csv, logs/ (TensorBoard)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.files import new_file, refuse_strangers, sha256, write_json
from unoise_engine.training.budgets import CoarseUNet
from unoise_engine.training.checkpoints import BEST, LAST, METRICS
from unoise_engine.training.learners import network_weights
from unoise_engine.training.near import NearNet
from unoise_engine.training.recipes import FILE, Net, Noise, UNoiseRecipe, UtilityRecipe, read_recipe, write_recipe
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


def bind(run: Path, utility: UtilityRun) -> None:
    """Writes down which utility a noise model explains."""
    write_json(run / UTILITY, {"sha256": utility.fingerprint()})


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
    path = present(run, BEST)
    try:
        net.load_state_dict(network_weights(path))
    except Exception as e:  # torch raises a dozen kinds for a damaged or foreign file
        raise Environment(path, "is damaged or belongs to another recipe", "train the run again") from e
    return net.eval()


def replace_weights(run: Path, net: nn.Module) -> None:
    """Puts these weights into the best checkpoint. Raises Environment if it cannot be written."""
    try:
        with new_file(run / BEST, replace=True) as draft:
            torch.save({"state_dict": {f"net.{name}": values for name, values in net.state_dict().items()}}, draft.path)
    except (OSError, RuntimeError) as e:  # torch tells a full disk by the latter
        raise Environment(run / BEST, f"cannot be written ({e})", "make room, then go on with --resume") from None


def present(run: Path, name: str) -> Path:
    if not (run / name).is_file():
        raise Environment(run, f"holds no {name}, so no finished round of training", "train it, or give another run")
    return run / name


def check_free(run: Path) -> None:
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise Usage(run, "is not an empty folder", "add --resume to go on with it, or choose another folder")


def begin(run: Path, recipe: UtilityRecipe | UNoiseRecipe, split: Split) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_recipe(recipe, run)
        split.write(run)
    except OSError as e:
        raise Environment(run, f"cannot be written ({e.strerror})", "choose another place") from None


def check_same(run: Path, recipe: UtilityRecipe | UNoiseRecipe) -> Path:
    """The checkpoint to go on from. Raises `Usage` if there is none or the run was begun with another recipe."""
    if not (run / LAST).is_file():
        raise Usage(run, f"holds no {LAST} to go on from", "start it without --resume")
    if read_recipe(present(run, FILE), type(recipe)) != recipe:
        raise Usage(run, "was begun with another recipe", f"resume with its own: {run / FILE}")
    for name in (LAST, BEST, METRICS):
        refuse_strangers(run / name)
    return run / LAST
