"""What a training is told: small frozen tables that check themselves, read from TOML and saved beside the run.

A utility recipe has [ct] [net] [data] [draw] [augment] [fit]; a U-Noise recipe has [noise] [draw] [augment] [fit] and
takes [ct], [data] and the split from the utility's run, so the two models can never disagree about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from unoise_engine.files import write
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.text import fit_for_organ
from unoise_engine.training.budgets import Budgets
from unoise_engine.training.tables import build, read_toml, require, to_toml
from unoise_engine.training.unoise import NoiseConfig

T = TypeVar("T")
FILE = "recipe.toml"
SCHEDULES = ("one-cycle", "constant")
LOSSES = ("bce+dice", "bce")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
TARGETS = ("labels", "predictions")
DEPTHS = {"small": 2, "medium": 3, "large": 4}  # the paper's three sizes, by resolution levels


@dataclass(frozen=True)
class Net:
    """A U-Net's shape; the defaults are the paper's utility (34M parameters)."""

    depth: int = 5  # resolution levels
    first_channels: int = 64  # of the first level; doubled with each level below

    def __post_init__(self) -> None:
        require(2 <= self.depth <= 7, f"depth must lie in 2 .. 7: {self.depth}")
        require(1 <= self.first_channels <= 256, f"first_channels must lie in 1 .. 256: {self.first_channels}")


@dataclass(frozen=True)
class Data:
    """Which voxels are the organ, and which patients learn, steer and judge."""

    organ: str = "pancreas"  # the label that is learnt, as labels.json names it
    labels: tuple[int, ...] = ()  # empty: look the organ up in the data's labels.json or dataset.json
    val_share: float = 0.15  # of the patients, to steer training
    test_share: float = 0.15  # of the patients, to judge
    split_seed: int = 0  # of the split of patients, where the data bring none
    others: tuple[str, ...] = ()  # structures the net learns beside the organ, where the labels name them
    shares: tuple[float, ...] = ()  # of the slices drawn, from each data folder in order; empty: as they come
    val_cases: int = 0  # at most, of each folder; 0: all
    val_slices: int = 0  # at most, of each validation case, evenly spread; 0: all
    patient: str = ""  # regular expression whose match in a case's name is the patient; empty: a case is a patient

    def __post_init__(self) -> None:
        require(fit_for_organ(self.organ), f"organ must be a name in printable letters: {ascii(self.organ)[:60]}")
        require(all(n > 0 for n in self.labels), f"labels must be above 0 (0 is background): {list(self.labels)}")
        require(0 < self.val_share < 1, f"val_share must lie between 0 and 1: {self.val_share}")
        require(0 <= self.test_share < 1, f"test_share must lie in 0 .. 1: {self.test_share}")
        require(all(share > 0 for share in self.shares), f"shares must be above 0: {list(self.shares)}")
        require(self.organ not in self.others, f"others must not name the organ itself: {self.organ}")
        require(len(set(self.others)) == len(self.others), f"others names a structure twice: {list(self.others)}")
        require(self.val_cases >= 0 and self.val_slices >= 0, "val_cases and val_slices must be at least 0")
        require(self.val_share + self.test_share < 1, "val_share and test_share leave no patient to learn from")
        try:
            re.compile(self.patient)
        except re.error as e:
            raise ValueError(f"patient is no regular expression ({e}): {self.patient}") from None


@dataclass(frozen=True)
class Draw:
    """How training slices are drawn and cropped. Sizes are pixels of the prepared slice."""

    crop: int = 192  # side of a crop
    batch: int = 8  # slices a step
    empty_share: float = 0.1  # of the slices drawn, those without organ: else the model draws organ everywhere
    organ_crops: float = 0.5  # share of crops that must contain the organ's centre; the others fall anywhere

    def __post_init__(self) -> None:
        require(self.crop >= 16, f"crop must be at least 16 pixels: {self.crop}")
        require(1 <= self.batch <= 4096, f"batch must lie in 1 .. 4096: {self.batch}")
        require(0 <= self.empty_share < 1, f"empty_share must lie in 0 .. 1: {self.empty_share}")
        require(0 <= self.organ_crops <= 1, f"organ_crops must lie in 0 .. 1: {self.organ_crops}")


@dataclass(frozen=True)
class Augment:
    """Greatest random change of a slice, each drawn anew per slice. Intensities in units of the window (0 .. 1)."""

    rotate_deg: float = 10.0  # turn in plane
    scale: float = 0.15  # factor 1 - scale .. 1 + scale
    shift_px: float = 6.0  # shift in plane
    elastic_px: float = 2.0  # smooth bending
    gain: float = 0.1  # intensity times 1 - gain .. 1 + gain
    offset: float = 0.05  # intensity plus -offset .. offset
    gamma: float = 0.15  # exponent 1 - gamma .. 1 + gamma
    noise: float = 0.05  # standard deviation
    erase: float = 0.0  # share of slices whose organ is replaced by the window's lower end: an abdomen without it
    washout: float = 0.0  # share of slices that lose their contrast agent; for windows up to about 255 HU
    hide: float = 0.0  # share of slices of which all but a random part is hidden, as explanations hide it (hidden.py)
    blur: float = 0.7  # mixing share of a 3 x 3 binomial blur
    flip: bool = False  # left and right: a mirrored patient is rare, and the organ is on one side

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            require(value >= 0, f"{f.name} must be at least 0: {value}")
        for name in ("scale", "gamma"):
            require(getattr(self, name) < 0.9, f"{name} must be below 0.9: {getattr(self, name)}")
        require(self.erase <= 1, f"erase must be at most 1: {self.erase}")
        require(self.washout <= 1, f"washout must be at most 1: {self.washout}")
        require(self.hide <= 1, f"hide must be at most 1: {self.hide}")
        require(self.blur <= 1, f"blur must be at most 1: {self.blur}")


@dataclass(frozen=True)
class Fit:
    """How long and how fast. Set one of epochs and max_steps; a step is one batch."""

    epochs: int = 0  # passes over the slices drawn
    max_steps: int = 0  # batches in all
    round_steps: int = 100  # steps between two validations; each ends with a checkpoint
    lr: float = 3e-3  # learning rate; the highest, where the schedule is one-cycle
    weight_decay: float = 1e-2  # of AdamW; 0: Adam instead
    schedule: str = "one-cycle"  # one-cycle or constant
    precision: str = "auto"  # auto, 32-true, bf16-mixed or 16-mixed
    average: float = 0.0  # decay a step of the running mean of the weights, which is judged and kept; 0: none
    patience: int = 0  # validations without gain before stopping; 0: never
    seed: int = 0  # of weights, draws and noise

    def __post_init__(self) -> None:
        require(self.epochs >= 0 and self.max_steps >= 0, "epochs and max_steps must be at least 0")
        require((self.epochs > 0) != (self.max_steps > 0), "set one of epochs and max_steps above 0")
        require(self.round_steps >= 1, f"round_steps must be at least 1: {self.round_steps}")
        require(0 < self.lr <= 1, f"lr must lie in 0 .. 1: {self.lr}")
        require(self.weight_decay >= 0, f"weight_decay must be at least 0: {self.weight_decay}")
        require(0 <= self.average < 1, f"average must lie in 0 .. 1, below 1: {self.average}")
        require(self.patience >= 0, f"patience must be at least 0: {self.patience}")
        require(0 <= self.seed < 2**31, f"seed must lie in 0 .. 2^31 - 1: {self.seed}")
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}: {value}")


@dataclass(frozen=True)
class UtilityFit(Fit):
    """The utility's loss is a choice; U-Noise's is the paper's."""

    loss: str = "bce+dice"  # bce+dice or bce
    slice_dice: float = 0.0  # share of the dice loss that is taken slice by slice: small sections weigh as much
    others_weight: float = 0.5  # of the other structures' loss beside the organ's

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.others_weight >= 0, f"others_weight must be at least 0: {self.others_weight}")
        require(0 <= self.slice_dice <= 1, f"slice_dice must lie in 0 .. 1: {self.slice_dice}")
        require(self.loss in LOSSES, f"loss must be one of {', '.join(LOSSES)}: {self.loss}")


@dataclass(frozen=True)
class Noise:
    """The noise model: its size and the published constants (units of the normalised image); the rest is ours."""

    size: str = "large"  # small, medium or large: 2, 3 or 4 levels
    depth: int = 0  # levels, instead of the size's; 0: the size's
    first_channels: int = 16  # of the first level; each further one has twice as many; 16: as published
    sigma_min: float = NoiseConfig.sigma_min  # least standard deviation of the noise
    sigma_max: float = NoiseConfig.sigma_max  # largest standard deviation of the noise
    noise_reward: float = NoiseConfig.noise_reward  # weight of the noise added against the loss of the utility
    targets: str = "labels"  # or "predictions": the utility's own on the clean image, which needs no labels
    budget_weight: float = 0.0  # of the loss over sampled shares visible (budgets.py) beside the published one
    budget_shares: tuple[float, float] = (Budgets.low, Budgets.high)  # least and largest share visible that is drawn
    cell: int = 1  # the map is averaged over cells of so many pixels a side; 1: as published
    near: bool = False  # the net is told the utility's prediction and starts from nearness to it (near.py)

    def __post_init__(self) -> None:
        require(self.size in DEPTHS, f"size must be one of {', '.join(DEPTHS)}: {self.size}")
        require(self.targets in TARGETS, f"targets must be one of {', '.join(TARGETS)}: {self.targets}")
        require(self.budget_weight >= 0, f"budget_weight must be at least 0: {self.budget_weight}")
        require(self.cell in (1, 2, 4, 8, 16), f"cell must be 1, 2, 4, 8 or 16: {self.cell}")
        self.config, self.budgets, self.net  # noqa: B018 - checks the numbers

    @property
    def config(self) -> NoiseConfig:
        return NoiseConfig(self.sigma_min, self.sigma_max, self.noise_reward)

    @property
    def budgets(self) -> Budgets:
        return Budgets(*self.budget_shares)

    @property
    def net(self) -> Net:
        return Net(self.depth or DEPTHS[self.size], self.first_channels)


@dataclass(frozen=True)
class UtilityRecipe:
    """All that `train utility` is told, as a TOML file has it."""

    fit: UtilityFit
    ct: Recipe = field(default_factory=Recipe)
    net: Net = field(default_factory=Net)
    data: Data = field(default_factory=Data)
    draw: Draw = field(default_factory=Draw)
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        fits(self.draw, self.net)
        step = 2 ** (self.net.depth - 1)
        require(
            self.ct.multiple_of % step == 0,
            f"a net of depth {self.net.depth} needs [ct] multiple_of {step}, 2 x {step} ...: {self.ct.multiple_of}",
        )


@dataclass(frozen=True)
class UNoiseRecipe:
    """All that `train unoise` is told; CT, channels and split are the utility's."""

    fit: Fit
    noise: Noise = field(default_factory=Noise)
    draw: Draw = field(default_factory=Draw)
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        fits(self.draw, self.noise.net)
        require(self.augment.hide == 0, f"hide is for the utility alone: {self.augment.hide}")
        require(
            self.draw.crop % self.noise.cell == 0,
            f"a map of cells of {self.noise.cell} needs [draw] crop divisible by it: {self.draw.crop}",
        )


def fits(draw: Draw, net: Net) -> None:
    step = 2 ** (net.depth - 1)
    require(draw.crop % step == 0, f"a net of depth {net.depth} needs [draw] crop divisible by {step}: {draw.crop}")


def read_recipe(path: Path, kind: type[T]) -> T:
    """A TOML file -> `UtilityRecipe` or `UNoiseRecipe`. Raises `Usage` with one sentence that names the key."""
    return build(kind, read_toml(path), path.name)


def write_recipe(recipe: UtilityRecipe | UNoiseRecipe, folder: Path) -> Path:
    """Saves every value, defaults included, as ``recipe.toml`` in the run's folder."""
    path = folder / FILE
    write(path, to_toml(recipe))
    return path
