"""A picture as a DICOM Secondary Capture image: RGB, single-frame, uncompressed - what every viewer shows."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from unoise_engine.results.dicom.common import algorithm, equipment, finish, quietly
from unoise_engine.results.dicom.origin import Origin, short
from unoise_engine.results.dicom.source import Source

SERIES_NUMBER = 9002
RESULT = "overlay"


def capture(
    picture: np.ndarray, frame: int, method: str, instance_number: int, source: Source, origin: Origin
) -> pydicom.Dataset:
    """`picture` RGB uint8 of the source's slice `frame`. All pictures of a case are one series."""
    image = source.headers[frame]
    title = f"{origin.title(method)} overlay"
    with quietly():
        dataset = hd.sc.SCImage(
            pixel_array=picture,
            photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=hd.CoordinateSystemNames.PATIENT,
            study_instance_uid=image.StudyInstanceUID,
            series_instance_uid=origin.uid(source.names, RESULT, "series"),
            series_number=SERIES_NUMBER,
            sop_instance_uid=origin.uid(source.names, f"importance-{method}", f"overlay {source.names[frame]}"),
            instance_number=instance_number,
            patient_id=image.PatientID,
            patient_name=image.PatientName,
            patient_birth_date=image.PatientBirthDate,
            patient_sex=image.PatientSex,
            accession_number=image.AccessionNumber,
            study_id=image.StudyID,
            study_date=image.StudyDate or None,
            study_time=image.StudyTime or None,
            referring_physician_name=image.ReferringPhysicianName,
            specific_character_set=image.get("SpecificCharacterSet"),
            pixel_spacing=(float(image.PixelSpacing[0]), float(image.PixelSpacing[1])),
            patient_orientation=orientation(image),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description=short(f"RESEARCH: {origin.organ} overlay, not for clinical use"),
            **equipment(origin),
        )
        finish(dataset, source, origin, RESULT)
        dataset.ConversionType = "WSD"  # workstation
        dataset.BurnedInAnnotation = "NO"  # the words burned in do not identify the patient
        dataset.LossyImageCompression = image.get("LossyImageCompression") or "00"
        dataset.DerivationDescription = short(title)
        dataset.DerivationAlgorithmSequence = algorithm(origin, title, f"importance-{method}")
        dataset.SourceImageSequence = [_reference(source, frame)]
    return dataset


def orientation(image: pydicom.Dataset) -> tuple[str, str]:
    """The patient's sides towards which rows and columns run, such as ('L', 'P')."""
    cosines = np.array([float(v) for v in image.ImageOrientationPatient]).reshape(2, 3)
    letters = [("L", "R"), ("P", "A"), ("H", "F")]
    axes = [int(np.abs(c).argmax()) for c in cosines]
    return tuple(letters[a][int(c[a] < 0)] for a, c in zip(axes, cosines))  # type: ignore[return-value]


def _reference(source: Source, frame: int) -> pydicom.Dataset:
    item = source.reference(frame)
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = purpose.value, "DCM", purpose.meaning
    item.PurposeOfReferenceCodeSequence = [code]
    return item
