"""The picture of a case where there is no matplotlib: the same panels in plainer print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from unoise_engine.results.body import body_box
from unoise_engine.results.dicom.font import ADVANCE, wrap
from unoise_engine.results.dicom.picture import ORANGE, WHITE, band, burn, overlay
from unoise_engine.results.shown import Shown
from unoise_engine.volume.write import write_picture

PANEL_PIXELS = 480  # a panel is at least so wide
GAP = 8


class PlainOverview:
    """Collects slices as `overview.Overview` does, and draws them."""

    def __init__(self, hu: np.ndarray, organ: np.ndarray, spacing_mm: tuple[float, float]):
        self.box = body_box(hu)
        rows, columns = hu[self.box].shape
        times = -(-PANEL_PIXELS // columns)
        tall = max(1, round(rows * times * spacing_mm[0] / spacing_mm[1]))
        self.places = np.ix_(np.arange(tall) * rows // tall, np.arange(columns * times) // times)
        self.hu, self.organ = self._enlarged(hu), self._enlarged(organ)
        self.maps: dict[str, Shown] = {}
        self.verdicts: dict[str, str] = {}

    def _enlarged(self, image: np.ndarray) -> np.ndarray:
        """Square pixels, each repeated."""
        return np.asarray(image[self.box][self.places])

    def add(self, title: str, shown: Shown, verdict: str = "") -> None:
        self.maps[title] = replace(shown, values=self._enlarged(shown.values))
        self.verdicts[title] = verdict

    def draw(self, path: Path, title: str, slice_note: str, warning: str) -> None:
        """Writes a PNG. `warning` stands under the picture. Raises OSError."""
        found = bool(self.organ.any())
        heading = "CT and outline" if found else "CT (no organ found here)"
        proved = any(self.verdicts.values())
        panels = [self._panel([heading, " "][: 1 + proved], np.zeros(self.hu.shape, np.float32), slice_note, " ", " ")]
        for name, shown in self.maps.items():
            said = [name, self.verdicts[name] or " "][: 1 + proved]
            panels.append(
                self._panel(said, shown.values, f"dark: {shown.low}", f"bright: {shown.high}", shown.note or " ")
            )
        between = np.zeros((len(panels[0]), GAP, 3), np.uint8)
        picture = np.concatenate([part for panel in panels for part in (panel, between)], axis=1)
        width = picture.shape[1]
        words = [*wrap(title, width // ADVANCE // 2 - 1)]
        warnings = [part for line in warning.splitlines() for part in wrap(line, width // ADVANCE // 2 - 1)]
        write_picture(np.concatenate([band(words, width, 2, WHITE), picture, band(warnings, width, 2, ORANGE)]), path)

    def _panel(self, heading: list[str], importance: np.ndarray, *legend: str) -> np.ndarray:
        """(rows + bands, columns, 3)"""
        picture = overlay(self.hu, self.organ, importance, float(importance.max(initial=0)))
        columns = picture.shape[1]
        # Columns run to the patient's left, so their right is on our left.
        burn(picture, "R", 2, 2 * GAP, GAP, WHITE)
        burn(picture, "L", 2, 2 * GAP, columns - 2 * ADVANCE - GAP, WHITE)
        return np.concatenate([band(heading, columns, 2, WHITE), picture, band([*legend], columns, 1, WHITE)])
