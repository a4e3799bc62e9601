"""The warning in the corner of every slice view that shows a map. VTK and MRML only.

It is a text of its own: Slicer's corner annotation is rewritten by the Data Probe whenever the mouse moves.
"""

from __future__ import annotations

from typing import Any

import vtk

from UNoiseSlicerLib import display

COLOUR = (1.0, 0.7, 0.28)


class Warnings:
    """Keeps one line of text in each slice view in step with the volume that the view shows."""

    def __init__(self) -> None:
        self._views: list[tuple[Any, Any, Any, int]] = []

    def watch(self, composite: Any, renderer: Any) -> None:
        """Adds a view, given by what it shows and where it draws; a view that is known already is left alone."""
        if any(known is composite for known, *_rest in self._views):
            return
        text = vtk.vtkTextActor()
        text.GetTextProperty().SetColor(*COLOUR)
        text.GetTextProperty().SetFontSize(14)
        text.GetTextProperty().SetShadow(True)
        text.GetTextProperty().SetJustificationToCentered()
        text.GetTextProperty().SetVerticalJustificationToTop()
        text.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
        text.SetPosition(0.5, 0.985)
        renderer.AddViewProp(text)
        tag = composite.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update(composite, text))
        self._views.append((composite, renderer, text, tag))
        self._update(composite, text)

    def refresh(self) -> None:
        """After results came or went."""
        for composite, _renderer, text, _tag in self._views:
            self._update(composite, text)

    def clear(self) -> None:
        """Leaves the views as they were."""
        for composite, renderer, text, tag in self._views:
            composite.RemoveObserver(tag)
            renderer.RemoveViewProp(text)
        self._views = []

    @staticmethod
    def _update(composite: Any, text: Any) -> None:
        warning = display.warning_in(composite)
        text.SetInput(warning)
        text.SetVisibility(bool(warning))
