"""How something is hidden."""

from __future__ import annotations

from dataclasses import dataclass

from unoise_engine.errors import Usage
from unoise_engine.evaluate.whatif.fills import FILLS
from unoise_engine.typed import bounded


@dataclass(frozen=True)
class HideSettings:
    """How structures are hidden. `fill` is one of FILLS; on CTs whose cause is known the mean of what lies around costs
    most where the cause is and least elsewhere (fills.py). `organ`: whether voxels that the model finds as its organ
    "keep" their HU where a structure covers them, or "hide" with it; empty: they keep them, but in a box drawn by hand.
    `slices` counts axial slices from the feet, the last one excluded."""

    fill: str = "mean"
    organ: str = ""
    pairs: bool = False
    slices: tuple[int, int] | None = None
    seed: int = bounded(0, least=0, about="of the noise")

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise Usage(f"--fill {self.fill}", "unknown", f"choose from {', '.join(FILLS)}")
        if self.organ not in ("", "keep", "hide"):
            raise Usage(f"--organ {self.organ}", "unknown", "choose keep or hide")
        if self.seed < 0:
            raise Usage(f"--seed {self.seed}", "is negative", "use 0 or more")
