"""The folder of one explained case: volumes, picture and report, written whole or not at all.

OUT/<id>/segmentation.nii.gz, importance-<method>.nii.gz, overview.png, view.html, report.json
With the format dicom: segmentation.dcm, importance-<method>.dcm and overlay-<method>-<slice>.dcm instead of volumes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np

from unoise_engine import __version__
from unoise_engine.errors import Environment
from unoise_engine.explanation.methods import METHODS, TITLES
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.proof import Proof
from unoise_engine.explanation.settings import Settings
from unoise_engine.explanation.trust import about_volume
from unoise_engine.files import new_file, new_folder, write_json
from unoise_engine.models.given import OnGrid, modality_of, voxels_of
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Enough, Progress, clock
from unoise_engine.results.greys import Greys
from unoise_engine.results.overview import Overview
from unoise_engine.results.plain import PlainOverview
from unoise_engine.results.settings import ResultSettings
from unoise_engine.results.shown import Scale, shown
from unoise_engine.results.view.case import CasePage
from unoise_engine.results.view.page import copy_viewer
from unoise_engine.volume.find import Case, Reading
from unoise_engine.volume.raw import write_raw
from unoise_engine.volume.volume import AxialView, Volume
from unoise_engine.volume.write import SUFFIXES, cannot_write, write_volume

REPORT_VERSION = 1


def prepare_output(out: Path) -> None:
    """Makes the folder and proves that it can be written, before hours are spent. Raises Environment."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out, prefix=".unoise-"):
            pass
    except OSError as error:
        raise cannot_write(out, error) from None


class Writer(Protocol):
    """Turns results into files of one format. `notes` says what it had to correct first, `warnings` what to beware of,
    `settings` how it writes."""

    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    settings: dict[str, Any]

    def write(self, name: str, volume: OnGrid, folder: Path, verdict: str = "") -> dict[str, str]:
        """Returns what was written, name -> path within `folder`. `verdict`: how a map did on this CT, in words."""
        ...


class Volumes:
    """NIfTI or NRRD: one file a result."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __init__(self, file_format: str):
        self.settings = {"format": file_format}
        self.suffix = SUFFIXES[file_format]

    def write(self, name: str, volume: OnGrid, folder: Path, verdict: str = "") -> dict[str, str]:
        write_volume(volume, folder / (name + self.suffix))
        return {name: name + self.suffix}


class RawVolumes(Volumes):
    """NRRD, uncompressed: larger, and many times as fast."""

    def write(self, name: str, volume: OnGrid, folder: Path, verdict: str = "") -> dict[str, str]:
        write_raw(volume, folder / (name + self.suffix))
        return {name: name + self.suffix}


def _writer(reading: Reading, case: Case, bundle: Bundle, settings: Settings, how: ResultSettings) -> Writer:
    if how.format != "dicom":
        return Volumes(how.format) if how.compress else RawVolumes(how.format)
    from unoise_engine.results.dicom.origin import Origin, settled
    from unoise_engine.results.dicom.result import DicomResult

    manifest = bundle.manifest
    origin = Origin(
        organ=manifest.organ,
        model=manifest.name,
        model_hash=bundle.hash,
        engine_version=__version__,
        warning=manifest.warning,
        slices=settings.slices or (0, len(AxialView.of(reading.ct.grid).apply(reading.ct.voxels))),
        titles=TITLES,
        parameters=settled(settings.told),
    )
    files, frames = reading.slice_files, reading.slice_frames
    if reading.planes:
        files, frames = reading.original_files, reading.original_frames
    images = [*zip(files, frames)]
    return DicomResult(
        reading.ct, images, origin, case.source, how.de_identify, reading.planes, display_maps=how.display_maps
    )


def explain_case(
    case: Case,
    out: Path,
    bundle: Bundle,
    settings: Settings,
    progress: Progress,
    how: ResultSettings | None = None,
    overwrite: bool = False,
    finish: Callable[[Path, dict[str, Any]], None] = lambda folder, report: None,
    hide: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Explains one case into OUT/<id> and returns its report (also written as report.json).

    Everything goes to a hidden folder that gets its name at the end, so a failure leaves nothing half-written and an
    earlier result intact. `finish` sees that folder and the report just before; `hide` takes names out of sentences.
    Raises CaseRefused for the input, Environment if the result exists, if not all of an earlier one was made here, or
    if it cannot be written.
    """
    how, final, settings = how or ResultSettings(), out / case.id, settings.for_model(bundle)
    seconds: dict[str, float] = {}
    needed = 0
    try:
        with new_folder(final, overwrite) as partial:
            viewer = copy_viewer(out) if how.view else ""
            with clock(seconds, "read"):
                reading = case.read()
            reading = replace(reading, notes=tuple(hide(note) for note in reading.notes))
            needed = _bytes_needed(reading.ct, bundle, settings)
            writer = _writer(reading, case, bundle, settings, how)
            page = _page(reading.ct, bundle, settings, how) if how.view else None
            parts = reading, case, bundle, settings, progress, writer, seconds, how.picture, page
            report = _explain_into(partial, *parts)
            finish(partial, report)
            if page is not None:  # after `finish`: no result, and it may be made again or left out of what is handed on
                page.write(partial, viewer, report, [])
    except OSError as error:
        raise cannot_write(final, error, needed) from None
    return report


def _page(ct: Volume, bundle: Bundle, settings: Settings, how: ResultSettings) -> CasePage:
    slices = settings.slices or (0, len(AxialView.of(ct.grid).apply(ct.voxels)))
    return CasePage(ct, slices, _scales(bundle, settings), how.crop, modality_of(bundle.recipe))


def _scales(bundle: Bundle, settings: Settings) -> dict[str, Scale]:
    return {name: Scale.of(name, bundle.manifest, bundle.coarse_px) for name in settings.methods}


def _bytes_needed(ct: Volume, bundle: Bundle, settings: Settings) -> int:
    """At most: results that do not pack at all, and three stacks of the model's slices on their way."""
    planes = 4 * voxels_of(ct, bundle.recipe, *(settings.slices or ()))
    return ct.voxels.size * (1 + 4 * len(settings.methods)) + 3 * planes


def _explain_into(
    folder: Path,
    reading: Reading,
    case: Case,
    bundle: Bundle,
    settings: Settings,
    progress: Progress,
    writer: Writer,
    seconds: dict[str, float],
    with_picture: bool,
    page: CasePage | None,
) -> dict[str, Any]:
    ct, manifest, titles = reading.ct, bundle.manifest, TITLES
    view, greys = AxialView.of(ct.grid), Greys.of(ct, modality_of(bundle.recipe))
    start, stop = settings.slices or (0, len(view.apply(ct.voxels)))
    files: dict[str, str] = {}
    notes: list[str] = []
    warnings: list[str] = []
    organ: dict[str, Any] = {}
    picture: Overview | PlainOverview | None = None
    scales = _scales(bundle, settings)
    middle = (start + stop) // 2

    # Not in `folder`: Windows renames none that holds an open file.
    focus: dict[str, Any] = {}
    made: list[str] = []
    proofs: dict[str, Proof] = {}
    given = ct, bundle, settings, progress, seconds, case.id, warnings, folder.parent, focus, proofs
    for name, volume in _as_far_as_wanted(explain_volume(*given), made):
        method = name.removeprefix("importance-")
        verdict = proofs[method].verdict if method in proofs else ""
        if name == "segmentation":
            areas = [int(np.count_nonzero(one)) for one in volume.slices()]
            found = sum(areas)
            middle = int(np.argmax(areas)) if found else middle
            organ = {
                "name": manifest.organ,  # what was segmented and explained
                "found": found > 0,  # whether the model found any of it
                "volume_ml": round(found * ct.grid.voxel_ml, 3),  # of the segmentation
                "axial_slice_of_largest_area": middle if found else None,  # counted from 0 at the feet
                "axial_slice_from_feet": middle + 1 if found else None,  # the same, counted from 1, as pictures do
            }
            if not isinstance(bundle.recipe, Preparation):
                warnings += about_volume(
                    [n * ct.grid.voxel_ml for n in areas[start:stop]], manifest.organ, manifest.scope
                )
            if not found:
                notes.append(f"no {manifest.organ} found in this CT")
            if with_picture:
                seen = greys(view.apply(ct.voxels)[middle]), volume.slice(middle) > 0, view.spacing_mm[1:]
                try:
                    picture = Overview(*seen)
                except Environment:  # no matplotlib, or no temporary folder for it
                    picture = PlainOverview(*seen)
        elif picture is not None:
            here = greys(view.apply(ct.voxels)[middle])
            picture.add(titles[method], shown(scales[method], volume.slice(middle), here), verdict)
        with clock(seconds, "write"):
            files |= writer.write(name, volume, folder, verdict)
        if page is not None:
            with clock(seconds, "view"):
                page.add(name, volume)
        del volume  # before there are the maps of the next

    wanted, settings = (
        settings,
        replace(settings, methods=tuple(m for m in settings.methods if f"importance-{m}" in made)),
    )
    if left_out := [titles[name] for name in wanted.methods if name not in settings.methods]:
        notes.append(f"interrupted before it was finished: {', '.join(left_out)}")
    if picture is not None:
        with clock(seconds, "picture"):
            title = f"{case.id[:60]}  -  model: {manifest.title}"
            note = f"axial slice {middle + 1} of {len(view.apply(ct.voxels))} from the feet"
            files["overview"] = "overview.png"
            with new_file(folder / files["overview"]) as draft:
                picture.draw(draft.path, title, note, "\n".join([*warnings, *reading.notes, manifest.warning]))
    corrections = [*reading.notes, *writer.notes]
    report = {
        "report_version": REPORT_VERSION,  # of these fields; 1
        "case": case.id,  # name of the case and of its folder
        "status": "CORRECTED" if corrections else "OK",  # `OK`, or `CORRECTED`: something about the files was mended
        "corrections": corrections,  # what was mended, in sentences
        "warning": manifest.warning,  # what holds for every result of this model
        "warnings": [*warnings, *writer.warnings],  # what speaks against trusting this result, in sentences
        "notes": [*notes, *bundle.notes],  # what else is worth knowing
        "organ": organ,  # see `organ.` above
        "proof": {name: proof.told() for name, proof in proofs.items()},  # what a map keeps, tried on this CT
        "verdicts": [proof.sentence(titles[name]) for name, proof in proofs.items()],  # the same, in sentences
        "seconds": {name: round(value, 3) for name, value in seconds.items()},  # a stage
        "files": files,  # name of each result -> file in the folder
        "titles": {name: titles[name] for name in settings.methods},  # of the methods, for people
        "units": {name: METHODS[name].unit for name in settings.methods},  # of the maps' values
        "scales": {name: asdict(scales[name]) for name in settings.methods},  # how pictures show them: unit, both ends
        "settings": {  # methods, `axial_slices` [start, stop), parameters of each method, device, format
            "methods": list(settings.methods),
            "axial_slices": [start, stop],
            **({"label": manifest.organ} if manifest.chosen else {}),
            **({"focus": focus} if focus else {}),
            **settings.told,
            "device": bundle.device,
            **writer.settings,
        },
        "input": {  # files; modality; voxel type; grid: size, spacing in mm, origin and direction in DICOM's LPS frame
            "files": case.files,
            "modality": modality_of(bundle.recipe),
            "voxel_type": str(ct.voxels.dtype),
            "geometry_lps": asdict(ct.grid),
        },
        "model": {  # name, title, sha256 of its manifest, whether it was trained on synthetic CTs alone, attribution
            "name": manifest.name,
            "title": manifest.title,
            "sha256": bundle.hash,
            "synthetic": manifest.synthetic,
            "attribution": manifest.attribution,
        },
        "versions": versions(),  # of the engine, Python and the packages that matter
    }
    write_json(folder / "report.json", report)
    return report


def _as_far_as_wanted(explained: Iterator[tuple[str, OnGrid]], made: list[str]) -> Iterator[tuple[str, OnGrid]]:
    """The results until whoever listens has had enough; `made` gets their names. Without any map Enough goes on up."""
    try:
        for one in explained:
            name = one[0]
            yield one
            del one  # before there are the maps of the next
            made.append(name)
    except Enough:
        if len(made) < 2:
            raise


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
