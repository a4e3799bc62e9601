"""Slice views without a window: Slicer's own slice logic and displayable managers, drawn by software Mesa.

The application wraps these in Qt widgets; what is drawn comes from the same libraries. The view's image actor is the
one thing rebuilt here (CTK's light box is not in slicer-core).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


def can_draw() -> bool:
    """Whether this machine draws without a screen; asked in a process of its own, for a bad driver may crash it."""
    ask = (
        "import vtk; from vtk.util.numpy_support import vtk_to_numpy as n; r=vtk.vtkRenderer(); r.SetBackground(1,1,1);"
        "w=vtk.vtkRenderWindow(); w.SetOffScreenRendering(1); w.SetSize(8,8); w.AddRenderer(r); w.Render();"
        "g=vtk.vtkWindowToImageFilter(); g.SetInput(w); g.Update();"
        "raise SystemExit(int(n(g.GetOutput().GetPointData().GetScalars()).min() < 250))"
    )
    return subprocess.run([sys.executable, "-c", ask], capture_output=True).returncode == 0


class World:
    """An MRML scene with the logics that the application would have."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        self.app = slicer.vtkSlicerApplicationLogic()
        self.app.SetMRMLScene(self.scene)
        self.app.GetColorLogic().SetMRMLScene(self.scene)
        self.app.GetColorLogic().AddDefaultColorNodes()
        self.app.SetSliceLogics(vtk.vtkCollection())
        self.app.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self._logics = []
        self._cache = tempfile.TemporaryDirectory()  # loading a saved scene unpacks it there
        remote, manager = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
        remote.SetMRMLScene(self.scene)
        remote.GetCacheManager().SetRemoteCacheDirectory(self._cache.name)
        manager.SetMRMLApplicationLogic(self.app)
        manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        self._logics += [remote, manager]
        for kind in (
            "vtkSlicerColorLogic",
            "vtkSlicerVolumesLogic",
            "vtkSlicerSegmentationsModuleLogic",
            "vtkSlicerSequencesLogic",
            "vtkSlicerSubjectHierarchyModuleLogic",
        ):
            logic = getattr(slicer, kind)()
            logic.SetMRMLApplicationLogic(self.app)
            logic.SetMRMLScene(self.scene)
            self._logics.append(logic)
        self.views: dict[str, View] = {}

    def lay_out(self) -> vtk.vtkObject:
        """Adds the layout node, whose views are opened and closed as the layout changes, as the application does."""
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(self.scene)
        layout = self._layout_logic.GetLayoutNode()
        layout.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._open())
        self._open()
        return layout

    def _open(self) -> None:
        for k in range(self.scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
            node = self.scene.GetNthNodeByClass(k, "vtkMRMLSliceNode")
            if node.GetLayoutName() not in self.views:
                self.views[node.GetLayoutName()] = View(self, node.GetLayoutName())

    def close(self) -> None:
        for view in self.views.values():
            view.window.Finalize()
        self.views = {}


class View:
    def __init__(self, world: World, name: str, size: tuple[int, int] = (480, 400)) -> None:
        self.world, self.renderer, self.window = world, vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        overlay = vtk.vtkRenderer()
        overlay.SetLayer(1)
        overlay.GetActiveCamera().ParallelProjectionOn()
        self.window.SetShowWindow(False)
        self.window.SetOffScreenRendering(1)
        self.window.SetNumberOfLayers(2)
        self.window.SetAlphaBitPlanes(1)
        self.window.AddRenderer(self.renderer)
        self.window.AddRenderer(overlay)
        interactor = vtk.vtkRenderWindowInteractor()
        interactor.SetRenderWindow(self.window)
        self._keep = [overlay, interactor]

        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(world.app)
        world.app.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(world.scene)
        known = world.scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if known is not None:
            self.logic.SetSliceNode(known)
        else:
            self.logic.AddSliceNode(name)
        self.node, self.composite = self.logic.GetSliceNode(), self.logic.GetSliceCompositeNode()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(world.app)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(factory, self.renderer)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.mapper, self.actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.actor.SetMapper(self.mapper)
        self.actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self.actor)
        self.resize(size)

    def resize(self, size: tuple[int, int]) -> None:
        self.window.SetSize(*size)
        self.logic.ResizeSliceNode(*size)

    def fit(self, _node: object = None) -> None:
        self.logic.FitSliceToBackground(-1, -1)
        self.logic.SnapSliceOffsetToIJK()

    def picture(self) -> np.ndarray:
        """(rows from the top, columns, 3) uint8 of what the view shows now."""
        connection = self.logic.GetImageDataConnection()
        self.mapper.SetInputConnection(connection)
        self.actor.SetVisibility(connection is not None)
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.SetInputBufferTypeToRGB()
        grab.Update()
        image = grab.GetOutput()
        columns, rows, _one = image.GetDimensions()
        pixels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)
        return pixels[::-1].copy()

    def pixel_of(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """(row from the top, column) of a point of the world."""
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_xy)
        x, y, *_rest = to_xy.MultiplyPoint((*ras, 1.0))
        return round(self.window.GetSize()[1] - 1 - y), round(x)


class Space:
    """A 3-D view, by Slicer's own displayable managers."""

    MANAGERS = ("vtkMRMLSegmentationsDisplayableManager3D", "vtkMRMLVolumeRenderingDisplayableManager")

    def __init__(self, world: World, size: tuple[int, int] = (400, 400)) -> None:
        self.rendering = slicer.vtkSlicerVolumeRenderingLogic()
        self.rendering.SetMRMLApplicationLogic(world.app)
        self.rendering.SetMRMLScene(world.scene)
        world.app.SetModuleLogic("VolumeRendering", self.rendering)
        self.renderer, self.window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self.window.SetShowWindow(False)
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        interactor = vtk.vtkRenderWindowInteractor()
        interactor.SetRenderWindow(self.window)
        self._keep = [interactor]
        self.node = world.scene.AddNewNodeByClass("vtkMRMLViewNode", "View1")
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(world.app)
        for manager in self.MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(factory, self.renderer)
        self.managers.SetMRMLDisplayableNode(self.node)

    def picture(self) -> np.ndarray:
        """(rows from the top, columns, 3) uint8, from the front."""
        self.renderer.ResetCamera()
        camera = self.renderer.GetActiveCamera()
        focus, far = camera.GetFocalPoint(), camera.GetDistance()
        camera.SetPosition(focus[0], focus[1] + far, focus[2])
        camera.SetViewUp(0, 0, 1)
        self.renderer.ResetCamera()
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        columns, rows, _one = grab.GetOutput().GetDimensions()
        pixels = numpy_support.vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        return pixels.reshape(rows, columns, 3)[::-1].copy()
