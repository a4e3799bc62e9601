"""The paper's own curves (Koker et al. 2021, Fig. 3a and 4): facts to draw beside ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

from unoise_engine.shipped import shipped


@dataclass(frozen=True)
class PublishedCurve:
    name: str
    visible: tuple[float, ...]
    dice: tuple[float, ...]
    half: float  # dice with half of the pixels visible, Fig. 4

    @property
    def area(self) -> float:
        pairs = list(zip(self.visible, self.dice))
        return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(pairs))


@dataclass(frozen=True)
class Published:
    source: str
    full_dice: float
    curves: tuple[PublishedCurve, ...]


def published() -> Published | None:
    """None where the facts do not lie beside the engine."""
    path = shipped("facts", "paper-curves.json").get("paper-curves")
    if path is None:
        return None
    told = json.loads(path.read_text("utf-8"))
    curves = (
        PublishedCurve(k, tuple(v["visible"]), tuple(v["dice"]), v["dice_at_half_visible"])
        for k, v in told["models"].items()
    )
    return Published(told["source"], told["utility_dice"], tuple(curves))
