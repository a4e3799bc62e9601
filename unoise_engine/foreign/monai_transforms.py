"""MONAI's transforms, as far as they are known, and what each does to an image: a closed list.

Each class has a transform's arguments by MONAI's names with MONAI's defaults (monai.transforms, 1.6), and refuses the
values that mean something else than a `Preparation` can say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unoise_engine.models.preparation import FARTHEST, Resampling, Step

NUMBER_TYPES = (None, "float", "float32", "float64", "double")  # of values; the model is given float32
READERS = (None, "NibabelReader", "ITKReader")
LABELS = (None, [["L", "R"], ["P", "A"], ["I", "S"]])  # MONAI's own; others would name other directions


@dataclass
class Line:
    """A pipeline as it is being read: the image's axes i, j, k as in the file until something turns them."""

    axes: str = "ijk"
    pixdim: tuple[float, ...] = ()
    order: int = 1
    steps: list[Step] = field(default_factory=list)
    multiple_of: int = 1
    fill: float = 0.0

    def resampling(self, back: int, back_as: str = "logits") -> Resampling:
        return Resampling("first", self.order, back=back, back_as=back_as)


def refuse_unless(fine: bool, what: str) -> None:
    if not fine:
        raise ValueError(what)


@dataclass(frozen=True)
class Load:
    """LoadImage. Files become arrays along i, j, k, whatever the reader."""

    reader: Any = None

    def onto(self, line: Line) -> None:
        name = self.reader.rpartition(".")[2] if isinstance(self.reader, str) else self.reader
        refuse_unless(name in READERS, "its reader is neither NibabelReader nor ITKReader")


@dataclass(frozen=True)
class Nothing:
    """Changes the array's form, not its values."""

    def onto(self, line: Line) -> None:
        pass


@dataclass(frozen=True)
class Orientation:
    axcodes: str | None = None
    as_closest_canonical: bool = False
    labels: Any = None

    def onto(self, line: Line) -> None:
        refuse_unless(self.labels in LABELS, "its labels are not the usual ones")
        refuse_unless(not line.pixdim, "it stands behind the resampling, where the file's own axes are counted")
        line.axes = "RAS" if self.as_closest_canonical else (self.axcodes or "").upper()


@dataclass(frozen=True)
class Spacing:
    """`align_corners` changes nothing here: coordinates are voxels' own (monai.networks.utils.to_norm_affine)."""

    pixdim: Any
    diagonal: bool = False
    mode: Any = "bilinear"
    padding_mode: str = "border"
    align_corners: bool | None = False
    scale_extent: bool = False
    recompute_affine: bool = False
    min_pixdim: Any = None
    max_pixdim: Any = None

    def onto(self, line: Line) -> None:
        refuse_unless(self.mode in ("bilinear", "nearest"), "its mode is neither bilinear nor nearest")
        refuse_unless(self.padding_mode == "border", "its padding_mode is not border")
        plain = not (self.diagonal or self.scale_extent or self.recompute_affine)
        refuse_unless(
            plain and self.min_pixdim is None and self.max_pixdim is None,
            "it sets diagonal, scale_extent, recompute_affine, min_pixdim or max_pixdim",
        )
        given = self.pixdim if isinstance(self.pixdim, list) else [self.pixdim]
        refuse_unless(
            len(given) > 0 and all(type(mm) in (int, float) for mm in given), "its pixdim is no list of numbers"
        )
        refuse_unless(not line.pixdim, "it stands there twice")
        three = (*given, *[given[-1]] * 2)[:3]
        line.pixdim = tuple(float(max(mm, 0)) for mm in three)  # 0 and below: as it is
        line.order = 1 if self.mode == "bilinear" else 0
        if any(line.pixdim):
            line.steps.append(Step("resample"))


@dataclass(frozen=True)
class CropForeground:
    """To the box of values above 0, on the image itself."""

    source_key: str = ""
    select_fn: Any = None
    channel_indices: Any = None
    margin: int = 0
    allow_smaller: bool = False
    k_divisible: Any = 1

    def onto(self, line: Line) -> None:
        refuse_unless(self.select_fn is None, "its select_fn is code")
        refuse_unless(self.channel_indices in (None, 0, [0]), "its channel_indices are not the image's")
        refuse_unless(self.k_divisible in (1, [1, 1, 1]), "its k_divisible is not 1")
        refuse_unless(
            not self.margin or self.allow_smaller, "its margin may reach beyond the image (allow_smaller is not true)"
        )
        line.steps.append(Step("crop-above", (0.0, float(self.margin))))


@dataclass(frozen=True)
class ScaleIntensityRange:
    a_min: float
    a_max: float
    b_min: float | None = None
    b_max: float | None = None
    clip: bool = False

    def onto(self, line: Line) -> None:
        refuse_unless((self.b_min is None) == (self.b_max is None), "it has one of b_min and b_max")
        if self.clip and self.b_min is not None and self.b_max is not None:
            refuse_unless(self.b_min < self.b_max, "it clips to a range that does not rise")
            line.steps.append(Step("clip", (self.a_min, self.a_max)))  # the same before as after scaling
        ends = (self.b_min, self.b_max) if self.b_min is not None and self.b_max is not None else (0.0, 1.0)
        line.steps.append(Step("scale", (self.a_min, self.a_max, *ends)))


@dataclass(frozen=True)
class ScaleIntensity:
    minv: float | None = 0.0
    maxv: float | None = 1.0
    factor: float | None = None
    channel_wise: bool = False

    def onto(self, line: Line) -> None:
        if self.minv is None and self.maxv is None:
            if self.factor is not None:
                line.steps.append(Step("scale", (0.0, 1.0, 0.0, 1.0 + self.factor)))
            return
        refuse_unless(self.minv is not None and self.maxv is not None, "it has one of minv and maxv")
        line.steps.append(Step("scale-image", (self.minv or 0.0, self.maxv or 0.0)))


@dataclass(frozen=True)
class ScaleIntensityRangePercentiles:
    lower: float
    upper: float
    b_min: float | None
    b_max: float | None
    clip: bool = False
    relative: bool = False
    channel_wise: bool = False

    def onto(self, line: Line) -> None:
        if self.relative or self.b_min is None or self.b_max is None:
            raise ValueError("it is relative, or lacks b_min or b_max")
        line.steps.append(Step("scale-percentiles", (self.lower, self.upper, self.b_min, self.b_max)))
        if self.clip:
            line.steps.append(Step("clip", (self.b_min, self.b_max)))


@dataclass(frozen=True)
class NormalizeIntensity:
    subtrahend: Any = None
    divisor: Any = None
    nonzero: bool = False
    channel_wise: bool = False

    def onto(self, line: Line) -> None:
        given = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in (self.subtrahend, self.divisor)]
        if given == [None, None]:
            line.steps.append(Step("normalise-nonzero" if self.nonzero else "normalise-image"))
            return
        both = all(type(one) in (int, float) for one in given)
        refuse_unless(both, "its subtrahend and divisor are not a number each, or one is missing")
        refuse_unless(not self.nonzero, "it moves values other than 0 alone, by numbers of its own")
        line.steps.append(Step("normalise", (float(given[0]), float(given[1] or 1))))  # MONAI, too, divides by 1 for 0


@dataclass(frozen=True)
class ThresholdIntensity:
    threshold: float
    above: bool = True
    cval: float = 0.0

    def onto(self, line: Line) -> None:
        refuse_unless(self.cval == self.threshold, "its cval is not its threshold")
        line.steps.append(Step("clip", (self.threshold, FARTHEST) if self.above else (-FARTHEST, self.threshold)))


@dataclass(frozen=True)
class DivisiblePad:
    """Evenly at both ends. MONAI's SimpleInferer needs it: nets halve what they are given several times."""

    k: Any
    mode: str = "constant"
    method: str = "symmetric"
    value: float = 0.0
    constant_values: float | None = None

    def onto(self, line: Line) -> None:
        k, *others = self.k if isinstance(self.k, list) and self.k else [self.k]
        refuse_unless(type(k) is int and all(other == k for other in others), "its k is not one whole number")
        refuse_unless(self.mode == "constant" and self.method == "symmetric", "its mode or method is not the usual one")
        line.multiple_of, line.fill = k, self.value if self.constant_values is None else self.constant_values


IGNORED = ("keys", "allow_missing_keys")  # of all of them; and of some:
LOADING = (
    "image_only", "ensure_channel_first", "simple_keys", "prune_meta_pattern", "prune_meta_sep", "meta_keys",
    "meta_key_postfix", "overwriting", "expanduser", "strict_check", "channel_dim", "device", "wrap_sequence",
    "track_meta", "data_type", "ensure_same_shape", "start_coord_key", "end_coord_key", "return_coords",
)  # fmt: skip
TRANSFORMS: dict[str, type[Any]] = {
    "LoadImage": Load, "EnsureChannelFirst": Nothing, "EnsureType": Nothing, "CastToType": Nothing,
    "ToTensor": Nothing, "Orientation": Orientation, "Spacing": Spacing, "CropForeground": CropForeground,
    "ScaleIntensityRange": ScaleIntensityRange, "ScaleIntensity": ScaleIntensity,
    "ScaleIntensityRangePercentiles": ScaleIntensityRangePercentiles, "NormalizeIntensity": NormalizeIntensity,
    "ThresholdIntensity": ThresholdIntensity, "DivisiblePad": DivisiblePad,
}  # fmt: skip


def short_name(name: str) -> str:
    """Without the ending that MONAI gives to transforms of dictionaries."""
    for ending in ("Dict", "D", "d"):
        if name not in TRANSFORMS and name.endswith(ending):
            return name.removesuffix(ending)
    return name
