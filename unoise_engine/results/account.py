"""What is told of one case as it is explained: the organ, what speaks against trusting the result, times and proofs."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine import __version__
from unoise_engine.explanation.methods import LEARNT, METHODS, TITLES
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.proof import Proof
from unoise_engine.explanation.settings import Settings
from unoise_engine.explanation.trust import about_volume
from unoise_engine.models.given import OnGrid, modality_of
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Progress
from unoise_engine.results.shown import Scale
from unoise_engine.volume.case import Reading
from unoise_engine.volume.volume import AxialView

REPORT_VERSION = 1


@dataclass
class Account:
    """Filled while `explained` runs. `settings` name every method (`Settings.for_model`); `middle` is the axial slice
    of largest area, from 0 at the feet, or the middle one of those that were explained."""

    reading: Reading
    bundle: Bundle
    settings: Settings
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    organ: dict[str, Any] = field(default_factory=dict)
    looked_at: dict[str, dict[str, Any]] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    middle: int = 0
    per_unit: float | None = None  # of the image's values in one unit of what the model is given

    @property
    def titles(self) -> dict[str, str]:
        return TITLES

    @property
    def view(self) -> AxialView:
        return AxialView.of(self.reading.ct.grid)

    @property
    def slices(self) -> int:
        """Axial ones, of the whole CT."""
        return len(self.view.apply(self.reading.ct.voxels))

    @property
    def range(self) -> tuple[int, int]:
        """Of the axial slices that are explained, from 0, the last one excluded."""
        return self.settings.slices or (0, self.slices)

    @property
    def scales(self) -> dict[str, Scale]:
        """How pictures show each map; known once it is there."""
        facts = self.bundle.manifest, self.bundle.coarse_px, self.per_unit, bool(self.bundle.answers & {*LEARNT})
        return {name: Scale.of(method, *facts) for name, method in self.settings.chosen.items()}

    def verdict(self, method: str) -> str:
        """How its map does on this CT, in a few words; empty where that was not tried."""
        return self.proofs[method].verdict if method in self.proofs else ""

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """By method, and "focus": its parameters, and how far it looked, as far as that is known yet."""
        told = self.settings.told
        names = dict.fromkeys([*self.looked_at, *told])
        return {name: {**told.get(name, {}), **self.looked_at.get(name, {})} for name in names}

    @property
    def unfinished(self) -> list[str]:
        """Sentences about maps that were ended before they were as good as they get."""
        return [
            f"{self.titles[name]}: {told['ended']} after {told['places']} places, {told['looked_at']} of "
            f"{told['items']} {'slices' if self.bundle.recipe.rank == 2 else 'blocks'} looked at; its error is about "
            f"{told['estimated_error']:.1%} of its range; more time ({name}.minutes) makes it finer"
            for name, told in self.looked_at.items()
            if told.get("ended", "finished") != "finished"
        ]

    def explained(self, progress: Progress, case: str = "", folder: Path | None = None) -> Iterator[tuple[str, OnGrid]]:
        """As `pipeline.explain_volume`, which says what it yields and raises."""
        given = self.reading.ct, self.bundle, self.settings, progress, self.seconds, case, self.warnings, folder
        for name, volume in explain_volume(*given, self.looked_at, self.proofs):
            if name == "segmentation":
                self.per_unit = volume.given.per_unit
                self._measure(volume)
            yield name, volume
            del volume  # before there are the maps of the next

    def _measure(self, segmentation: OnGrid) -> None:
        manifest, voxel_ml, (start, stop) = self.bundle.manifest, self.reading.ct.grid.voxel_ml, self.range
        areas = [int(np.count_nonzero(one)) for one in segmentation.slices()]
        found = sum(areas)
        self.middle = middle = int(np.argmax(areas)) if found else (start + stop) // 2
        organ = {
            "name": manifest.organ,  # what was segmented and explained
            "found": found > 0,  # whether the model found any of it
            "volume_ml": round(found * voxel_ml, 3),  # of the segmentation
            "axial_slice_of_largest_area": middle if found else None,  # counted from 0 at the feet
            "axial_slice_from_feet": middle + 1 if found else None,  # the same, counted from 1, as pictures do
        }
        self.organ = organ
        if not isinstance(self.bundle.recipe, Preparation):
            ml = [n * voxel_ml for n in areas[start:stop]]
            self.warnings += about_volume(ml, self.view.spacing_mm[0], manifest.organ, manifest.scope)
        if not found:
            self.notes.append(f"no {manifest.organ} found in this CT")

    def report(
        self,
        case: str,
        files: dict[str, str],
        input_files: int,
        corrections: Sequence[str] = (),
        warnings: Sequence[str] = (),
        how: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What report.json holds. `corrections`, `warnings` and `how` come from whoever wrote the `files`."""
        manifest, settings, titles = self.bundle.manifest, self.settings, self.titles
        corrections = [*self.reading.notes, *corrections]
        report = {
            "report_version": REPORT_VERSION,  # of these fields; 1
            "case": case,  # name of the case and of its folder
            "status": "CORRECTED" if corrections else "OK",  # the latter where nothing about the files was mended
            "corrections": corrections,  # what was mended, in sentences
            "warning": manifest.warning,  # what holds for every result of this model
            "warnings": [*self.warnings, *warnings],  # what speaks against trusting this result, in sentences
            "notes": [*self.notes, *self.unfinished, *self.bundle.notes],  # what else is worth knowing
            "organ": self.organ,  # see `organ.` above
            "proof": {name: proof.told() for name, proof in self.proofs.items()},  # what a map keeps, tried on this CT
            "verdicts": [proof.sentence(titles[name]) for name, proof in self.proofs.items()],  # the same, in sentences
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},  # a stage
            "files": files,  # name of each result -> file in the folder
            "titles": {name: titles[name] for name in settings.methods},  # of the methods, for people
            "units": {name: METHODS[name].unit for name in settings.methods},  # of the values in files
            "scales": {name: asdict(self.scales[name]) for name in settings.methods},  # in pictures: unit, both ends
            "settings": {  # methods, `axial_slices` [start, stop), parameters of each method, device, format
                "methods": list(settings.methods),
                "axial_slices": [*self.range],
                **({"label": manifest.organ} if manifest.chosen else {}),
                **self.told,
                "device": self.bundle.device,
                **(how or {}),
            },
            "input": {  # files; modality; voxel type; grid: size, spacing in mm, origin and direction, LPS as in DICOM
                "files": input_files,
                "modality": modality_of(self.bundle.recipe),
                "voxel_type": str(self.reading.ct.voxels.dtype),
                "geometry_lps": asdict(self.reading.ct.grid),
            },
            "model": {  # name, title, sha256 of its manifest, whether trained on synthetic CTs alone, attribution
                "name": manifest.name,
                "title": manifest.title,
                "sha256": self.bundle.hash,
                "synthetic": manifest.synthetic,
                "attribution": manifest.attribution,
            },
            "versions": versions(),  # of the engine, Python and the packages that matter
        }
        return report


def versions() -> dict[str, str]:
    """Of the engine and of what its numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"unoise_engine": __version__, "python": platform.python_version()}
    for package in ("numpy", "SimpleITK", "pydicom", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
