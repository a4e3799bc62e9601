"""What the panel asks and shows. Kept in the scene, so that saving and loading it brings the choices back."""

from __future__ import annotations

import enum
from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

MOST_SLICES = 100_000


class Region(enum.Enum):
    """Which axial slices are explained."""

    WHOLE = "whole"
    RANGE = "range"
    VIEW = "view"

    def label(self) -> str:
        return {
            Region.WHOLE: _("Whole volume"),
            Region.RANGE: _("Range of slices"),
            Region.VIEW: _("Slice in view"),
        }[self]


class Device(enum.Enum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        return {Device.AUTO: _("Automatic"), Device.CPU: _("Processor (CPU)"), Device.CUDA: _("Graphics card (CUDA)")}[
            self
        ]


class Colours(enum.Enum):
    INFERNO = "inferno"
    VIRIDIS = "viridis"
    CIVIDIS = "cividis"

    def label(self) -> str:
        return {Colours.INFERNO: "Inferno", Colours.VIRIDIS: "Viridis", Colours.CIVIDIS: "Cividis"}[self]


@parameterNodeWrapper
class UNoiseSlicerParameterNode:
    """Inputs, then how results look. Shares are percent."""

    inputVolume: vtkMRMLScalarVolumeNode
    model: str = ""  # a shipped bundle's name, or a folder; empty: the engine's default
    unoise: bool = True
    gradcam: bool = True
    occlusion: bool = False
    patch: Annotated[int, WithinRange(1, 255)] = 15  # pixels of the model; the paper's
    stride: Annotated[int, WithinRange(0, 255)] = 0  # adaptive
    region: Region = Region.WHOLE
    firstSlice: Annotated[int, WithinRange(1, MOST_SLICES)] = 1  # counted from the feet
    lastSlice: Annotated[int, WithinRange(1, MOST_SLICES)] = MOST_SLICES
    device: Device = Device.AUTO

    shownMethod: str = ""
    threshold: Annotated[float, WithinRange(0, 100)] = 10.0
    opacity: Annotated[float, WithinRange(0, 100)] = 70.0
    share: Annotated[float, WithinRange(1, 100)] = 100.0
    colours: Colours = Colours.INFERNO
    legend: bool = True
    sideBySide: bool = False


def methods_of(parameters: UNoiseSlicerParameterNode) -> tuple[str, ...]:
    """The chosen methods by the engine's names."""
    return tuple(name for name in ("unoise", "gradcam", "occlusion") if getattr(parameters, name))
