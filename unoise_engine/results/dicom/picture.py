"""One slice as a colour picture: the CT in a soft-tissue window, the heat map over it, the organ's outline, and words
burned in above and below - never over the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.results.dicom.font import ADVANCE, HEIGHT, text_dots, wrap

SOFT_TISSUE_HU = (-160.0, 240.0)  # width 400, level 40
OUTLINE = (57, 208, 255)
WHITE, ORANGE = (255, 255, 255), (255, 179, 71)
# Matplotlib's "inferno" at nine even steps: it rises evenly in brightness, so it can be read in grey as well.
INFERNO = np.array(
    [(0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84), (228, 90, 49), (249, 142, 9),
     (249, 203, 53), (252, 255, 164)], np.float32,
)  # fmt: skip
OPAQUE = 0.85  # how much of the CT the most important pixel hides
DARK, BRIGHT = "dark", "bright"  # beside the colour bar, and before what its ends mean
PIXELS_A_DOT = 256  # of picture width for one dot of text


@dataclass(frozen=True)
class Style:
    """What all pictures of a map share. `top` is the value shown brightest; `edges` names the patient's sides at the
    left and upper edge; `legend` stands under the colour bar."""

    heading: tuple[str, ...]
    warning: str
    top: float
    edges: tuple[str, str]
    legend: tuple[str, ...] = ()


def draw(hu: np.ndarray, organ: np.ndarray, importance: np.ndarray, style: Style, *lines: str) -> np.ndarray:
    """(rows, columns) each -> RGB (rows + bands, columns, 3) uint8. `lines` stand under the heading.

    All pictures of a series get one size: only the warning is wrapped, the other lines are cut at the edge.
    """
    scale = max(1, hu.shape[1] // PIXELS_A_DOT)
    picture = overlay(hu, organ, importance, style.top)
    rows, columns = hu.shape
    burn(picture, style.edges[0], scale, rows // 2, scale * 2, WHITE)
    burn(picture, style.edges[1], scale, scale * 2, columns // 2, WHITE)
    characters = max(8, columns // (ADVANCE * scale) - 1)
    head = band([*style.heading, *lines], columns, scale, WHITE)
    foot = band(wrap(style.warning, characters), columns, scale, ORANGE)
    legend = band([DARK, *style.legend], columns, scale, WHITE)
    bar = ADVANCE * scale * (len(DARK) + 1)
    after = _colour_bar(legend, scale, 2 * scale + bar)
    burn(legend, BRIGHT, scale, 2 * scale, after + ADVANCE * scale, WHITE)
    return np.concatenate([head, picture, legend, foot])


def overlay(hu: np.ndarray, organ: np.ndarray, importance: np.ndarray, top: float) -> np.ndarray:
    low, high = SOFT_TISSUE_HU
    grey = np.clip((np.nan_to_num(hu.astype(np.float32), nan=low) - low) / (high - low), 0, 1)[..., None] * 255
    heat = np.clip(importance / top, 0, 1) if top > 0 else np.zeros(hu.shape, np.float32)
    alpha = np.clip(heat * 2.5, 0, OPAQUE)[..., None]
    picture = np.rint(grey * (1 - alpha) + _colour(heat) * alpha).astype(np.uint8)
    picture[_edge(organ)] = OUTLINE
    return picture


def _colour(heat: np.ndarray) -> np.ndarray:
    """Values in [0, 1] -> inferno's RGB, float."""
    steps = np.linspace(0, 1, len(INFERNO))
    return np.stack([np.interp(heat, steps, INFERNO[:, channel]) for channel in range(3)], axis=-1)


def _edge(organ: np.ndarray) -> np.ndarray:
    """The organ's own outermost pixels."""
    padded = np.pad(organ, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return organ & ~inside


def band(lines: list[str], columns: int, scale: int, colour: tuple[int, int, int]) -> np.ndarray:
    step = (HEIGHT + 3) * scale
    band = np.zeros((step * len(lines) + 2 * scale, columns, 3), np.uint8)
    for k, line in enumerate(lines):
        burn(band, line, scale, 2 * scale + k * step, 2 * scale, colour)
    return band


def burn(picture: np.ndarray, text: str, scale: int, row: int, column: int, colour: tuple[int, int, int]) -> None:
    """Burns a line in; what would stand beyond the edge is cut."""
    place = picture[row : row + HEIGHT * scale, column:]
    dots = text_dots(text, scale)[: place.shape[0], : place.shape[1]]
    place[: dots.shape[0], : dots.shape[1]][dots] = colour


def _colour_bar(band: np.ndarray, scale: int, column: int) -> int:
    """Returns the column where it ends."""
    width = max(0, min(64 * scale, band.shape[1] - column - 2 * scale))
    band[2 * scale : (2 + HEIGHT) * scale, column : column + width] = _colour(np.linspace(0, 1, width))[None]
    return column + width
