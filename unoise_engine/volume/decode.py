"""Stored DICOM pixels to HU, slice by slice, each with its own rescale."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import Deadline
from unoise_engine.volume.codestream import is_whole, rle_bytes, size_in
from unoise_engine.volume.dicom_images import Image
from unoise_engine.volume.frames import Frames, unsaid_packing
from unoise_engine.volume.mend import AIR_HU
from unoise_engine.volume.names import for_itk
from unoise_engine.volume.part10 import read_header

# Syntaxes that the decoders of GDCM inside SimpleITK know, for when pydicom has no decoder installed.
BY_SIMPLEITK = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)}
PACKAGES = {
    "1.2.840.10008.1.2.4.201": "pylibjpeg-openjpeg", "1.2.840.10008.1.2.4.202": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg-openjpeg", "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}  # fmt: skip
RLE = "1.2.840.10008.1.2.5"
MOST_OPEN = 16  # multi-frame files at a time
TISSUE_HU = (-900, 3000)  # a padding value in this range would take measured voxels for padding


def hu_slices(
    images: Sequence[Image], source: object, deadline: Deadline | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """(rows, columns) float32 in HU and the number of padding pixels, for each image in the order given.

    One slice is in memory at a time, also of a multi-frame file. Raises CaseRefused: UNDECODABLE, TRUNCATED, BOMB,
    TOO_SLOW.
    """
    deadline = deadline or Deadline()
    opened: dict[Path, Frames] = {}
    try:
        for image in images:
            deadline.check(source)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    stored = _stored(image, _one_frame(image, opened, source), source)
            except (CaseRefused, MemoryError):
                raise
            except Exception as error:  # decoders raise whatever damage leads to
                what = f"{image.name} cannot be decoded (its pixels are damaged or incomplete)"
                raise CaseRefused("UNDECODABLE", source, what, "copy it again, or export it uncompressed") from error
            yield _to_hu(image, stored)
    finally:
        for frames in opened.values():
            frames.close()


def _one_frame(image: Image, opened: dict[Path, Frames], source: object) -> pydicom.Dataset:
    """A dataset that holds the image's frame alone. `opened` keeps the multi-frame files in use."""
    if image.frames == 1:
        return read_header(image.path, pixels=True)
    if image.path not in opened:
        if len(opened) >= MOST_OPEN:
            opened.pop(next(iter(opened))).close()
        opened[image.path] = Frames(image.path)
    frames = opened[image.path]
    each = image.rows * image.columns * int(frames.dataset.BitsAllocated) // 8
    if not frames.syntax.is_encapsulated:
        _check_excess(image, frames.length, each, source, image.frames)
    return frames.frame(image.frame, image.frames, each)


def _stored(image: Image, dataset: pydicom.Dataset, source: object) -> np.ndarray:
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    allocated = int(dataset.BitsAllocated)
    if "PixelData" not in dataset:
        raise CaseRefused("TRUNCATED", source, f"{image.name} has no pixels", "copy it again")
    if allocated not in (8, 16, 32) or int(dataset.get("HighBit", image.bits - 1)) != image.bits - 1:
        what = f"{image.name} packs its pixels in an unusual way ({allocated} bits allocated)"
        raise CaseRefused("UNDECODABLE", source, what, "export it with 16 bits a pixel")
    wanted = image.rows * image.columns * allocated // 8
    if not syntax.is_encapsulated:
        if dataset["PixelData"].is_undefined_length:
            raise unsaid_packing(f"{source}, {image.name}")
        if len(dataset.PixelData) < wanted:
            what = f"{image.name} is cut off ({len(dataset.PixelData)} bytes of {wanted} announced)"
            raise CaseRefused("TRUNCATED", source, what, "copy it again")
        _check_excess(image, len(dataset.PixelData), wanted, source)
        stored = pixel_array(dataset, index=0, raw=True)
    else:
        _check_stream(image, dataset, syntax, wanted, source)
        if _decodable(syntax):
            stored = pixel_array(dataset, index=0, raw=True)
        elif syntax in BY_SIMPLEITK:
            stored = _by_simpleitk(image, dataset)
        else:
            package = PACKAGES.get(syntax)
            cure = f"install {package}" if package else "export it uncompressed"
            what = f"{image.name} is stored as {syntax.name}, for which no decoder is installed"
            raise CaseRefused("UNDECODABLE", source, what, cure)
    if stored.shape != (image.rows, image.columns):
        raise CaseRefused("UNDECODABLE", source, f"{image.name} decodes to another size than announced", "export again")
    return _without_overlay(stored, image, dataset)


def _check_excess(image: Image, there: int, wanted: int, source: object, frames: int = 1) -> None:
    """Padding is shorter than a row or column. With more, the image is wider or higher than announced: read so, each
    row would begin elsewhere in the body, with every HU plausible."""
    if there - frames * wanted >= wanted // max(image.rows, image.columns):
        what = f"{image.path.name} holds more pixels than its header announces ({there} bytes, not {frames * wanted})"
        raise CaseRefused("DAMAGED", source, what, "copy or export it again")


def _decodable(syntax: UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _check_stream(image: Image, dataset: pydicom.Dataset, syntax: UID, wanted: int, source: object) -> None:
    """The frame's own size against the header's, before memory is spent on it, and its end."""
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    said = size_in(stream)
    if said is not None and said != (image.rows, image.columns):
        what = f"{image.name} holds an image of {said[1]} x {said[0]}, not of {image.columns} x {image.rows} pixels"
        raise CaseRefused("BOMB" if said[0] * said[1] > 1 << 26 else "UNDECODABLE", source, what, "export it again")
    if len(stream) > 2 * wanted + 65536:
        raise CaseRefused("BOMB", source, f"{image.name} is larger packed than unpacked", "export it again")
    if syntax == RLE:
        _check_excess(image, rle_bytes(stream), wanted, source)
    elif not is_whole(stream):
        raise CaseRefused("TRUNCATED", source, f"{image.name} is cut off within its packed pixels", "copy it again")


def _by_simpleitk(image: Image, dataset: pydicom.Dataset) -> np.ndarray:
    """The same decoding by GDCM, from a file that holds the pixels and nothing else: stored values, no rescale."""
    bare = pydicom.Dataset()
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID = pydicom.uid.generate_uid()
    bare.Modality, bare.SamplesPerPixel, bare.PhotometricInterpretation = "CT", 1, "MONOCHROME2"
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(bare, name, dataset[name].value)
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    bare.PixelData = pydicom.encaps.encapsulate([stream])
    bare["PixelData"].VR = "OB"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "slice.dcm")
        bare.save_as(path, enforce_file_format=True)
        stored = sitk.GetArrayFromImage(sitk.ReadImage(for_itk(path)))[0]
    spare = 8 * stored.dtype.itemsize - image.bits if image.signed else 0
    return (stored << spare) >> spare  # GDCM leaves the sign of odd widths where it is


def _without_overlay(stored: np.ndarray, image: Image, dataset: pydicom.Dataset) -> np.ndarray:
    """Old scanners draw an overlay into the bits above the stored ones; those bits are no HU."""
    drawn = any(
        int(dataset[0x6000 + group, 0x0102].value or 0) > 0
        for group in range(0, 0x20, 2)
        if (0x6000 + group, 0x0102) in dataset
    )
    if not drawn or stored.dtype.itemsize != 2:
        return stored
    spare = 16 - image.bits
    return (stored << spare) >> spare  # arithmetic for signed pixels, logical for unsigned ones


def _to_hu(image: Image, stored: np.ndarray) -> tuple[np.ndarray, int]:
    slope, intercept = image.slope or 1.0, image.intercept or 0.0
    hu = (stored * np.float64(slope) + intercept).astype(np.float32)
    if image.padding is None or padding_is_tissue(image):
        return hu, 0
    low, high = image.padding
    padded = (stored >= low) & (stored <= high)
    count = int(np.count_nonzero(padded))
    if count:
        hu[padded] = AIR_HU if image.modality == "CT" else hu[~padded].min(initial=0 if padded.all() else np.inf)
    return hu, count


def padding_is_tissue(image: Image) -> bool:
    """Whether the declared padding value would be a plausible HU, so that it cannot be told from measured voxels."""
    if image.padding is None or image.modality != "CT":
        return False
    ends = [v * (image.slope or 1.0) + (image.intercept or 0.0) for v in image.padding]
    return any(TISSUE_HU[0] < hu < TISSUE_HU[1] for hu in ends) or (min(ends) <= TISSUE_HU[0] and max(ends) > -900)
