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
from unoise_engine.results.dicom.parametric_map import parametric_map
from unoise_engine.results.dicom.picture import Style, draw
from unoise_engine.results.dicom.segmentation import segmentation
from unoise_engine.results.dicom.slices import GridSlices, Slices
from unoise_engine.results.dicom.source import read_source
from unoise_engine.volume.volume import AxialView, Volume, Voxels

FIRST_MAP_SERIES = 9003
LONGEST_ELEMENT = 0xFFFFFFFE  # bytes, by DICOM
BESIDE = 2  # slices shown beyond the organ's first and last
OPPOSITE = dict(zip("LRPAHF", "RLAPFH"))


class DicomResult:
    """Give it a case's results one by one, segmentation first; each becomes a file, or several.

    Holds a frame for each slice that was explained; slices outside `origin.slices` have none.
    """

    def __init__(
        self,
        ct: Volume,
        images: Sequence[tuple[Path, int]],
        origin: Origin,
        source: object,
        de_identify: bool = False,
        slices: Slices | None = None,
    ):
        """`images` are the file and, from 1, the frame of each slice; `slices` says where they lie if that is not the
        CT's own grid (it was resampled).

        Raises CaseRefused (see read_source) before anything is computed.
        """
        self.slices = slices or GridSlices(ct.grid)
        read = read_source(images, self.slices, source)
        self.notes = read.notes
        self.settings: dict[str, Any] = {"format": "dicom", "de_identify": de_identify}
        self.origin = origin
        self.de_identify = de_identify
        whole = deidentified(read) if de_identify else read
        self.explained = _explained(ct, origin.slices) if slices is None else slice(0, len(images))
        self.source = whole.part(self.explained)
        self.view = AxialView.of(ct.grid)
        self.ct, self.total = ct, len(images)
        self.organ: Voxels | None = None
        self.found: list[int] = []  # frames that show the organ
        if 4 * math.prod(self.slices.size) * len(self.source.headers) > LONGEST_ELEMENT:
            what = "is too large for one DICOM object (4 GiB)"
            raise CaseRefused("TOO_LARGE", source, what, "use --format nifti or nrrd, or fewer --slices")

    def write(self, name: str, result: Voxels, folder: Path) -> dict[str, str]:
        """Writes a result of `pipeline.explain_volume`; returns what was written, name -> path within `folder`."""
        path = folder / f"{name}.dcm"
        if name == "segmentation":
            self.organ = result
            self.found = [k for k, frame in enumerate(self._frames(result, labels=True)) if frame.any()]
            self._store(segmentation(self.source, self.origin), path, self._pixels(result, binary=True))
            return {name: path.name}
        method = name.removeprefix("importance-")
        number = FIRST_MAP_SERIES + self.origin.place(method)
        ends = [(float(frame.min()), float(frame.max())) for frame in self._frames(result)]
        values = min(low for low, _ in ends), max(high for _, high in ends)
        dataset = parametric_map(values, method, number, self.source, self.origin)
        self._store(dataset, path, self._pixels(result))
        return {name: path.name, **self._overlay(result, values[1], method, folder)}

    def _frames(
        self, result: Voxels, labels: bool = False, low: int = 0, high: int | None = None
    ) -> Iterator[np.ndarray]:
        """A result on the slices explained; `low` and `high` count within them."""
        first, last = self.explained.start, self.explained.stop
        return self.slices.bring_back(result, labels, first + low, last if high is None else first + high)

    def _pixels(self, result: Voxels, binary: bool = False) -> Pixels:
        columns, rows = self.slices.size
        return Pixels(self._frames(result, binary), len(self.source.headers), (rows, columns), binary)

    def _overlay(self, importance: Voxels, top: float, method: str, folder: Path) -> dict[str, str]:
        """Pictures of the organ's slices and a few beside them; of the middle slice alone if no organ was found."""
        found, n = self.found, len(self.source.headers)
        first, last = (max(0, found[0] - BESIDE), min(n - 1, found[-1] + BESIDE)) if found else (n // 2, n // 2)
        across, down = orientation(self.source.headers[0])
        style = Style(
            heading=(f"RESEARCH: {self.origin.title(method)}", f"importance for {self.origin.organ}"),
            warning=self.origin.warning,
            top=max(0.0, top),
            edges=(OPPOSITE[across], OPPOSITE[down]),
        )
        assert self.organ is not None  # noqa: S101 - the segmentation comes first
        shown = first, last + 1
        frames = (self._frames(self.ct, False, *shown), self._frames(self.organ, True, *shown))
        files = {}
        for k, hu, organ, heat in zip(range(*shown), *frames, self._frames(importance, False, *shown)):
            number = self._from_the_feet(self.explained.start + k)
            line = f"slice {number:>{len(str(self.total))}} of {self.total}"
            if not found:
                line += f", no {self.origin.organ} found"
            picture = draw(hu, organ > 0, heat, style, line)
            instance = self.origin.place(method) * self.total + number
            name = f"overlay-{method}-{number:03d}.dcm"
            self._store(capture(picture, k, method, instance, self.source, self.origin), folder / name)
            files[name.removesuffix(".dcm")] = name
        return files

    def _from_the_feet(self, k: int) -> int:
        """1 for the first slice; counted as everywhere else in the results where the series is axial."""
        return self.total - k if self.view.axes[0] == 0 and self.view.flips[0] else k + 1

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
