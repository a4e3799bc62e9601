"""Data sets in their published layouts, small: round bodies whose organ lies in fat, to one side and near the front."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (12, 48, 48)


def torso(seed: int, shape: Any = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """HU int16 and organ bool, (slices, rows, columns), axial: feet first, rows to the back, columns to the left.

    Fat within a wall of muscle; a spine behind, a liver on the right, the organ on the left and in the upper half.
    """
    random = np.random.default_rng(seed)
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    dy, dx, dz = random.uniform(-0.05, 0.05, 3)
    hu = np.full(shape, -1000.0)
    body = x**2 + (y / 0.85) ** 2 + 0 * z
    hu[body < 0.9], hu[body < 0.72] = 50, -100
    hu[(x + 0.45) ** 2 + (y / 1.6) ** 2 + 0.3 * (z - 0.4) ** 2 < 0.09] = 110  # liver
    hu[(x**2 + (y - 0.55) ** 2 < 0.025) & (z > -2)] = 400  # spine
    organ = ((x - 0.2 - dx) / 0.3) ** 2 + ((y + 0.25 + dy) / 0.16) ** 2 + ((z - 0.35 - dz) / 0.55) ** 2 < 1
    hu[organ] = 90
    return (hu + random.normal(0, 12, shape)).astype(np.int16), organ


def save(voxels: np.ndarray, path: Path, spacing_mm: Any = (1.5, 1.5, 3.0)) -> None:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing_mm)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def write_msd(folder: Path, count: int = 4) -> Path:
    """Task07_Pancreas: a training list, test images without labels, and the shadows macOS leaves."""
    listed = []
    for k in range(1, count + 1):
        hu, organ = torso(k)
        labels = organ.astype(np.uint8)
        labels[: SHAPE[0] // 2 + 3][organ[: SHAPE[0] // 2 + 3]] = 2
        name = f"pancreas_{k:03d}.nii.gz"
        save(hu, folder / "imagesTr" / name)
        save(labels, folder / "labelsTr" / name)
        (folder / "imagesTr" / f"._{name}").write_bytes(b"\0\5\x16\7")
        listed.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    save(torso(99)[0], folder / "imagesTs" / "pancreas_099.nii.gz")
    told = {
        "name": "Pancreas",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "pancreas", "2": "cancer"},
        "numTraining": count,
        "training": listed,
        "test": ["./imagesTs/pancreas_099.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(told))
    return folder


def write_series(folder: Path, hu: np.ndarray, number: str) -> None:
    """One DICOM file a slice, 1-001.dcm from the head on, as The Cancer Imaging Archive hands them out."""
    folder.mkdir(parents=True)
    study, series, frame = (generate_uid() for _ in range(3))
    for k, plane in enumerate(hu[::-1]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.Modality, one.PatientID, one.PatientName = "CT", f"PANCREAS_{number}", f"PANCREAS_{number}"
        one.InstanceNumber = k + 1
        one.ImagePositionPatient = [-36, -36, 100.0 + 3 * (len(hu) - 1 - k)]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness = [1.5, 1.5], 3
        one.Rows, one.Columns = plane.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, 0, "HU"
        one.PixelData = plane.astype("<i2").tobytes()
        pydicom.dcmwrite(folder / f"1-{k + 1:03d}.dcm", one, enforce_file_format=True)


def write_pancreas_ct(folder: Path, count: int = 4, flip: Any = lambda organ: organ[:, ::-1]) -> Path:
    """Images and labels as their two downloads unpack; `flip` is what the labels' axes suffer, without a word."""
    for k in range(1, count + 1):
        hu, organ = torso(k)
        number = f"{k:04d}"
        home = folder / "Pancreas-CT" / f"PANCREAS_{number}"
        write_series(home / "11-24-2015-PANCREAS0001-Pancreas-18957" / "Pancreas-63502", hu, number)
        save(np.ascontiguousarray(flip(organ)).astype(np.uint8), folder / "labels" / f"label{number}.nii.gz")
    return folder
