"""How large a reproduction is: minutes for a machine without GPU, or the published size."""

from __future__ import annotations

from dataclasses import dataclass

from unoise_engine.errors import Usage


@dataclass(frozen=True)
class Scale:
    """Numbers of 0 leave the recipe's own: steps, channels, spacing and crop as published."""

    name: str
    phantoms: int  # made where no data is given
    size: int  # rows and columns of a phantom
    slices: int  # of a phantom
    spacing_mm: float
    crop: int  # pixels
    channels: int  # of the utility's first level
    depth: int  # of the utility
    utility_steps: int
    segmenter_steps: int  # of the three that "pretrained" starts from
    unoise_steps: int
    ours_steps: int
    slices_per_case: int  # judged
    draws: int  # of noise
    stride: int  # of occlusion, in evaluation; the timing takes the paper's 2
    resamples: int


SCALES = {
    "smoke": Scale("smoke", 10, 64, 14, 6.0, 64, 8, 4, 120, 8, 8, 12, 1, 1, 12, 200),
    "demo": Scale("demo", 60, 128, 24, 3.0, 96, 8, 5, 1500, 250, 250, 1000, 5, 2, 8, 2000),
    "paper": Scale("paper", 281, 256, 60, 0.0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 8, 2000),
}


def choose_scale(name: str) -> Scale:
    if name not in SCALES:
        raise Usage(f"--scale {name}", "unknown", f"choose from {', '.join(SCALES)}")
    return SCALES[name]
