"""How a map is shown, as the engine's report has it: its unit, its zero, and what both ends mean. No MRML here.

The engine writes U-Noise as logits and tells of it in the image's own unit, HU of a CT. The scene's volume holds what
is told, so that legend, cursor and whatever else reads voxels say the same number. The voxels are of 64 bits then, and
the very logits come back when a map is written to a file.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from slicer.i18n import tr as _

UNIT = "UNoise.Unit"  # attribute of every map: of its voxels
SCALE = "UNoise.Scale"  # attribute of maps whose scale the engine told
WHOLE = 100  # largest noise that is told in whole numbers
FARTHEST = 30.0  # logits beyond are told as this one


@dataclass(frozen=True)
class Scale:
    """`low` and `high` say what 0 and the largest value mean. With `most` the values count down from the most noise
    that a place may bear, in `unit`."""

    unit: str = ""
    low: str = ""
    high: str = ""
    most: float | None = None

    @staticmethod
    def of(report: dict[str, Any], method: str) -> Scale:
        """Of a report of an earlier version only the unit is known. Raises ValueError, TypeError for what is none."""
        told = report.get("scales", {}).get(method)
        if told is None:
            return Scale(str(report.get("units", {}).get(method, "")))
        most = told.get("most")
        if most is not None and not 0 < float(most) < math.inf:
            raise ValueError(_("the scale of {method} is {most}").format(method=method, most=most))
        unit, low, high = (str(told[key]) for key in ("unit", "low", "high"))
        return Scale(unit, low, high, None if most is None else float(most))

    @staticmethod
    def of_node(node: Any) -> Scale:
        text = node.GetAttribute(SCALE)
        return Scale(**json.loads(text)) if text else Scale(node.GetAttribute(UNIT) or "")

    def stamp(self, node: Any) -> None:
        """The reverse."""
        node.SetAttribute(UNIT, self.unit)
        node.SetAttribute(SCALE, json.dumps(asdict(self)) if self.low else None)

    @property
    def middle(self) -> float:
        """What lies above is important: places that bear less than half of the noise, or anything above 0."""
        return (self.most or 0.0) / 2

    def shown(self, importance: np.ndarray) -> np.ndarray:
        """Importance as files have it -> as the scene has it. Exactly 0 says nothing, and stays 0."""
        if self.most is None:
            return importance
        exact = np.clip(importance.astype(np.float64), -FARTHEST, FARTHEST)
        return np.where(importance == 0, 0, self.most / (1 + np.exp(-exact)))

    def written(self, values: np.ndarray) -> np.ndarray:
        """The reverse, float32."""
        if self.most is None:
            return values
        share = values / self.most
        with np.errstate(divide="ignore", invalid="ignore"):
            logits = np.log(share) - np.log1p(-share)
        return np.where(values == 0, 0, np.clip(logits, -FARTHEST, FARTHEST)).astype(np.float32)

    def told(self, value: float) -> str:
        """A value of the scene, for people."""
        if self.most is None:
            return f"{value:.3g} {self.unit}".strip()
        return _("{noise} of noise").format(noise=self.noise(value))

    def noise(self, value: float) -> str:
        noise = (self.most or 0.0) - value
        return f"{noise:.0f} {self.unit}" if (self.most or 0.0) >= WHOLE else f"{noise:.3g} {self.unit}"

    def ends(self, top: float) -> tuple[str, str]:
        """What 0 and `top` mean; empty where only a unit is known."""
        if self.most is None:
            return self.low, self.high
        return f"{self.low}: {self.noise(0)}", f"{self.high}: {self.noise(top)}"
