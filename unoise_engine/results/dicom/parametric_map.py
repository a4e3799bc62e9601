"""An importance map as a DICOM Parametric Map: float32, each stored value being the real one."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes

from unoise_engine.results.dicom.common import algorithm, equipment, finish, quietly, stand_ins
from unoise_engine.results.dicom.origin import Origin, short
from unoise_engine.results.dicom.source import Source

IMPORTANCE = CodedConcept("importance", "99UNOISE", "Importance to a segmentation model")


def parametric_map(
    values: tuple[float, float], method: str, series_number: int, source: Source, origin: Origin
) -> pydicom.Dataset:
    """All but the pixels, which are float32, the larger the more important, and lie within `values`; a frame for each
    source header."""
    result = f"importance-{method}"
    title = f"{origin.title(method)} importance"
    low, high = values
    top = max(high, 0.0) or 1.0  # shown from 0 up, as in every picture; a map of zeros still needs a width
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=short(method.upper(), 16),
        lut_explanation=short(f"{title} for the {origin.organ}"),
        unit=codes.UCUM.NoUnits,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=IMPORTANCE,
    )
    # "Exact": the ordinary function has no windows narrower than 1.
    window = hd.VOILUTTransformation(top / 2, top, voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT)
    with quietly():
        dataset = hd.pm.ParametricMap(
            source_images=stand_ins(source),
            pixel_array=np.zeros((len(source.headers), 1, 1), np.float32),
            series_instance_uid=origin.uid(source.names, result, "series"),
            series_number=series_number,
            sop_instance_uid=origin.uid(source.names, result, "instance"),
            instance_number=1,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[window],
            content_qualification=hd.ContentQualificationValues.RESEARCH,
            content_label="IMPORTANCE",
            content_description=short(f"{title}, for research only"),
            series_description=short(f"RESEARCH: {title}"),
            **equipment(origin),
        )
        finish(dataset, source, origin, result)
        dataset.DerivationAlgorithmSequence = algorithm(origin, title, result)
        dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_abdomen()]
    return dataset


def _abdomen() -> pydicom.Dataset:
    """Required of every frame; without it dciodvfy complains and dcmqi crashes."""
    anatomy = pydicom.Dataset()
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(codes.SCT.Abdomen)]
    anatomy.FrameLaterality = "U"
    return anatomy
