"""Results that exist already, as the DICOM objects that belong beside their CT (extra: dicom). Nothing is computed.

For a program that holds results as volumes on the CT's own voxel grid, such as the 3D Slicer module (see worker.py).
The objects are those that `--format dicom` writes, to the last byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unoise_engine.errors import CaseRefused, MissingExtra, Usage
from unoise_engine.files import new_folder, write_json
from unoise_engine.progress import Progress
from unoise_engine.typed import Misfit, build

if TYPE_CHECKING:
    from unoise_engine.results.dicom.origin import Origin
    from unoise_engine.results.shown import Scale
    from unoise_engine.volume.volume import Volume

SAME_GRID_MM = 1e-4


@dataclass(frozen=True)
class Conversion:
    """`ct` and `results` (named as in a report: segmentation, importance-<method>) are image files on one grid, sheared
    or not. `dicom` are the files that the CT came from, in any order. `report` is that of the run that made the
    results. `out` must not exist yet."""

    ct: Path
    results: dict[str, Path]
    dicom: tuple[Path, ...]
    report: dict[str, Any]
    out: Path
    de_identify: bool = False


def convert(request: Conversion, progress: Progress) -> None:
    """Writes the folder `out`, whole or not at all, with a report.json of its own.

    Raises CaseRefused (NOT_DICOM, NOT_ON_SLICES, NOT_ON_GRID, UNREADABLE, ...), Usage, Environment or MissingExtra.
    """
    if find_spec("highdicom") is None:
        raise MissingExtra("highdicom", "dicom")
    from unoise_engine.results.dicom.result import DicomResult
    from unoise_engine.volume.write import cannot_write

    origin = _origin(request.report)
    names = sorted(request.results, key=lambda name: name != "segmentation")  # maps are drawn with its outline
    if names[:1] != ["segmentation"]:
        raise Usage("results", "hold no segmentation", "give it with the maps")
    ct = _volume(request.ct)
    files: dict[str, str] = {}
    try:
        with (
            new_folder(request.out, inventory=False) as partial,
            progress.stage("", "dicom", len(names) + 1) as advance,
        ):
            writer = DicomResult(ct, _in_order(request.dicom, ct, request.ct), origin, request.ct, request.de_identify)
            advance(1)
            for name in names:
                method = name.removeprefix("importance-")
                told = _verdict(request.report, method), _scale(request.report, method)
                files |= writer.write(name, _on_grid(request.results[name], ct), partial, *told)
                advance(1)
            changes = {
                "corrections": [*request.report.get("corrections", []), *writer.notes],
                "warnings": [*request.report.get("warnings", []), *writer.warnings],
                "settings": {**request.report["settings"], **writer.settings},
                "files": files,
            }
            write_json(partial / "report.json", {**request.report, **changes})
    except OSError as error:
        raise cannot_write(request.out, error) from None
    progress.event("converted", folder=str(request.out), files=len(files), corrections=list(writer.notes))


def _origin(report: dict[str, Any]) -> Origin:
    from unoise_engine.explanation.methods import TITLES
    from unoise_engine.results.dicom.origin import Origin, settled

    try:
        model, settings = report["model"], report["settings"]
        start, stop = settings["axial_slices"]
        return Origin(
            organ=str(report["organ"]["name"]),
            model=str(model["name"]),
            model_hash=str(model["sha256"]),
            engine_version=str(report["versions"]["unoise_engine"]),
            warning=str(report["warning"]),
            slices=(int(start), int(stop)),
            titles=TITLES | {name: str(title) for name, title in report.get("titles", {}).items() if name in TITLES},
            parameters=partial(settled, {name: settings[name] for name in settings["methods"] if name in settings}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Usage("report", f"is not one of this engine ({error})", "explain the CT again") from None


def _verdict(report: dict[str, Any], method: str) -> str:
    """On a map, by the report; empty where it was not tried. Only words that the engine says are passed on."""
    from unoise_engine.explanation.proof import VERDICTS

    proof = report.get("proof")
    told = proof.get(method) if isinstance(proof, dict) else None
    said = told.get("verdict") if isinstance(told, dict) else None
    return said if said in VERDICTS else ""


def _scale(report: dict[str, Any], method: str) -> Scale:
    """How pictures show a map, by the report. Raises Usage."""
    from unoise_engine.results.shown import PLAIN, Scale

    try:
        table = report.get("scales", {}).get(method)
        return PLAIN if table is None else build(Scale, table)
    except (TypeError, AttributeError, Misfit) as error:
        raise Usage("report", f"is not one of this engine ({error})", "explain the CT again") from None


def _volume(path: Path) -> Volume:
    """As stored, also on sheared axes, with z along the slices' normal: nothing is resampled."""
    import numpy as np

    from unoise_engine.volume.read import load_image
    from unoise_engine.volume.volume import Grid, Volume

    voxels, layout = load_image(path)
    steps, origin = layout.steps_mm, layout.origin_mm
    if np.linalg.det(steps) < 0:
        voxels, origin, steps = voxels[::-1], origin + steps[:, 2] * (len(voxels) - 1), steps * (1, 1, -1)
    spacing = np.linalg.norm(steps, axis=0)
    x, y, z = (float(mm) for mm in spacing)
    a, b, c = (float(mm) for mm in origin)
    return Volume(voxels, Grid(layout.size, (x, y, z), (a, b, c), tuple(float(v) for v in (steps / spacing).ravel())))


def _on_grid(path: Path, ct: Volume) -> Volume:
    import numpy as np

    found = _volume(path)
    here, there = (np.array((*v.grid.spacing_mm, *v.grid.origin_mm, *v.grid.direction)) for v in (found, ct))
    if found.grid.size != ct.grid.size or np.abs(here - there).max() > SAME_GRID_MM:
        raise CaseRefused("NOT_ON_GRID", path, "does not lie on the grid of the CT", "explain the CT again")
    return ct.with_voxels(found.voxels)


def _in_order(files: Iterable[Path], ct: Volume, source: Path) -> list[tuple[Path, int]]:
    """File and frame (from 1) of every slice along the CT's z axis.

    Whether they lie on its slices is checked when their headers are read again.
    """
    import numpy as np

    from unoise_engine.volume.dicom_images import NotASlice, read_images

    along = np.asarray(ct.grid.direction).reshape(3, 3)[:, 2]
    places: dict[tuple[Path, int], float] = {}
    for path in files:
        try:
            images = read_images(path, None)
        except NotASlice as reason:
            cure = "use the original series"
            raise CaseRefused("NOT_DICOM", source, f"came from {path.name}, which is {reason}", cure) from None
        for image in images:
            places[path, image.frame + 1] = float(np.dot(along, image.position_mm))
    return sorted(places, key=places.__getitem__)
