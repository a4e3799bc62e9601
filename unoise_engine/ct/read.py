"""Image files (NIfTI, NRRD, MetaImage) to volumes.

SimpleITK reads the voxels; what it would accept in silence - a truncated NIfTI, a header that points at other files -
is refused here first.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from unoise_engine.ct.volume import Grid, Volume
from unoise_engine.errors import CaseRefused

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
LARGEST_CT = 4 << 30  # bytes of voxels; a header that asks for more is taken for damage


def is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def beside(path: Path) -> tuple[Path, ...]:
    """The voxel file of a .mhd header, if it is a plain file beside it; nothing for formats that are one file."""
    if path.suffix.lower() != ".mhd":
        return ()
    try:
        with path.open("rb") as f:
            lines = f.read(65536).decode("latin-1").splitlines()
        names = [
            v.strip() for k, _, v in (line.partition("=") for line in lines) if k.strip().lower() == "elementdatafile"
        ]
        data = path.with_name(names[0])
        return (data,) if data.is_file() and not data.is_symlink() else ()
    except (OSError, ValueError, StopIteration):
        return ()


def read_image(path: Path) -> Volume:
    """One 3-D scalar image file -> Volume in the file's own voxel type and order.

    Raises CaseRefused: EMPTY_FILE, TRUNCATED, DETACHED_DATA, UNREADABLE, NOT_3D, NOT_SCALAR, TOO_LARGE.
    """
    _check_bytes(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1:
        colours = reader.GetNumberOfComponents()
        raise CaseRefused("NOT_SCALAR", path, f"has {colours} values a voxel (colour or vector)", "give a CT in HU")
    if len(size) != 3:
        raise CaseRefused("NOT_3D", path, f"has {len(size)} axes {size}", "give one 3-D CT volume")
    stored = 8 if "float" in sitk.GetPixelIDValueAsString(reader.GetPixelID()) else 4
    if int(np.prod([int(n) for n in size])) * stored > LARGEST_CT:
        raise CaseRefused("TOO_LARGE", path, f"claims {size} voxels", "crop the CT to the region of interest")
    try:
        image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise _unreadable(path, error) from None
    return from_image(image)


def from_image(image: sitk.Image) -> Volume:
    grid = Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return Volume(sitk.GetArrayFromImage(image), grid)


def check_ct(ct: Volume, source: object) -> Volume:
    """Refuses a volume that cannot be a CT in HU: nothing finite, or one value everywhere.

    NaN and infinity among good voxels stay: the recipe reads them as air.
    """
    finite = np.isfinite(ct.voxels) if ct.voxels.dtype.kind == "f" else None
    if finite is not None and not finite.any():
        raise CaseRefused("NO_VOXELS", source, "has no finite voxel", "export the CT again")
    good = ct.voxels if finite is None else ct.voxels[finite]
    if good.min() == good.max():
        raise CaseRefused("CONSTANT", source, f"has the value {good.min()} everywhere", "export the CT again")
    return ct


def _unreadable(path: Path, error: Exception) -> CaseRefused:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].removeprefix("ITK ERROR: ") if lines else type(error).__name__
    if "orthonormal" in str(error) or "direction" in reason.lower():
        reason = "its axes are not perpendicular (sheared)"
    return CaseRefused("UNREADABLE", path, f"cannot be read as an image ({reason[:160]})", "export the CT again")


def _check_bytes(path: Path) -> None:
    name = path.name.lower()
    try:
        size = path.stat().st_size
        if size == 0:
            raise CaseRefused("EMPTY_FILE", path, "is empty (0 bytes)", "copy or export the CT again")
        if name.endswith((".nii", ".nii.gz")):
            _check_nifti(path, size)
        elif name.endswith(".nrrd"):
            _check_nrrd(path)
        elif name.endswith((".mha", ".mhd")):
            _check_meta(path, size)
    except OSError as error:
        raise CaseRefused("UNREADABLE", path, f"cannot be read ({error.strerror})", "check its permissions") from None


def _check_nifti(path: Path, size: int) -> None:
    """The header's dimensions against the bytes that are there: SimpleITK fills what is missing with 0 HU."""
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as f:
            header = f.read(352)
    except (OSError, EOFError, gzip.BadGzipFile):
        header = b""
    order = next((o for o in "<>" if len(header) >= 348 and struct.unpack(o + "i", header[:4])[0] == 348), None)
    if order is None:
        raise CaseRefused("UNREADABLE", path, "is not a NIfTI file", "export the CT again")
    axes, *dims = struct.unpack(order + "8h", header[40:56])
    bits = struct.unpack(order + "h", header[72:74])[0]
    offset = struct.unpack(order + "f", header[108:112])[0]
    if not 1 <= axes <= 7 or min(dims[:axes]) < 1:
        raise CaseRefused(
            "UNREADABLE", path, f"has impossible dimensions {dims[: max(0, axes)]}", "export the CT again"
        )
    wanted = int(offset) + int(np.prod([int(d) for d in dims[:axes]])) * bits // 8
    if packed:  # the last four bytes hold the unpacked size modulo 2^32
        with path.open("rb") as f:
            f.seek(-4, 2)
            there, wanted = struct.unpack("<I", f.read(4))[0], wanted % (1 << 32)
        cut = there < wanted or there > wanted + 65536
    else:
        cut = (there := size) < wanted
    if cut:
        what = f"is cut off or damaged ({there} bytes of voxels and header, {wanted} announced)"
        raise CaseRefused("TRUNCATED", path, what, "copy the CT again")


def _check_nrrd(path: Path) -> None:
    with path.open("rb") as f:
        head = f.read(65536).split(b"\n\n", 1)[0].split(b"\r\n\r\n", 1)[0]
    for line in head.decode("latin-1").lower().splitlines():
        if line.replace(" ", "").startswith("datafile:"):
            raise CaseRefused("DETACHED_DATA", path, "keeps its voxels in another file", "save it as one .nrrd file")


def _check_meta(path: Path, size: int) -> None:
    with path.open("rb") as f:
        head = f.read(65536)
    fields: dict[str, str] = {}
    start = 0  # of the voxels, in a file that holds both
    for line in head.split(b"\n"):
        start += len(line) + 1
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            break
    data = fields.get("elementdatafile", "")
    if not data:
        raise CaseRefused("UNREADABLE", path, "is not a MetaImage file", "export the CT again")
    there = size - start
    if data.upper() != "LOCAL":
        voxels = path.parent / data
        if Path(data).name != data or voxels.is_symlink() or not voxels.is_file():
            what = "names a voxel file that is not a plain file beside it"
            raise CaseRefused("DETACHED_DATA", path, what, "save it as one .mha file")
        there = voxels.stat().st_size
    wanted = _meta_bytes(fields)
    if there < wanted:
        raise CaseRefused(
            "TRUNCATED", path, f"is cut off ({there} bytes of voxels, {wanted} announced)", "copy it again"
        )


def _meta_bytes(fields: dict[str, str]) -> int:
    """How many bytes of voxels a MetaImage header announces; 0 if it does not say."""
    try:
        if fields.get("compresseddata", "").lower() == "true":
            return int(fields.get("compresseddatasize", 0))
        voxels = int(np.prod([int(n) for n in fields["dimsize"].split()]))
        return voxels * META_BYTES[fields["elementtype"].upper()] * int(fields.get("elementnumberofchannels", 1))
    except (KeyError, ValueError):
        return 0
