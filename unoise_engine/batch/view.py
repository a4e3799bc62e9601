"""`unoise_engine view`: makes view.html of results that stand in an output folder.

Which CT a case is of is read from OUT/private/inputs.csv, and that it is still the same from the case's record. A page
that stands there already is made again for another --crop or what-if, or if another version of the engine made it.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine import __version__
from unoise_engine.batch.job import clean
from unoise_engine.batch.numbers import TABLE, read_table
from unoise_engine.batch.records import EXPLAINED, Record, hash_inputs, read_record
from unoise_engine.batch.summary import FILES, write_summary
from unoise_engine.errors import CaseRefused, Environment, Usage
from unoise_engine.lock import Busy, held
from unoise_engine.results.account import REPORT_VERSION
from unoise_engine.results.shown import Scale
from unoise_engine.results.view.case import CasePage
from unoise_engine.results.view.page import PAGE, copy_viewer, made_by
from unoise_engine.strict_json import read_json
from unoise_engine.typed import build
from unoise_engine.volume.find import ReadSettings, find_cases
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import AxialView, Volume
from unoise_engine.volume.write import cannot_write

REPORT = "report.json"
LARGEST = 64 << 20  # bytes of a report
AGAIN = "explain the CT again"


@dataclass(frozen=True)
class Request:
    """`out`: a folder that `explain` wrote, or the folder of one case in it. `crop`: as in ResultSettings; empty leaves
    pages as they are. `what_if`: a folder that `whatif` wrote, whose tables the pages get."""

    out: Path
    crop: str = ""
    what_if: Path | None = None


@dataclass(frozen=True)
class OnDisk:
    """A result that was read from its file, as axial slices."""

    axial: np.ndarray

    def slice(self, k: int) -> np.ndarray:
        found: np.ndarray = self.axial[k]
        return found


@dataclass(frozen=True)
class Row:
    """What is shown of an effect (evaluate/whatif/report.py: as_row)."""

    hidden: str
    dice: float
    ml_after: float
    ml_lost: float
    ml_new: float
    hidden_ml: float
    covers: float


def make_pages(request: Request) -> tuple[Path, int]:
    """Makes what is missing; a line on standard error for each case of which no page can be made.

    Returns what to open, the page or the summary of several, and how many cases have no page. Raises Usage,
    Environment.
    """
    out, folders = _cases(request.out)
    effects = _effects(out, request.what_if) if request.what_if else {}
    for folder in folders:
        kept = " (the page that was there is kept)" if (folder / PAGE).is_file() else ""
        try:
            with held(out, folder.name, wait_s=10):
                clean(out, folder)
                _make(out, folder, request, effects)
        except CaseRefused as error:
            print(f"CASE {folder.name}: {error}{kept}", file=sys.stderr)
        except Busy:
            print(f"CASE {folder.name}: is being explained - try again later{kept}", file=sys.stderr)
    pages = [folder / PAGE for folder in folders if (folder / PAGE).is_file()]
    if not pages:
        raise Environment(request.out, "no page could be made", "see the lines above")
    summary = out / FILES[1]
    if summary.is_file():
        write_summary(out, _report(pages[0].parent)["warning"])
    return summary if len(folders) > 1 and summary.is_file() else pages[0], len(folders) - len(pages)


def _cases(asked: Path) -> tuple[Path, list[Path]]:
    """The output folder, and the folders of its cases that were explained."""
    if not asked.is_dir():
        raise Usage(asked, "is no folder", "give one that unoise_engine explain wrote")
    out, folders = asked, sorted(path for path in asked.iterdir() if path.is_dir())
    if read_record(asked.resolve()) is not None:
        out, folders = asked.resolve().parent, [asked.resolve()]
    found = [one for one in folders if (record := read_record(one)) and record.status in EXPLAINED]
    if not found:
        raise Usage(asked, "holds no results", "give a folder that unoise_engine explain wrote")
    return out, found


def _make(out: Path, folder: Path, request: Request, effects: dict[str, list[dict[str, Any]]]) -> None:
    """Raises CaseRefused, Environment."""
    report, record = _report(folder), read_record(folder)
    if made_by(folder / PAGE) == __version__ and not request.crop and folder.name not in effects:
        copy_viewer(out)
        return
    if record is None:
        raise CaseRefused("NO_RECORD", folder, "has lost its record", AGAIN)
    ct = _ct(out, folder.name, report, record)
    start, stop = report["settings"]["axial_slices"]
    scales = {name: build(Scale, table) for name, table in report["scales"].items()}
    page = CasePage(ct, (start, stop), scales, request.crop or "body", report["input"]["modality"])
    for name in ("segmentation", *(f"importance-{method}" for method in report["settings"]["methods"])):
        page.add(name, _result(folder, report["files"].get(name, name), ct))
    try:
        page.write(folder, copy_viewer(out), report, effects.get(folder.name, []))
    except OSError as error:
        raise cannot_write(folder / PAGE, error) from None


def _report(folder: Path) -> dict[str, Any]:
    """Raises CaseRefused if it is missing, damaged, or of another version."""
    path = folder / REPORT
    try:
        report = read_json(path.read_bytes(), LARGEST)
        if report["report_version"] != REPORT_VERSION:
            what = f"is of another version of results ({report['report_version']}, here it is {REPORT_VERSION})"
            raise CaseRefused("VERSION", path, what, AGAIN)
        for part, keys in {
            "settings": ("methods", "axial_slices", "format"), "input": ("modality", "geometry_lps"),
            "model": ("title", "attribution"), "versions": ("unoise_engine",),
        }.items():  # fmt: skip
            for key in keys:
                report[part][key]
        for name in report["settings"]["methods"]:
            build(Scale, report["scales"][name])
            report["titles"][name]
    except FileNotFoundError:
        raise CaseRefused("MISSING", path, "is missing", AGAIN) from None
    except KeyError as error:
        what = f"lacks {error}, as reports of earlier versions do"
        raise CaseRefused("VERSION", path, what, AGAIN) from None
    except (OSError, ValueError, TypeError) as error:
        raise CaseRefused("DAMAGED", path, f"cannot be read ({error})", AGAIN) from None
    return dict(report)


def _ct(out: Path, case: str, report: dict[str, Any], record: Record) -> Volume:
    """The CT that was explained. Raises CaseRefused."""
    row = next((row for row in read_table(out) if row.case == case), None)
    if row is None:
        what = "does not say which file this case is of, and the page shows the CT"
        raise CaseRefused("NO_INPUT", out / TABLE, what, AGAIN)
    source = Path(row.source)
    if not source.exists():
        raise CaseRefused("NO_INPUT", source, "is not there any more", f"bring it back, or {AGAIN}")
    told = record.settings
    reading = ReadSettings(bool(told.get("fill_gaps")), bool(told.get("trust_hu")), report["input"]["modality"])
    try:
        found = [one for one in find_cases([source], reading) if one.source.resolve() == source]
    except Usage as error:
        raise CaseRefused("NO_INPUT", error.source, error.what, error.cure) from None
    inputs = hash_inputs(found[row.part].paths) if row.part < len(found) else None
    if inputs is None or record.inputs is None or inputs.sha256 != record.inputs.sha256:
        raise CaseRefused("CHANGED", source, "has changed since it was explained", AGAIN)
    ct = found[row.part].read().ct
    if list(ct.grid.size) != report["input"]["geometry_lps"]["size"]:
        raise CaseRefused("CHANGED", source, "is read otherwise than when it was explained", AGAIN)
    return ct


def _result(folder: Path, file: str, ct: Volume) -> OnDisk:
    path = folder / Path(file).name
    if path.suffix == ".dcm":
        raise CaseRefused("DICOM", folder, "holds DICOM results, of which a page is made while explaining only", AGAIN)
    if not path.is_file():
        raise CaseRefused("MISSING", path, "is missing", AGAIN)
    found = read_image(path)
    if found.grid.size != ct.grid.size:
        raise CaseRefused("NOT_ON_GRID", path, "does not lie on the grid of the CT", AGAIN)
    return OnDisk(AxialView.of(ct.grid).apply(found.voxels))


def _effects(out: Path, what_if: Path) -> dict[str, list[dict[str, Any]]]:
    """Case -> rows of what-if on the same input. Raises Usage if there are none."""
    sources = {(row.source, row.part): row.case for row in read_table(out)}
    found = {}
    for row in read_table(what_if):
        case, path = sources.get((row.source, row.part)), what_if / row.case / REPORT
        if case and path.is_file():
            found[case] = _rows(path)
    if not found:
        raise Usage(
            what_if, "holds no answers of what-if on these CTs", "give a folder that unoise_engine whatif wrote"
        )
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        effects = read_json(path.read_bytes(), LARGEST)["effects"]
        return [asdict(build(Row, {key: one[key] for key in Row.__annotations__})) for one in effects]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Usage(path, f"is no answer of what-if ({error})", "ask again with unoise_engine whatif") from None
