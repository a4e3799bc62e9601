"""The DICOM objects of one case, written as its results come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from unoise_engine.errors import CaseRefused
from unoise_engine.results.dicom.capture import capture, orientation
from unoise_engine.results.dicom.common import Pixels, store
from unoise_engine.results.dicom.deidentify import declare, deidentified
from unoise_engine.results.dicom.origin import Origin
from unoise_engine.results.dicom.parametric_map import display_map, importance_map
from unoise_engine.results.dicom.picture import BRIGHT, DARK, Style, draw
from unoise_engine.results.dicom.segmentation import segmentation
from unoise_engine.results.dicom.slices import GridSlices, Slices
from unoise_engine.results.dicom.source import number, read_source
from unoise_engine.results.greys import Greys
from unoise_engine.results.shown import PLAIN, Scale
from unoise_engine.volume.volume import AxialView, Volume, Voxels

FIRST_MAP_SERIES, FIRST_DISPLAY_SERIES = 9003, 9103
LONGEST_ELEMENT = 0xFFFFFFFE  # bytes, by DICOM
BESIDE = 2  # slices shown beyond the organ's first and last
ORPHANED = (
    "UIDs of the CT are missing or not unique and had to be made, so these DICOM results belong to a study or images "
    "that no archive holds: mend the CT's UIDs before you send them."
)
OPPOSITE = dict(zip("LRPAHF", "RLAPFH"))


class DicomResult:
    """Give it a case's results one by one, segmentation first; each becomes a file, or several.

    The segmentation holds a frame for each slice that was explained, a map one for every slice.
    """

    def __init__(
        self,
        ct: Volume,
        images: Sequence[tuple[Path, int]],
        origin: Origin,
        source: object,
        de_identify: bool = False,
        slices: Slices | None = None,
        display_maps: bool = False,
    ):
        """`images` are the file and, from 1, the frame of each slice; `slices` says where they lie if that is not the
        CT's own grid (it was resampled). With `display_maps` each map comes once more, scaled to 0..1.

        Raises CaseRefused (see read_source) before anything is computed.
        """
        self.slices = slices or GridSlices(ct.grid)
        read = read_source(images, self.slices, source)
        self.notes = read.notes
        self.warnings: tuple[str, ...] = (ORPHANED,) if read.orphaned else ()
        self.settings: dict[str, Any] = {"format": "dicom", "de_identify": de_identify, "display_maps": display_maps}
        self.origin = origin
        self.de_identify = de_identify
        self.display_maps = display_maps
        self.whole = deidentified(read) if de_identify else read
        self.explained = _explained(ct, origin.slices) if slices is None else slice(0, len(images))
        self.source = self.whole.part(self.explained)
        self.view = AxialView.of(ct.grid)
        self.ct, self.total = ct, len(images)
        self.organ: Voxels | None = None
        self.found: list[int] = []  # frames that show the organ
        if 4 * math.prod(self.slices.size) * self.total > LONGEST_ELEMENT:
            what = "is too large for one DICOM object (4 GiB)"
            raise CaseRefused("TOO_LARGE", source, what, "use --format nifti or nrrd")

    def write(self, name: str, result: Voxels, folder: Path, verdict: str = "", scale: Scale = PLAIN) -> dict[str, str]:
        """Writes a result of `pipeline.explain_volume`; returns what was written, name -> path within `folder`. The
        `verdict` on a map (explanation/proof.py) stands on its pictures, which show it as `scale` has it."""
        path = folder / f"{name}.dcm"
        if name == "segmentation":
            self.organ = result
            self.found = [k for k, frame in enumerate(self._frames(result, labels=True)) if frame.any()]
            pixels = self._pixels(self._frames(result, labels=True), len(self.source.headers), binary=True)
            self._store(segmentation(self.source, self.origin), path, pixels)
            return {name: path.name}
        method = name.removeprefix("importance-")
        place = self.origin.place(method)
        ends = [(float(frame.min()), float(frame.max())) for frame in self._every(result)]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        about = method, FIRST_MAP_SERIES + place, self.whole, self.origin, self.explained
        self._store(importance_map((low, high), scale, *about), path, self._pixels(self._every(result), self.total))
        files, top = {name: path.name}, scale.top(high)
        if self.display_maps:
            shown = folder / f"display-{method}.dcm"
            about = method, FIRST_DISPLAY_SERIES + place, self.whole, self.origin, self.explained
            shares = (_shares(scale.counted(frame), top) for frame in self._every(result))
            self._store(display_map(top, scale, *about), shown, self._pixels(shares, self.total))
            files[shown.stem] = shown.name
        return files | self._overlay(result, top, scale, method, folder, verdict)

    def _every(self, result: Voxels) -> Iterator[np.ndarray]:
        return self.slices.bring_back(result)

    def _frames(
        self, result: Voxels, labels: bool = False, low: int = 0, high: int | None = None
    ) -> Iterator[np.ndarray]:
        """A result on the slices explained; `low` and `high` count within them."""
        first, last = self.explained.start, self.explained.stop
        return self.slices.bring_back(result, labels, first + low, last if high is None else first + high)

    def _pixels(self, frames: Iterator[np.ndarray], count: int, binary: bool = False) -> Pixels:
        columns, rows = self.slices.size
        return Pixels(frames, count, (rows, columns), binary)

    def _overlay(
        self, importance: Voxels, top: float, scale: Scale, method: str, folder: Path, verdict: str
    ) -> dict[str, str]:
        """Pictures of the organ's slices and a few beside them; of the middle slice alone if no organ was found."""
        found, n = self.found, len(self.source.headers)
        first, last = (max(0, found[0] - BESIDE), min(n - 1, found[-1] + BESIDE)) if found else (n // 2, n // 2)
        across, down = orientation(self.source.headers[0])
        heading = (
            f"RESEARCH: {self.origin.title(method)}",
            f"importance for {self.origin.organ}" + f" ({scale.unit})" * bool(scale.unit),
        )
        low, high = scale.ends(top)
        style = Style(
            heading=(*heading, f"on this CT {verdict}") if verdict else heading,
            warning=self.origin.warning,
            top=top,
            edges=(OPPOSITE[across], OPPOSITE[down]),
            legend=(f"{DARK}: {low}", f"{BRIGHT}: {high}", scale.note or " "),
        )
        assert self.organ is not None  # noqa: S101 - the segmentation comes first
        shown = first, last + 1
        frames = (self._frames(self.ct, False, *shown), self._frames(self.organ, True, *shown))
        files = {}
        greys = Greys.of(self.ct, str(self.whole.headers[0].Modality))
        for k, values, organ, heat in zip(range(*shown), *frames, self._frames(importance, False, *shown)):
            from_feet = self._from_the_feet(self.explained.start + k)
            lines = [self._line(from_feet), self._in_the_series(k)]
            if not found:
                lines.append(f"no {self.origin.organ} found")
            hu = greys(values)
            picture = draw(hu, organ > 0, scale.values(heat, hu), style, *lines)
            instance = self.origin.place(method) * self.total + self.source.order[k]
            name = f"overlay-{method}-{from_feet:03d}.dcm"
            self._store(capture(picture, k, method, instance, self.source, self.origin), folder / name)
            files[name.removesuffix(".dcm")] = name
        return files

    @property
    def _axial(self) -> bool:
        return self.view.axes[0] == 0

    def _from_the_feet(self, k: int) -> int:
        """1 for the first slice; counted as everywhere else in the results where the series is axial."""
        return self.total - k if self._axial and self.view.flips[0] else k + 1

    def _line(self, from_feet: int) -> str:
        """Of one length for all pictures of a series."""
        return f"slice {from_feet:>{len(str(self.total))}} of {self.total}" + " from the feet" * self._axial

    def _in_the_series(self, k: int) -> str:
        """Where a viewer shows the same slice of the CT: its number there, and its place in the patient (LPS)."""
        header, frame = self.source.headers[k], self.source.frames[k]
        across, down = self.slices.across_mm, self.slices.down_mm
        axis = int(np.abs(np.cross(across, down)).argmax())
        place = f"{'xyz'[axis]} {float(header.ImagePositionPatient[axis]):.1f} mm"
        if (image := number(header)) is None:
            return place
        return f"{header.Modality} image {image}" + f" frame {frame}" * bool(frame) + f", {place}"

    def _store(self, dataset: pydicom.Dataset, path: Path, pixels: Pixels | None = None) -> None:
        if self.de_identify:
            declare(dataset)
        store(dataset, path, pixels)


def _explained(ct: Volume, slices: tuple[int, int]) -> slice:
    """The range along the CT's z axis that holds all axial slices asked for."""
    view, n = AxialView.of(ct.grid), ct.grid.size[2]
    if view.axes[0] != 0:  # a sagittal or coronal series: every slice shows a part of each axial one
        return slice(0, n)
    start, stop = slices
    return slice(n - stop, n - start) if view.flips[0] else slice(start, stop)


def _shares(frame: np.ndarray, top: float) -> np.ndarray:
    return np.clip(frame / np.float32(top), 0, 1) if top > 0 else np.zeros_like(frame)
