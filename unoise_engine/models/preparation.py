"""What a model from elsewhere expects of an image: the steps of its own pipeline, in its own order, as numbers.

Where `recipe.Recipe` is what this project's own models are trained on, a `Preparation` can say what nnU-Net,
TotalSegmentator, MONAI and others do. It is data: no step names code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

from unoise_engine.typed import to_table

DIRECTIONS = {"L": "LR", "R": "LR", "A": "AP", "P": "AP", "S": "IS", "I": "IS"}
STORED = "ijk"  # the file's own axes: i fastest, as NIfTI and SimpleITK count x, y, z
# Steps -> names of the numbers that each takes.
STEPS: dict[str, tuple[str, ...]] = {
    "crop-nonzero": (),  # to the box around values that are not 0 (nnU-Net's crop_to_nonzero)
    "crop-above": ("threshold", "margin"),  # to the box around values above it and voxels beyond (CropForeground)
    "clip": ("low", "high"),
    "normalise": ("mean", "std"),  # (x - mean) / std
    "normalise-image": (),  # by the image's own mean and standard deviation
    "normalise-nonzero": (),  # the same of the values that are not 0; 0 stays
    "normalise-filled": (),  # the same of these and of holes among them (nnU-Net's use_mask_for_norm)
    "scale": ("from_low", "from_high", "to_low", "to_high"),  # a line through two points
    "scale-image": ("to_low", "to_high"),  # the image's least and largest value go there
    "scale-percentiles": ("lower", "upper", "to_low", "to_high"),  # the image's percentiles go there
    "truncate": (),  # to whole numbers, towards 0
    "resample": (),  # to the spacing; where it stands decides what is interpolated
}
RULES = (
    "edges",
    "first",
    "ends",
)  # what stays in place: the outer edges, the first voxels' centres, both ends' centres
PLACES, WEIGHTS, PADDINGS = ("nnunet", "monai"), ("constant", "gaussian-nnunet", "gaussian-monai"), ("constant", "edge")
MOST_SIDE, MOST_VOXELS = 2048, 1 << 26  # of a window
FARTHEST = 1e6  # any number of a step


@dataclass(frozen=True)
class Step:
    """One thing that is done to the image; `values` in the order of `STEPS`."""

    do: str
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.do not in STEPS:
            raise ValueError(f"steps: {self.do[:40]!r} is none; choose from {', '.join(STEPS)}")
        names = STEPS[self.do]
        if len(self.values) != len(names):
            raise ValueError(f"steps: {self.do} takes {', '.join(names) or 'no numbers'}, not {list(self.values)}")
        if not all(-FARTHEST <= value <= FARTHEST for value in self.values):
            raise ValueError(f"steps: the numbers of {self.do} must lie within {FARTHEST:g} of 0")
        named = dict(zip(names, self.values))
        if self.do == "normalise" and not named["std"] > 0:
            raise ValueError("steps: the std of normalise must be above 0")
        rising = {"clip": ("low", "high"), "scale": ("from_low", "from_high"), "scale-percentiles": ("lower", "upper")}
        low, high = rising.get(self.do, ("", ""))
        if low and not named[low] < named[high]:
            raise ValueError(f"steps: {low} of {self.do} must lie below {high}")
        if self.do == "scale-percentiles" and not 0 <= named["lower"] < named["upper"] <= 100:
            raise ValueError("steps: percentiles lie in 0 .. 100")


@dataclass(frozen=True)
class Resampling:
    """How an image reaches the model's spacing, and scores come back.

    `rule`: "edges" keeps the outer edges (scikit-image's resize, nnU-Net), "first" the first voxel's centre (MONAI's
    Spacing), "ends" the centres of the first and the last voxel (scipy's zoom, TotalSegmentator). `order` of the spline
    0, 1 or 3. `apart`: whether the coarsest axis is resampled on its own, with `order_apart`: "auto" where a spacing is
    more than 3 times another (nnU-Net), "never" or "always". `back` and `back_apart` are the orders of the way back.
    `back_as`: what is interpolated on that way, "logits", or "probabilities" where the source has made these of them.
    `keep_range`: values beyond the image's own are cut off, as scikit-image does.
    """

    rule: str = "edges"
    order: int = 1
    order_apart: int = 0
    apart: str = "never"
    back: int = 1
    back_apart: int = 0
    keep_range: bool = True
    back_as: str = "logits"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"resampling rule must be one of {', '.join(RULES)}, not {self.rule[:40]!r}")
        if self.apart not in ("auto", "never", "always"):
            raise ValueError(f"resampling apart must be auto, never or always, not {self.apart[:40]!r}")
        if self.back_as not in ("logits", "probabilities"):
            raise ValueError(f"resampling back_as must be logits or probabilities, not {self.back_as[:40]!r}")
        for name in ("order", "order_apart", "back", "back_apart"):
            if getattr(self, name) not in (0, 1, 3):
                raise ValueError(f"resampling {name} must be 0, 1 or 3")


@dataclass(frozen=True)
class Window:
    """The box that the model is given at a time, and how its answers are put together.

    `size` has an entry for each axis of what the model sees; empty: the whole image at once, padded to `multiple_of`.
    `step` is the share of the size between windows. `places`: nnU-Net's (evenly spread) or MONAI's (as far apart as the
    step, the last one moved back). `weights` of a window's voxels, Gaussian ones of `sigma` sizes. The answer lacks
    `margin` voxels on each side of the window (nets without padding). Images smaller than a window are padded evenly by
    the value `fill` or by their edge.
    """

    size: tuple[int, ...] = ()
    step: float = 0.5
    places: str = "nnunet"
    weights: str = "constant"
    sigma: float = 0.125
    margin: tuple[int, ...] = ()
    padding: str = "constant"
    fill: float = 0.0
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if not all(1 <= side <= MOST_SIDE for side in self.size) or prod(self.size) > MOST_VOXELS:
            raise ValueError(f"window size must lie in 1 .. {MOST_SIDE} and hold {MOST_VOXELS} voxels at most")
        if self.places not in PLACES or self.weights not in WEIGHTS or self.padding not in PADDINGS:
            raise ValueError(
                f"window places are {', '.join(PLACES)}; weights {', '.join(WEIGHTS)}; padding {', '.join(PADDINGS)}"
            )
        if not 0 < self.step <= 1 or not 0 < self.sigma <= 1:
            raise ValueError("window step and sigma must lie above 0, and not above 1")
        if self.margin and (
            len(self.margin) != len(self.size) or not all(0 <= 2 * m < n for m, n in zip(self.margin, self.size))
        ):
            raise ValueError("window margin must leave something of the window's size")
        if not -FARTHEST <= self.fill <= FARTHEST or not 1 <= self.multiple_of <= 512:
            raise ValueError("window fill or multiple_of is out of range")


@dataclass(frozen=True)
class Preparation:
    """From an image to what the model is given: turned to `axes`, then the `steps`, then `window` by window.

    `axes` names the direction in which each axis of the array runs: "SAR" is planes towards the head, rows to anterior,
    columns to the right. The letters i, j, k are the file's own axes, i fastest, whatever their directions: "kji" is
    the array as SimpleITK gives it. A model of `rank` 3 sees blocks; one of rank 2 planes of the first axis.
    `spacing_mm` has an entry for each axis, 0: as it is. `modality` is "CT" (values are Hounsfield units) or another.
    """

    axes: str = "kji"
    rank: int = 3
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    steps: tuple[Step, ...] = ()
    resampling: Resampling = field(default_factory=Resampling)
    window: Window = field(default_factory=Window)
    modality: str = "CT"

    def __post_init__(self) -> None:
        anatomical = sorted(DIRECTIONS.get(letter, "") for letter in self.axes) == ["AP", "IS", "LR"]
        if not anatomical and sorted(self.axes) != sorted(STORED):
            what = (
                f"axes must name three directions, such as SAR, or the file's own axes, such as kji: {self.axes[:20]!r}"
            )
            raise ValueError(what)
        if self.rank not in (2, 3):
            raise ValueError(f"rank must be 2 or 3: {self.rank}")
        if not all(mm == 0 or 0.05 <= mm <= 50 for mm in self.spacing_mm):
            raise ValueError(f"spacing_mm must lie in 0.05 .. 50 mm, or be 0: {self.spacing_mm}")
        if self.rank == 2 and self.spacing_mm[0]:
            raise ValueError("spacing_mm of the first axis must be 0 for a model of single planes")
        if sum(step.do == "resample" for step in self.steps) != int(any(self.spacing_mm)):
            raise ValueError("steps must hold resample once if there is a spacing_mm, and not if there is none")
        if self.window.size and len(self.window.size) != self.rank:
            raise ValueError(f"window size must have {self.rank} entries: {self.window.size}")
        if not self.modality.isalnum() or len(self.modality) > 16:
            raise ValueError("modality must be a short word, such as CT or MR")

    @property
    def is_ct(self) -> bool:
        return self.modality == "CT"

    def to_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = to_table(self)
        return body


def cubes_of(recipe: object) -> float:
    """How many boxes of 64 x 64 x 64 voxels a model is given at once, 1 to 8: what it may take grows with them."""
    size = recipe.window.size if isinstance(recipe, Preparation) else ()
    return min(max(1.0, prod(size) / 64**3), 8.0)
