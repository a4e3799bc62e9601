"""The results in the 3-D view: the organ as a smooth surface, the map as a cloud in its own colours. MRML only."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from UNoiseSlicerLib import display, volumes
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.ours import role_of

SMOOTHING = 0.5  # of the surface, as the Segment Editor has it when one shows it in 3-D
SURFACE_OPACITY = 0.35  # the cloud inside is to be seen
CLOUD_OPACITY = 0.5  # of a voxel with the highest importance


def show(scene: Any, ct: Any, method: str, look: display.Look, surface: bool, cloud: bool, rendering: Any) -> None:
    """Shows what is asked for and hides the rest, of other CTs too. `rendering`: the logic of Slicer's volume
    rendering; None: there is no cloud."""
    for node in volumes.nodes_of(scene, "vtkMRMLSegmentationNode"):
        if role_of(node) == "segmentation" and node.GetDisplayNode() is not None:
            is_current = node is scenes.results_of(scene, ct).get("segmentation")
            _show_surface(node, surface and is_current, through=cloud)
    shown = scenes.maps_of(scene, ct).get(method) if cloud and not scenes.why_stale(scene, ct) else None
    for node in volumes.nodes_of(scene, "vtkMRMLScalarVolumeNode"):
        if rendering is not None and role_of(node).startswith("importance-"):
            _show_cloud(node, node is shown, look, rendering)


def _show_surface(node: Any, on: bool, through: bool) -> None:
    shown = node.GetDisplayNode()
    closed = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    if on and not node.GetSegmentation().ContainsRepresentation(closed):
        name = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule.GetSmoothingFactorParameterName()
        node.GetSegmentation().SetConversionParameter(name, str(SMOOTHING))
        node.CreateClosedSurfaceRepresentation()
    shown.SetVisibility3D(on)
    shown.SetOpacity3D(SURFACE_OPACITY if through else 1.0)


def _show_cloud(node: Any, on: bool, look: display.Look, rendering: Any) -> None:
    shown = rendering.GetFirstVolumeRenderingDisplayNode(node)
    if shown is None:
        if not on:
            return
        shown = rendering.CreateDefaultVolumeRenderingNodes(node)
    if on:
        colour, opacity = vtk.vtkColorTransferFunction(), vtk.vtkPiecewiseFunction()
        top, least = display.highest(node), max(look.threshold / 100, 0.01)
        for k, (red, green, blue, _alpha) in enumerate(display.rgba(look.colours)[::15]):
            colour.AddRGBPoint(top * k * 15 / 255, red, green, blue)
        for share, seen in ((0.0, 0.0), (least, 0.0), (1.0, CLOUD_OPACITY)):
            opacity.AddPoint(top * share, seen)
        node_of_colours = shown.GetVolumePropertyNode()
        node_of_colours.SetColor(colour)
        node_of_colours.SetScalarOpacity(opacity)
        node_of_colours.GetVolumeProperty().ShadeOff()
    shown.SetVisibility(on)
