"""What the page of one case holds, collected while the case is explained or from its results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unoise_engine import __version__
from unoise_engine.results.body import body_box
from unoise_engine.results.overview import SOFT_TISSUE_HU
from unoise_engine.results.shown import Scale
from unoise_engine.results.view.packing import Box, pack_ct, pack_map, pack_mask
from unoise_engine.results.view.page import PAGE, write_page
from unoise_engine.volume.volume import AxialView, Volume

MARGIN_MM = 30.0  # around the organ
LARGEST = 96_000_000  # voxels of a page; browsers and graphics cards hold several times their bytes
INT16 = (-32768, 32767)
TIMES = 1.5  # of the results' size: as large as a page may be; else CT values are rounded, COARSER and coarser
COARSER = (1, 2, 4, 8, 16)
SMALL, FIXED = 500_000, 50_000  # bytes of data that are no burden; of what is not data
BASE64 = 4 / 3
TOLD = ("warning", "warnings", "corrections", "notes", "verdicts", "proof", "organ")


class Sliced(Protocol):
    def slice(self, k: int) -> np.ndarray:
        """The k-th axial slice (rows, columns) from the feet."""
        ...


class CasePage:
    """Takes the results one after the other, the segmentation first, and then writes the page.

    `slices` were explained, counted from 0 at the feet; the page holds those alone. `crop`: to the body, to the organ
    and MARGIN_MM around it, or "none". Values of another `modality` than CT are told as they are.
    """

    def __init__(self, ct: Volume, slices: tuple[int, int], scales: Mapping[str, Scale], crop: str, modality: str):
        self.view = AxialView.of(ct.grid)
        self.ct = self.view.apply(ct.voxels)
        self.slices, self.scales, self.crop, self.modality = range(*slices), scales, crop, modality
        self.packed: dict[str, bytes] = {}
        self.maps: dict[str, dict[str, Any]] = {}
        self.box: Box

    def add(self, name: str, volume: Sliced) -> None:
        """`name` as in a report: segmentation, importance-<method>."""
        if name == "segmentation":
            found = {k: plane for k in self.slices if (plane := volume.slice(k) > 0).any()}
            self.box = self._box(found)
            empty = np.zeros(self.box.full, bool)
            self.packed[name] = pack_mask(self.box.cut(found.get(k, empty)) for k in self.box.slices)
            return
        scale = self.scales[name.removeprefix("importance-")]

        def values(k: int) -> np.ndarray | None:
            importance = volume.slice(k)
            return scale.values(importance, self.ct[k]) if importance.any() else None

        self.packed[name], table = pack_map(values, self.slices, self.box)
        low, high = scale.ends(table.top)
        high += " or more" if scale.most is None else " or less"  # the colours end below the very largest
        self.maps[name.removeprefix("importance-")] = {
            **asdict(table), "low": low, "high": high, "unit": scale.unit, "note": scale.note,
            "counted_down_from": scale.most,
        }  # fmt: skip

    def write(self, folder: Path, viewer: str, report: Mapping[str, Any], effects: list[dict[str, Any]]) -> None:
        """view.html in the case's folder, or in the one that is to become it. `viewer`: what `copy_viewer` returned;
        `effects`: rows of what-if. Raises OSError, Environment."""
        box, (mm_z, mm_y, mm_x) = self.box, self.view.spacing_mm
        results = sum(path.stat().st_size for path in folder.iterdir() if path.name[0] != "." and path.name != PAGE)
        maps = sum(map(len, self.packed.values()))
        finest, shift = self._quantised()
        for coarser in COARSER:
            slope = finest * coarser
            self.packed["ct"] = pack_ct(self._stored(box.cut(self.ct[k]), slope, shift) for k in box.slices)
            if (size := maps + len(self.packed["ct"])) < SMALL or size * BASE64 < TIMES * results - FIXED:
                break
        rows, columns = box.cut(np.empty(box.full, bool)).shape
        facts = {
            **{key: report[key] for key in TOLD},
            "case": report["case"],
            "model": report["model"]["title"],
            "attribution": report["model"]["attribution"],
            "engine": report["versions"]["unoise_engine"],
            "page": __version__,
            "size": [columns, rows, len(box.slices)],  # x to the patient's left, y to posterior, z from the feet
            "spacing_mm": [mm_x * box.step, mm_y * box.step, mm_z],
            "first_slice": box.slices.start,
            "slices": len(self.ct),
            "every": box.step,
            "slope": slope,
            "rounded": slope / finest > 1,
            "shift": shift,
            "unit": "HU" if self.modality == "CT" else "",
            "modality": self.modality,
            "window": self._window(),
            "maps": [{"name": name, "title": report["titles"][name], **one} for name, one in self.maps.items()],
            "effects": effects,
        }
        write_page(folder / PAGE, viewer, facts, self.packed)

    def _box(self, organ: Mapping[int, np.ndarray]) -> Box:
        full = self.ct.shape[1:]
        slices, rows, columns = self.slices, slice(0, full[0]), slice(0, full[1])
        if self.crop == "organ" and organ:
            flat = np.logical_or.reduce(list(organ.values()))
            z, y, x = (max(1, math.ceil(MARGIN_MM / mm)) for mm in self.view.spacing_mm)
            rows, columns = (_around(flat.any(axis=1 - a), margin) for a, margin in ((0, y), (1, x)))
            slices = range(max(slices.start, min(organ) - z), min(slices.stop, max(organ) + z + 1))
        elif self.crop != "none":
            rows, columns = body_box(self.ct[slices.start : slices.stop].max(axis=0))
        size = (rows.stop - rows.start) * (columns.stop - columns.start) * len(slices)
        return Box((full[0], full[1]), slices, rows, columns, max(1, math.ceil(math.sqrt(size / LARGEST))))

    def _quantised(self) -> tuple[float, float]:
        """Stored * slope + shift is the value: exact for whole numbers such as HU."""
        finite = self.ct if self.ct.dtype.kind in "iub" else self.ct[np.isfinite(self.ct)]
        least, most = float(finite.min()), float(finite.max())
        if (
            INT16[0] <= least
            and most <= INT16[1]
            and (finite.dtype.kind in "iub" or np.array_equal(finite, np.rint(finite)))
        ):
            return 1.0, 0.0
        slope = (most - least) / (INT16[1] - INT16[0]) or 1.0
        return slope, least - INT16[0] * slope

    def _stored(self, plane: np.ndarray, slope: float, shift: float) -> np.ndarray:
        """NaN and infinity are told as the nearest that there is: of a CT, air."""
        if (slope, shift) == (1.0, 0.0) and plane.dtype.kind in "iub":
            return plane.astype(np.int16)
        low, high = (end * slope + shift for end in INT16)
        air = -1024.0 if self.modality == "CT" else low
        plain = np.nan_to_num(plane.astype(np.float64), nan=max(air, low), posinf=high, neginf=max(air, low))
        return np.clip(np.rint((plain - shift) / slope), *INT16).astype(np.int16)

    def _window(self) -> tuple[float, float]:
        """As pictures have it; of other images than CT what most of the voxels lie in."""
        if self.modality == "CT":
            return SOFT_TISSUE_HU
        some = self.ct[self.slices.start : self.slices.stop]
        step = 1 + math.isqrt(some.size // 1_000_000)
        low, high = np.nanpercentile(np.where(np.isfinite(some), some, np.nan)[:, ::step, ::step], (1, 99.5))
        return float(low), float(max(high, low + 1e-6))


def _around(line: np.ndarray, margin: int) -> slice:
    where = np.flatnonzero(line)
    return slice(max(0, int(where[0]) - margin), min(len(line), int(where[-1]) + 1 + margin))
