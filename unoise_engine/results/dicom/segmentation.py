"""The organ's mask as a DICOM Segmentation: binary, one frame for every slice that was looked at, empty ones too."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes

from unoise_engine.results.dicom.anatomy import PRIVATE_SCHEME, organ_code
from unoise_engine.results.dicom.common import (
    algorithm,
    declare_scheme,
    equipment,
    finish,
    quietly,
    stand_ins,
)
from unoise_engine.results.dicom.origin import Origin, short
from unoise_engine.results.dicom.picture import OUTLINE
from unoise_engine.results.dicom.source import Source

SERIES_NUMBER = 9001  # scanners count from 1: results come last in a list of series
COLOURS = {"pancreas": (60, 150, 80)}  # RGB; TotalSegmentator's, so that the organ looks alike in a viewer


def segmentation(source: Source, origin: Origin) -> pydicom.Dataset:
    """All but the pixels; a frame for each of the source's headers."""
    result = "segmentation"
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=short(origin.organ.capitalize()),
        segmented_property_category=codes.cid7150.AnatomicalStructure,
        segmented_property_type=organ_code(origin.organ),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm(origin, f"{origin.model} segmentation", result),
        tracking_id=short(f"{origin.organ} by {origin.model}"),
        tracking_uid=origin.uid(source.names, result, "tracking"),
        display_color=hd.color.CIELabColor.from_rgb(*COLOURS.get(origin.organ.lower(), OUTLINE)),
    )
    with quietly():
        dataset = hd.seg.Segmentation(
            source_images=stand_ins(source),
            pixel_array=np.zeros((len(source.headers), 1, 1), np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[segment],
            series_instance_uid=origin.uid(source.names, result, "series"),
            series_number=SERIES_NUMBER,
            sop_instance_uid=origin.uid(source.names, result, "instance"),
            instance_number=1,
            omit_empty_frames=False,
            content_label="SEGMENTATION",
            content_description=short(f"{origin.organ}, by a model, for research only"),
            series_description=short(f"RESEARCH: {origin.organ} segmentation"),
            **equipment(origin),
        )
        finish(dataset, source, origin, result)
    _name_in_each_frame(dataset)
    if organ_code(origin.organ).scheme_designator == PRIVATE_SCHEME:
        declare_scheme(dataset)
    return dataset


def _name_in_each_frame(dataset: pydicom.Dataset) -> None:
    """The segment that a frame belongs to. highdicom shares it among all; dwv looks for it in each frame alone, and the
    standard allows one or the other (PS3.3, table A.51-2)."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    segment = shared.SegmentIdentificationSequence
    del shared.SegmentIdentificationSequence
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.SegmentIdentificationSequence = segment
