"""The CTs that a model was trained on and tested with, as ranges."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Scope:
    """What the model was trained on and tested with. The defaults suit an adult's abdomen in any CT."""

    pixel_mm: Range = (0.4, 1.6)
    slice_mm: Range = (0.3, 6.0)
    field_mm: Range = (220.0, 720.0)  # width of the picture
    body_cm2: Range = (250.0, 1700.0)  # cross-section of the trunk without arms and table, the median slice
    soft_share: Range = (0.2, 1.0)  # of the body's voxels, those between fat and contrast
    dense_share: Range = (0.0, 0.35)  # those of bone and contrast
    enhanced_share: float = 0.0  # of the slices, at least: those with vessels or organs that contrast agent brightened
    lung_share: float = 0.6  # of the slices, those that show much lung
    organ_ml: Range = (15.0, 250.0)
    dropped_share: float = 0.35  # of the organ found, what lay apart from the rest

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"scope: {name} must rise: {value}")
