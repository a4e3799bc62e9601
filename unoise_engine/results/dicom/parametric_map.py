"""An importance map as a DICOM Parametric Map: float32, each stored value being the real one."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes

from unoise_engine.results.dicom.anatomy import PRIVATE_SCHEME, region_code
from unoise_engine.results.dicom.common import (
    algorithm,
    declare_scheme,
    equipment,
    finish,
    quietly,
    stand_ins,
)
from unoise_engine.results.dicom.origin import Origin, short
from unoise_engine.results.dicom.source import Source
from unoise_engine.results.shown import Scale

IMPORTANCE = CodedConcept("importance", PRIVATE_SCHEME, "Importance to a segmentation model")
NOISE = CodedConcept("noise-borne", PRIVATE_SCHEME, "Standard deviation of the noise that a voxel bears")
SHARE = CodedConcept("importance-share", PRIVATE_SCHEME, "Share of the largest importance in this CT")
NOT_EXPLAINED = "This slice was not explained: 0 here means nothing."


def importance_map(
    values: tuple[float, float],
    scale: Scale,
    method: str,
    series_number: int,
    source: Source,
    origin: Origin,
    explained: slice,
) -> pydicom.Dataset:
    """All but the pixels, which are float32 as computed, the larger the more important, and lie within `values`. Of
    U-Noise they are logits, which no line turns into HU: the mapping's explanation says what both ends of the window
    bear.

    A frame for each source header: OHIF waits for ever if a slice of the CT has none. Frames beyond `explained` hold 0
    and say so.
    """
    low, high = values
    title = f"{origin.title(method)} importance"
    top = max(high, 0.0) or 1.0  # shown from 0 up, as in every picture; a map of zeros still needs a width
    about = f"{title} for the {origin.organ}"
    if scale.most is not None:
        zero, highest = (scale.told(float(noise)) for noise in scale.noise(np.array([0.0, top])))
        about = f"-logit of noise borne; 0: {zero}, {top:.3g}: {highest}"
    mapping = _mapping(method.upper(), about, (low, high), IMPORTANCE)
    dataset = _map(f"importance-{method}", method, title, top, mapping, series_number, source, origin)
    _say_what_was_left_out(dataset, explained)
    return dataset


def display_map(
    top: float, scale: Scale, method: str, series_number: int, source: Source, origin: Origin, explained: slice
) -> pydicom.Dataset:
    """The same map for viewers that take every map for a fraction: stored are shares, 0 to 1, of the largest value
    `top` that pictures of this CT show. Not to be compared between CTs or methods. Shares of U-Noise are mapped to the
    noise that a voxel bears, in the image's unit."""
    title = f"{origin.title(method)} display"
    label, about = f"{method.upper()[:14]} %", f"share of the largest importance, {top:.6g}"
    mapping = _mapping(label, about, (0.0, 1.0), SHARE)
    if scale.most is not None and top > 0:
        about = f"noise borne; 0: {scale.told(scale.most)}, 1: {scale.told(scale.most - top)}"
        line = (-top, scale.most)
        mapping = _mapping(f"{method.upper()[:12]} {scale.unit[:3]}", about, (0.0, 1.0), NOISE, scale.unit, line)
    dataset = _map(f"display-{method}", method, title, 1.0, mapping, series_number, source, origin)
    _say_what_was_left_out(dataset, explained)
    return dataset


def _mapping(
    label: str,
    explanation: str,
    values: tuple[float, float],
    quantity: CodedConcept,
    unit: str = "",
    line: tuple[float, float] = (1.0, 0.0),
) -> hd.pm.RealWorldValueMapping:
    return hd.pm.RealWorldValueMapping(
        lut_label=short(label, 16),
        lut_explanation=short(explanation),
        unit=codes.UCUM.HounsfieldUnit if unit == "HU" else codes.UCUM.NoUnits,
        value_range=values,
        slope=line[0],
        intercept=line[1],
        quantity_definition=quantity,
    )


def _map(
    name: str,
    method: str,
    title: str,
    top: float,
    mapping: hd.pm.RealWorldValueMapping,
    series_number: int,
    source: Source,
    origin: Origin,
) -> pydicom.Dataset:
    result = f"importance-{method}"  # whose settings made it
    # "Exact": the ordinary function has no windows narrower than 1.
    window = hd.VOILUTTransformation(top / 2, top, voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT)
    with quietly():
        dataset = hd.pm.ParametricMap(
            source_images=stand_ins(source),
            pixel_array=np.zeros((len(source.headers), 1, 1), np.float32),
            series_instance_uid=origin.uid(source.names, result, f"{name} series"),
            series_number=series_number,
            sop_instance_uid=origin.uid(source.names, result, f"{name} instance"),
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
        finish(dataset, source, origin, name)
        dataset.DerivationAlgorithmSequence = algorithm(origin, title, result)
        dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_anatomy(origin.organ)]
        declare_scheme(dataset)
    return dataset


def _say_what_was_left_out(dataset: pydicom.Dataset, explained: slice) -> None:
    for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        if not explained.start <= k < explained.stop:
            frame.FrameContentSequence[0].FrameComments = NOT_EXPLAINED


def _anatomy(organ: str) -> pydicom.Dataset:
    """Required of every frame; without it dciodvfy complains and dcmqi crashes."""
    anatomy = pydicom.Dataset()
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(region_code(organ))]
    anatomy.FrameLaterality = "U"
    return anatomy
