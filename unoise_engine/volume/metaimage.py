"""MetaImage headers (.mha, and .mhd with its voxels in a plain file beside it). Its frame is LPS."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.layout import HEADER_BYTES, Layout, damaged, open_regular

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
OTHER_MODALITIES = ("MR", "NM", "US")


def metaimage_layout(path: Path, wanted: str = "CT") -> Layout:
    """Raises CaseRefused: EMPTY_FILE, DAMAGED, DETACHED_DATA, NOT_3D, NOT_SCALAR, NOT_CT, NO_ORIENTATION."""
    fields, start = _fields(path)
    data = _voxel_file(path, fields["elementdatafile"])
    try:
        axes = int(fields["ndims"])
        size = tuple(int(n) for n in fields["dimsize"].split())
    except (KeyError, ValueError):
        raise damaged(path, "is not a MetaImage file, or its size is missing") from None
    if axes != 3 or len(size) != 3:
        shape = " x ".join(map(str, size))
        raise CaseRefused("NOT_3D", path, f"has {axes} axes ({shape})", "give one 3-D CT volume")
    element = fields.get("elementtype", "").upper()
    if element.endswith("_ARRAY") or fields.get("elementnumberofchannels", "1") != "1":
        raise CaseRefused("NOT_SCALAR", path, "holds several values a voxel (colour or vector)", "give a CT in HU")
    if element not in TYPES:
        raise damaged(path, "has an unknown voxel type")
    if fields.get("binarydata", "true").lower() != "true" or int(fields.get("headersize", "0") or 0) != 0:
        raise CaseRefused("UNREADABLE", path, "keeps its voxels as text or behind a foreign header", "save it as .mha")
    modality = fields.get("modality", "").upper().removeprefix("MET_MOD_")
    if modality in {"CT", *OTHER_MODALITIES} - {wanted}:
        cure = "give a CT" if wanted == "CT" else f"give an image of {wanted}"
        raise CaseRefused(f"NOT_{wanted}", path, f"says that it is {modality}, not {wanted}", cure)
    axes_text = _first(fields, "transformmatrix", "orientation", "rotation")
    if axes_text is None:
        cure = "save it with its orientation (TransformMatrix), for example from 3D Slicer"
        raise CaseRefused("NO_ORIENTATION", path, "does not say which side is up or left", cure)
    try:
        directions = np.array([float(v) for v in axes_text.split()]).reshape(3, 3).T  # a line names one voxel axis
        spacing = np.array([float(v) for v in (_first(fields, "elementspacing", "elementsize") or "").split()])
        origin = np.array([float(v) for v in (_first(fields, "offset", "position", "origin") or "0 0 0").split()])
        slope = float(fields.get("elementtointensityfunctionslope") or 1)
        intercept = float(fields.get("elementtointensityfunctionoffset") or 0)
        if spacing.shape != (3,) or origin.shape != (3,) or not (slope and np.isfinite([slope, intercept]).all()):
            raise ValueError
    except ValueError:
        raise damaged(path, "has an unreadable spacing, orientation or scale") from None
    with np.errstate(all="ignore"):  # a damaged header's 1e308 squared; the layout's check refuses what is not finite
        steps = directions * spacing
    big = (_first(fields, "binarydatabyteordermsb", "elementbyteordermsb") or "false").lower() == "true"
    return Layout(
        dtype=np.dtype((">" if big else "<") + TYPES[element]),
        size=(size[0], size[1], size[2]),
        steps_mm=steps,
        origin_mm=origin,
        offset=start if data is None else 0,
        packed="voxels" if fields.get("compresseddata", "false").lower() == "true" else "",
        data=data,
        slope=slope,
        intercept=intercept,
    )


def beside(path: Path) -> tuple[Path, ...]:
    """The voxel file of a .mhd header, if it may be followed; nothing for formats that are one file."""
    if path.suffix.lower() != ".mhd":
        return ()
    try:
        data = _voxel_file(path, _fields(path)[0]["elementdatafile"])
    except CaseRefused:  # reading the case says why
        return ()
    return (data,) if data else ()


def _first(fields: dict[str, str], *names: str) -> str | None:
    return next((fields[n] for n in names if n in fields), None)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's lines, keys in lower case, and where it ends."""
    with open_regular(path) as f:
        head = f.read(HEADER_BYTES)
    if not head:
        raise CaseRefused("EMPTY_FILE", path, "is empty (0 bytes)", "copy or export the CT again")
    fields: dict[str, str] = {}
    start = 0
    for line in head.split(b"\n"):
        start += len(line) + 1
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            return fields, start
    raise damaged(path, "is not a MetaImage file")


def _voxel_file(path: Path, name: str) -> Path | None:
    """None if the voxels follow the header. Only a plain file beside it is followed."""
    if name.upper() == "LOCAL":
        return None
    plain = name and Path(name).name == name and "\\" not in name and ":" not in name and "\0" not in name
    voxels = path.parent / name if plain else path
    if not plain or voxels.is_symlink() or not voxels.is_file() or voxels == path:
        what = "names a voxel file that is not a plain file beside it"
        raise CaseRefused("DETACHED_DATA", path, what, "save it as one .mha file")
    return voxels
