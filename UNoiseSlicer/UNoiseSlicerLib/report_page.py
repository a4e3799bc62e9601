"""The last result of a CT as one page of HTML that needs nothing else: pictures, table, settings, warnings.

MRML only.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import slicer.util
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from UNoiseSlicerLib import axial, display, exchange, naming, segmentation, volumes
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.segmentation import OUTLINE, OUTLINE_PIXELS

TEMPLATE = (
    Path(__file__).resolve().parent.parent / "Resources" / "report.html"
)  # a browser that opens it fetches nothing
Colour = tuple[float, float, float]
LEAST_WINDOW = 1e-6


def write_page(
    scene: Any, ct: Any, path: Path, look: display.Look, more: tuple[tuple[str, str, str], ...] = ()
) -> None:
    """`more` are rows for the table, such as a comparison. Raises Refused."""
    scenes.check_fresh(scene, ct)
    text = page(scene, ct, look, more)
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        text = _("{file} cannot be written ({reason}) - choose a folder that can be written and has free space.")
        raise Refused(text.format(file=path, reason=error.strerror)) from None


def page(scene: Any, ct: Any, look: display.Look, more: tuple[tuple[str, str, str], ...] = ()) -> str:
    """The whole text of the page."""
    report = scenes.report_of(scene, ct)
    title = _("{ct}: what the model looked at").format(ct=ct.GetName())
    sentences = [report.get("warning", ""), *exchange.warnings_of(report), *report.get("corrections", [])]
    rows = [scenes.summary_titles(), *(row for row in scenes.summary_rows(report) if any(row[1:])), *more]
    facts = {_("Model"): report.get("model", {}), _("Settings"): report["settings"],
             _("Versions"): report.get("versions", {})}  # fmt: skip
    body = [
        *(f'<p class="warning">{_text(sentence)}</p>' for sentence in dict.fromkeys(sentences) if sentence),
        f'<div class="maps">{"".join(_figures(scene, ct, look))}</div>',
        f"<h2>{_text(_('Results'))}</h2>{_table(rows)}",
        *(f"<p>{_text(note)}</p>" for note in report.get("notes", [])),
        *(f"<h2>{_text(name)}</h2>{_table(list(_flat(table)))}" for name, table in facts.items() if table),
    ]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(title=_text(title), body="\n".join(body))


def axial_picture(
    ct: Any, node: Any, mask: np.ndarray, plane: int, look: display.Look, outline: Colour = OUTLINE
) -> np.ndarray:
    """(rows, columns, 3) uint8 of one plane along the axial voxel axis: CT in its own window, map in its colours,
    outline. The patient's right is on the left, anterior on top."""
    shown = ct.GetDisplayNode()
    window, level = (shown.GetWindow(), shown.GetLevel()) if shown is not None else (400.0, 40.0)
    hu, values, organ = (_upright(array, ct, plane) for array in
                         (slicer.util.arrayFromVolume(ct), slicer.util.arrayFromVolume(node), mask > 0))  # fmt: skip
    grey = np.clip((hu - level) / max(window, LEAST_WINDOW) + 0.5, 0, 1)
    share = np.clip(values / display.highest(node), 0, 1)
    colours = display.rgba(look.colours)[np.round(255 * share).astype(int)]
    over = colours[..., 3] * (look.opacity / 100) * (share >= look.threshold / 100) * (share > 0)
    picture = grey[..., None] * (1 - over[..., None]) + colours[..., :3] * over[..., None]
    inner = organ
    for _pixel in range(OUTLINE_PIXELS):
        inner = inner & np.all([np.roll(inner, way, axis) for axis in (0, 1) for way in (1, -1)], axis=0)
    picture[organ & ~inner] = outline
    return np.round(255 * picture).astype(np.uint8)


def _figures(scene: Any, ct: Any, look: display.Look) -> list[str]:
    """One a map, on the slice that holds most of it."""
    mask, found = scenes.organ_mask(scene, ct), []
    organ = scenes.report_of(scene, ct)["organ"]["name"]
    axis, backwards = axial.axial_axis(volumes.matrix_of(ct))
    total = axial.slice_count(ct)
    for method, node in scenes.maps_of(scene, ct).items():
        plane = axial.most_important_plane(node, scenes.organ_slices(scene, ct))
        if plane is None:
            plane = int(np.argmax(np.moveaxis(mask, 2 - axis, 0).sum(axis=(1, 2))))
        number = total - plane if backwards else plane + 1
        picture = axial_picture(ct, node, mask, plane, look, segmentation.colour_of(organ))
        rows_mm, columns_mm = _spacing(ct)
        ratio = picture.shape[1] * columns_mm / (picture.shape[0] * rows_mm)
        name = exchange.TITLES.get(method, method)
        caption = _("{method}, axial slice {n} of {total} from the feet").format(method=name, n=number, total=total)
        bar = np.round(255 * display.rgba(look.colours)[None, :, :3]).astype(np.uint8)
        low, high = display.ends(node)
        parts = [
            f'<img alt="{_text(caption)}" style="aspect-ratio: {ratio:.4f}" src="{_embedded(picture)}">',
            f'<img class="bar" alt="" src="{_embedded(bar)}">',
            f'<div class="ends"><span>{_text(low)}</span><span>{_text(high)}</span></div>',
            f"<figcaption>{_text(caption)}</figcaption>",
        ]
        found.append(f"<figure>{''.join(parts)}</figure>")
    return found


def _upright(array: np.ndarray, ct: Any, plane: int) -> np.ndarray:
    """(rows, columns) of a plane, the patient's right on the left and anterior on top."""
    rows, columns, flips = _axes(ct)
    axis = axial.axial_axis(volumes.matrix_of(ct))[0]
    flat = np.take(array, plane, axis=2 - axis)
    if rows < columns:  # (k, j, i): the later voxel axis stands for the rows
        flat = flat.T
    return flat[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]


def _axes(ct: Any) -> tuple[int, int, tuple[bool, bool]]:
    """Voxel axes (0 i, 1 j, 2 k) of the rows and the columns, and whether each is to be turned round."""
    cosines = slicer.util.arrayFromVTKMatrix(volumes.matrix_of(ct))[:3, :3]
    axis = axial.axial_axis(volumes.matrix_of(ct))[0]
    one, two = (a for a in range(3) if a != axis)
    columns = one if abs(cosines[0, one]) >= abs(cosines[0, two]) else two
    rows = two if columns == one else one
    return rows, columns, (bool(cosines[1, rows] > 0), bool(cosines[0, columns] > 0))


def _spacing(ct: Any) -> tuple[float, float]:
    rows, columns, _flips = _axes(ct)
    return ct.GetSpacing()[rows], ct.GetSpacing()[columns]


def _embedded(picture: np.ndarray) -> str:
    """(rows, columns, 3) uint8 -> a PNG within the page's own text."""
    rows, columns, _three = picture.shape
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, 1)
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(picture[::-1]).reshape(-1, 3), deep=True)
    image.GetPointData().SetScalars(scalars)
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(image)
    writer.WriteToMemoryOn()
    writer.Write()
    png = numpy_support.vtk_to_numpy(writer.GetResult()).tobytes()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{name}: ")
        elif value != "":
            rows.append((before + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


def _table(rows: list[Any]) -> str:
    return (
        "<table>"
        + "".join("<tr>" + "".join(f"<td>{_text(naming.in_table(str(c)))}</td>" for c in row) + "</tr>" for row in rows)
        + "</table>"
    )


def _text(text: str) -> str:
    return html.escape(str(text))
