"""The folder of one explained case: volumes, picture and report, written whole or not at all.

OUT/<id>/segmentation.nii.gz, importance-<method>.nii.gz, overview.png, view.html, report.json
With the format dicom: segmentation.dcm, importance-<method>.dcm and overlay-<method>-<slice>.dcm instead of volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

from unoise_engine import __version__
from unoise_engine.explanation.methods import TITLES
from unoise_engine.explanation.settings import Settings
from unoise_engine.files import new_file, new_folder, write_json
from unoise_engine.models.given import OnGrid, modality_of, voxels_of
from unoise_engine.models.session import Bundle
from unoise_engine.progress import Enough, Progress, clock
from unoise_engine.results.account import Account
from unoise_engine.results.picture import Picture
from unoise_engine.results.settings import ResultSettings
from unoise_engine.results.shown import PLAIN, Scale
from unoise_engine.results.view.case import CasePage
from unoise_engine.results.view.page import copy_viewer
from unoise_engine.volume.find import Case
from unoise_engine.volume.raw import write_raw
from unoise_engine.volume.volume import AxialView, Volume
from unoise_engine.volume.write import SUFFIXES, cannot_write, write_volume


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

    def write(self, name: str, volume: OnGrid, folder: Path, verdict: str = "", scale: Scale = PLAIN) -> dict[str, str]:
        """Returns what was written, name -> path within `folder`. `verdict`: how a map did on this CT, in words;
        `scale`: how pictures show it."""
        ...


class Volumes:
    """NIfTI or NRRD: one file a result."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __init__(self, file_format: str):
        self.settings = {"format": file_format}
        self.suffix = SUFFIXES[file_format]

    def write(self, name: str, volume: OnGrid, folder: Path, verdict: str = "", scale: Scale = PLAIN) -> dict[str, str]:
        write_volume(volume, folder / (name + self.suffix))
        return {name: name + self.suffix}


class RawVolumes(Volumes):
    """NRRD, uncompressed: larger, and many times as fast."""

    def write(self, name: str, volume: OnGrid, folder: Path, verdict: str = "", scale: Scale = PLAIN) -> dict[str, str]:
        write_raw(volume, folder / (name + self.suffix))
        return {name: name + self.suffix}


def _writer(account: Account, case: Case, how: ResultSettings) -> Writer:
    if how.format != "dicom":
        return Volumes(how.format) if how.compress else RawVolumes(how.format)
    from unoise_engine.results.dicom.origin import Origin, settled
    from unoise_engine.results.dicom.result import DicomResult

    reading, settings, manifest = account.reading, account.settings, account.bundle.manifest
    origin = Origin(
        organ=manifest.organ,
        model=manifest.name,
        model_hash=account.bundle.hash,
        engine_version=__version__,
        warning=manifest.warning,
        slices=settings.slices or (0, len(AxialView.of(reading.ct.grid).apply(reading.ct.voxels))),
        titles=TITLES,
        parameters=lambda: settled(account.told),
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
            account, made = Account(reading, bundle, settings, seconds), list[str]()
            page = _page(account, how) if how.view else None
            # Scratch files not in `partial`: Windows renames none that holds an open file.
            results = _as_far_as_wanted(account.explained(progress, case.id, partial.parent), made)
            report = write_case(partial, account, case, results, made, how, page)
            finish(partial, report)
            if page is not None:  # after `finish`: no result, and it may be made again or left out of what is handed on
                page.write(partial, viewer, report, [])
    except OSError as error:
        raise cannot_write(final, error, needed) from None
    return report


def _page(account: Account, how: ResultSettings) -> CasePage:
    modality = modality_of(account.bundle.recipe)
    return CasePage(account.reading.ct, account.range, account.scales, how.crop, modality)


def _bytes_needed(ct: Volume, bundle: Bundle, settings: Settings) -> int:
    """At most: results that do not pack at all, and three stacks of the model's slices on their way."""
    planes = 4 * voxels_of(ct, bundle.recipe, *(settings.slices or ()))
    return ct.voxels.size * (1 + 4 * len(settings.methods)) + 3 * planes


def write_case(
    folder: Path,
    account: Account,
    case: Case,
    results: Iterable[tuple[str, OnGrid]],
    made: list[str],
    how: ResultSettings,
    page: CasePage | None = None,
) -> dict[str, Any]:
    """Files, picture and report of the results, as they come; `made` names those that were finished in the end."""
    writer = _writer(account, case, how)
    files: dict[str, str] = {}
    picture: Picture | None = None
    for name, volume in results:
        method = name.removeprefix("importance-")
        verdict = account.verdict(method)
        if name == "segmentation":
            picture = Picture(account, volume, account.middle) if how.picture else None
        elif picture is not None:
            picture.add(method, volume, verdict)
        with clock(account.seconds, "write"):
            files |= writer.write(name, volume, folder, verdict, account.scales.get(method, PLAIN))
        if page is not None:
            with clock(account.seconds, "view"):
                page.scales = account.scales  # the side of a coarse map's pixels is known once there is one
                page.add(name, volume)
        del volume  # before there are the maps of the next

    wanted, titles = account.settings, account.titles
    account.settings = replace(wanted, methods=tuple(m for m in wanted.methods if f"importance-{m}" in made))
    if left_out := [titles[name] for name in wanted.methods if name not in account.settings.methods]:
        account.notes.append(f"interrupted before it was finished: {', '.join(left_out)}")
    if picture is not None:
        with clock(account.seconds, "picture"):
            files["overview"] = "overview.png"
            with new_file(folder / files["overview"]) as draft:
                picture.panels.draw(draft.path, *picture.words(case.id))
    report = account.report(case.id, files, case.files, writer.notes, writer.warnings, writer.settings)
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
