"""What the panel asks and shows. Kept in the scene, so that saving and loading it brings the choices back."""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Annotated, Any

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

MOST_SLICES = 100_000
USUAL = "usual"  # the methods that the engine takes by itself, but for slow ones


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
    model: str = ""  # a bundle's name that the engine knows, or a folder; empty: the engine's default
    label: str = ""  # which one of a model of several; empty: its first
    focus: bool = False  # of a model that looks at blocks window by window: one window alone
    methods: str = USUAL  # names, with commas between
    methodParameters: str = "{}"  # JSON: method -> its parameters that are not the usual ones
    region: Region = Region.WHOLE
    firstSlice: Annotated[int, WithinRange(1, MOST_SLICES)] = 1  # counted from the feet
    lastSlice: Annotated[int, WithinRange(1, MOST_SLICES)] = MOST_SLICES
    device: Device = Device.AUTO

    shownMethod: str = ""
    threshold: Annotated[float, WithinRange(0, 100)] = 10.0
    opacity: Annotated[float, WithinRange(0, 100)] = 50.0
    share: Annotated[float, WithinRange(1, 100)] = 100.0
    colours: Colours = Colours.INFERNO
    legend: bool = True
    sideBySide: bool = False
    compared: vtkMRMLSegmentationNode
    difference: bool = False  # the map's place is taken by its difference from the compared result's
    surface: bool = False  # in the 3-D view: of the organ
    cloud: bool = False  # and of the map

    if TYPE_CHECKING:  # what the wrapper adds

        def __init__(self, parameterNode: Any) -> None: ...
        @property
        def parameterNode(self) -> Any: ...
        def connectGui(self, gui: Any) -> int: ...
        def disconnectGui(self, tag: int) -> None: ...


def methods_of(p: UNoiseSlicerParameterNode, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The chosen methods by the engine's names."""
    return usual if p.methods == USUAL else tuple(name for name in p.methods.split(",") if name)


def parameters_of(p: UNoiseSlicerParameterNode) -> dict[str, dict[str, Any]]:
    """Method -> its parameters that are not the usual ones; empty if somebody wrote nonsense there."""
    try:
        found = json.loads(p.methodParameters)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and all(isinstance(one, dict) for one in found.values()) else {}


def bring_forward(p: UNoiseSlicerParameterNode) -> None:
    """A scene saved by an earlier version keeps a switch for each of three methods, and two numbers of one."""
    node = p.parameterNode
    old = {name: node.GetParameter(name) for name in ("unoise", "gradcam", "occlusion", "patch", "stride")}
    if not old["unoise"]:
        return
    p.methods = ",".join(name for name in ("unoise", "gradcam", "occlusion") if old[name].lower() == "true")
    numbers = {name: int(old[name]) for name in ("patch", "stride") if old[name].isdigit()}
    p.methodParameters = json.dumps({"occlusion": numbers})
    for name in old:
        node.UnsetParameter(name)
