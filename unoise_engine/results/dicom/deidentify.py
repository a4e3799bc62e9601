"""The patient taken out of a source, by the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1) for
the few attributes that results repeat.

    names, identifiers, descriptions, sex, age, size, weight, dates, times    emptied (actions X and Z)
    UIDs                                     replaced, the same everywhere (action U)
    body part, place, instance number        kept
    everything else of the source            never read
"""

from __future__ import annotations

from dataclasses import replace

import pydicom
from pydicom.sr.codedict import codes

from unoise_engine.results.dicom.mend import OPTIONAL, PATIENT_AND_STUDY
from unoise_engine.results.dicom.source import Source, twin
from unoise_engine.results.dicom.uids import stable_uid

KEPT = ("BodyPartExamined",)
REPLACED = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def deidentified(source: Source) -> Source:
    """The source without its patient. Replaced UIDs depend on the old ones alone, so all results of a study stay
    together; whoever holds the originals can tell which belong to whom."""
    headers = []
    for original in source.headers:
        header = twin(original)
        for keyword in (*PATIENT_AND_STUDY, *(k for k in OPTIONAL if k in header and k not in KEPT)):
            setattr(header, keyword, "")
        for keyword in REPLACED:
            setattr(header, keyword, stable_uid("de-identified", original[keyword].value))
        header.SpecificCharacterSet = "ISO_IR 192"
        headers.append(header)
    return replace(source, headers=tuple(headers))


def declare(dataset: pydicom.Dataset) -> None:
    """States in an object that its patient was removed, and how."""
    profile = codes.DCM.BasicApplicationConfidentialityProfile
    method = pydicom.Dataset()
    method.CodeValue, method.CodingSchemeDesignator, method.CodeMeaning = profile.value, "DCM", profile.meaning
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Basic Profile; only required source attributes were read"
    dataset.DeidentificationMethodCodeSequence = [method]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
