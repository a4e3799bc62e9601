"""Stand-ins, named so, for what only the Slicer application has: PythonQt, CTK, the MRML widgets and, unless
SLICER_SOURCE names a checkout of Slicer, ScriptedLoadableModule and parameterNodeWrapper.

The module's own files and its .ui run unchanged on top of them, over PySide6 without a screen and real MRML. What
differs in the application is not seen here: PythonQt's conversions, CTK's looks, Slicer's event loop.
"""

from __future__ import annotations

import os
import re
import sys
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
import vtk
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

SLICER_SOURCE = os.environ.get("SLICER_SOURCE", "")
KEPT_METHODS = {"sizeHint", "minimumSizeHint", "palette", "font", "cursor"}  # PythonQt's property would hide the method
QUIET = ("QObject::connect", "propagateSizeHints")  # the .ui connects the scene by a C++ signature; no screen here
QtCore.qInstallMessageHandler(lambda _kind, _where, text: None if any(q in text for q in QUIET) else print(text))
APPLICATION = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["stand-in"])


# --- PythonQt: properties are attributes, and nodes cross the border as they are ---


def _properties_as_attributes(kind: Any) -> None:
    meta = kind.staticMetaObject
    for k in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(k).name()
        if name in KEPT_METHODS:
            continue
        getter = lambda self, n=name: QtCore.QObject.property(self, n)  # noqa: E731
        setter = lambda self, value, n=name: (self.setProperty(n, value), None)[1]  # noqa: E731
        setattr(kind, name, property(getter, setter))


def _qt() -> types.ModuleType:
    qt = types.ModuleType("qt")
    for module in (QtCore, QtGui, QtWidgets, QtUiTools):
        for name in dir(module):
            if not name.startswith("_"):
                setattr(qt, name, getattr(module, name))
    for value in list(vars(qt).values()):
        if isinstance(value, type) and issubclass(value, QtCore.QObject) and "staticMetaObject" in dir(value):
            _properties_as_attributes(value)
    QtCore.QObject.name = property(lambda self: QtCore.QObject.property(self, "objectName"))
    QtCore.QObject.className = lambda self: type(self).__name__
    return qt


# --- CTK and the MRML widgets ---


class _Dynamic:
    """QUiLoader sets properties it does not know as dynamic ones: hands them to Python setters."""

    TAKES: tuple[str, ...] = ()

    def event(self, event: QtCore.QEvent) -> bool:
        if event.type() == QtCore.QEvent.Type.DynamicPropertyChange:
            name = bytes(event.propertyName()).decode()
            if name in self.TAKES:
                setattr(self, name, QtCore.QObject.property(self, name))
        base: Any = super()  # a widget
        return base.event(event)


class ctkCollapsibleButton(_Dynamic, QtWidgets.QWidget):
    TAKES = ("text", "collapsed")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._head = QtWidgets.QToolButton(self)
        self._head.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._head.setAutoRaise(True)
        self._collapsed = False
        self._head.clicked.connect(lambda: setattr(self, "collapsed", not self._collapsed))
        self._arrow()

    def _arrow(self) -> None:
        kind = QtCore.Qt.ArrowType
        self._head.setArrowType(kind.RightArrow if self._collapsed else kind.DownArrow)

    def resizeEvent(self, event: Any) -> None:
        self._head.setGeometry(0, 0, self.width, self._head.sizeHint().height())
        super().resizeEvent(event)

    def showEvent(self, event: Any) -> None:
        if self.layout() is not None:
            self.layout().setContentsMargins(9, self._head.sizeHint().height() + 4, 9, 4)
        super().showEvent(event)

    text = property(lambda self: self._head.text, lambda self, value: self._head.setText(value))

    @property
    def collapsed(self) -> bool:
        return self._collapsed

    @collapsed.setter
    def collapsed(self, value: bool) -> None:
        self._collapsed = bool(value)
        self._arrow()
        self.setMaximumHeight(self._head.sizeHint().height() if value else 16777215)


class ctkSliderWidget(_Dynamic, QtWidgets.QWidget):
    valueChanged = QtCore.Signal(float)
    TAKES = ("minimum", "maximum", "singleStep", "decimals", "suffix", "value")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._box = QtWidgets.QDoubleSpinBox()
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._slider.valueChanged.connect(self._box.setValue)
        self._box.valueChanged.connect(self._changed)

    def _changed(self, value: float) -> None:
        self._slider.blockSignals(True)
        self._slider.setValue(round(value))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _both(self, name: str, value: float) -> None:
        getattr(self._box, name)(value)
        getattr(self._slider, name)(round(value))

    value = property(lambda self: QtCore.QObject.property(self._box, "value"), lambda self, v: self._box.setValue(v))
    minimum = property(lambda self: 0.0, lambda self, v: self._both("setMinimum", v))
    maximum = property(lambda self: 0.0, lambda self, v: self._both("setMaximum", v))
    singleStep = property(lambda self: 0.0, lambda self, v: self._box.setSingleStep(v))
    decimals = property(lambda self: 0, lambda self, v: self._box.setDecimals(v))
    suffix = property(lambda self: "", lambda self, v: self._box.setSuffix(v))

    def setValue(self, value: float) -> None:
        self._box.setValue(value)


class qMRMLWidget(QtWidgets.QWidget):
    isEntered = True

    def setMRMLScene(self, scene: Any) -> None:
        for widget in self.findChildren(QtWidgets.QWidget):
            if hasattr(widget, "setMRMLScene"):
                widget.setMRMLScene(scene)


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._ids: list[str | None] = []
        self._tags: list[int] = []
        self.currentIndexChanged.connect(lambda _k: self.currentNodeChanged.emit(self.currentNode()))

    @property
    def nodeTypes(self) -> list[str]:
        return list(QtCore.QObject.property(self, "nodeTypes") or [])

    @nodeTypes.setter
    def nodeTypes(self, value: list[str]) -> None:
        self.setProperty("nodeTypes", value)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndBatchProcessEvent):
            scene.AddObserver(event, lambda *_: self._refresh())
        self._refresh()

    def _refresh(self) -> None:
        current, was = self.currentNodeID(), self.blockSignals(True)
        self.clear()
        self._ids = [None]
        self.addItem("None")
        for kind in self.nodeTypes:
            for k in range(self._scene.GetNumberOfNodesByClass(kind)):
                node = self._scene.GetNthNodeByClass(k, kind)
                if node.GetClassName() == kind and not node.GetHideFromEditors():
                    self._ids.append(node.GetID())
                    self.addItem(node.GetName())
        self.setCurrentIndex(self._ids.index(current) if current in self._ids else 0)
        self.blockSignals(was)
        if self.currentNodeID() != current and not was:
            self.currentNodeChanged.emit(self.currentNode())

    def currentNodeID(self) -> str | None:
        k = QtCore.QObject.property(self, "currentIndex")
        return self._ids[k] if 0 <= k < len(self._ids) else None

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self.currentNodeID()) if self._scene and self.currentNodeID() else None

    def setCurrentNode(self, node: Any) -> None:
        self._refresh()
        self.setCurrentIndex(self._ids.index(node.GetID()) if node is not None and node.GetID() in self._ids else 0)


CUSTOM = (ctkCollapsibleButton, ctkSliderWidget, qMRMLWidget, qMRMLNodeComboBox)


class Loader(QtUiTools.QUiLoader):
    def __init__(self, *parent: Any) -> None:
        super().__init__(*parent)
        for kind in CUSTOM:
            self.registerCustomWidget(kind)


def _absent(name: str) -> type:
    return type(name, (QtWidgets.QWidget,), {})


# --- ScriptedLoadableModule and parameterNodeWrapper, when Slicer's own are not at hand ---


def _scripted_loadable_module() -> types.ModuleType:
    module = types.ModuleType("slicer.ScriptedLoadableModule")

    class ScriptedLoadableModule:
        def __init__(self, parent: Any) -> None:
            self.parent, self.moduleName = parent, type(self).__name__

    class ScriptedLoadableModuleWidget:
        def __init__(self, parent: Any = None) -> None:
            super().__init__()
            self.moduleName = type(self).__name__.removesuffix("Widget")
            self.parent, self.layout = parent, parent.layout()

        def resourcePath(self, name: str) -> str:
            path = getattr(slicer.modules, self.moduleName.lower()).path
            return os.path.join(os.path.dirname(path), "Resources", name)

        def setup(self) -> None:
            pass

    class ScriptedLoadableModuleLogic:
        def __init__(self, parent: Any = None) -> None:
            super().__init__()
            self.moduleName = type(self).__name__.removesuffix("Logic")

        def getParameterNode(self) -> Any:
            known = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if known is None:
                known = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
                known.UnRegister(None)
                known.SetSingletonTag(self.moduleName)
                known.SetModuleName(self.moduleName)
                known = slicer.mrmlScene.AddNode(known)
            return known

    class ScriptedLoadableModuleTest:
        def delayDisplay(self, message: str) -> None:
            print(message)

    for kind in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic,
                 ScriptedLoadableModuleTest):  # fmt: skip
        setattr(module, kind.__name__, kind)
    return module


def _parameter_node_wrapper() -> types.ModuleType:
    """Typed attributes kept as strings and references in a real vtkMRMLScriptedModuleNode, bound by name to widgets."""
    module: Any = types.ModuleType("slicer.parameterNodeWrapper")

    class WithinRange:
        def __init__(self, minimum: float, maximum: float) -> None:
            self.minimum, self.maximum = minimum, maximum

    def parse(kind: type, text: str) -> Any:
        return text == "True" if kind is bool else kind(text)

    def wrap(cls: Any) -> Any:
        hints = typing.get_type_hints(cls, include_extras=True)
        kinds, ranges, defaults = {}, {}, {}
        for name, hint in hints.items():
            kinds[name] = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
            ranges[name] = next((a for a in getattr(hint, "__metadata__", ()) if isinstance(a, WithinRange)), None)
            defaults[name] = getattr(cls, name, None)

        def read(self: Any, name: str) -> Any:
            kind, node = kinds[name], self.parameterNode
            if issubclass(kind, slicer.vtkMRMLNode):
                return node.GetNodeReference(name)
            text = node.GetParameter(name)
            return defaults[name] if not node.HasParameter(name) else parse(kind, text)

        def write(self: Any, name: str, value: Any) -> None:
            kind, limits, node = kinds[name], ranges[name], self.parameterNode
            if issubclass(kind, slicer.vtkMRMLNode):
                if node.GetNodeReference(name) is not value:
                    node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
                    node.Modified()
                return
            if not isinstance(value, kind):
                raise TypeError(f"{name} takes {kind.__name__}, not {value!r}")
            if limits is not None and not limits.minimum <= value <= limits.maximum:
                raise ValueError(f"{name} must lie within {limits.minimum} and {limits.maximum}: {value}")
            node.SetParameter(name, str(value.value if isinstance(value, Enum) else value))

        def init(self: Any, node: Any) -> None:
            object.__setattr__(self, "parameterNode", node)

        def bind(self: Any, name: str, widget: Any) -> tuple[Any, Any, Any]:
            """(signal, how to read the widget, how to write it)"""
            kind, limits = kinds[name], ranges[name]
            if isinstance(widget, qMRMLNodeComboBox):
                return widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode
            if isinstance(widget, QtWidgets.QComboBox):
                values = list(kind)
                widget.clear()
                for one in values:
                    widget.addItem(one.label())
                pick = lambda: values[QtCore.QObject.property(widget, "currentIndex")]  # noqa: E731
                return widget.currentIndexChanged, pick, lambda v: widget.setCurrentIndex(values.index(v))
            if isinstance(widget, QtWidgets.QCheckBox | QtWidgets.QPushButton):
                checked = lambda: bool(QtCore.QObject.property(widget, "checked"))  # noqa: E731
                return widget.toggled, checked, widget.setChecked
            if limits is not None:
                widget.minimum, widget.maximum = limits.minimum, limits.maximum
            value = lambda: kind(widget.value)  # noqa: E731
            return widget.valueChanged, value, widget.setValue

        def connect(self: Any, ui: Any) -> Any:
            ends = []
            for widget in vars(ui).values():
                name = QtCore.QObject.property(widget, "SlicerParameterName")
                if name:
                    signal, take, give = bind(self, name, widget)
                    give(getattr(self, name))
                    slot = lambda *_a, n=name, t=take: setattr(self, n, t())  # noqa: E731
                    signal.connect(slot)
                    ends.append((name, signal, slot, give))

            def refresh(*_event: Any) -> None:
                for name, _signal, _slot, give in ends:
                    give(getattr(self, name))

            return ends, self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, refresh)

        def disconnect(self: Any, tag: Any) -> None:
            for _name, signal, slot, _give in tag[0]:
                signal.disconnect(slot)
            self.parameterNode.RemoveObserver(tag[1])

        def attribute(name: str) -> property:
            return property(lambda self: read(self, name), lambda self, value: write(self, name, value))

        for name in hints:
            setattr(cls, name, attribute(name))
        cls.__init__, cls.connectGui, cls.disconnectGui = init, connect, disconnect
        cls.AddObserver = lambda self, event, call, priority=0.0: self.parameterNode.AddObserver(event, call, priority)
        cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
        return cls

    module.WithinRange, module.parameterNodeWrapper = WithinRange, wrap
    return module


# --- the application ---


class SliceWidget:
    """What the layout manager hands out for one of the off-screen views."""

    def __init__(self, view: Any) -> None:
        self._view = view

    def mrmlSliceCompositeNode(self) -> Any:
        return self._view.composite

    def sliceView(self) -> SliceWidget:
        return self

    def renderWindow(self) -> Any:
        return self._view.window


class LayoutManager:
    def __init__(self, world: Any) -> None:
        self._world = world

    def sliceViewNames(self) -> list[str]:
        return list(self._world.views)

    def sliceWidget(self, name: str) -> SliceWidget:
        return SliceWidget(self._world.views[name])


def install(module_folder: Path) -> None:
    """Puts the stand-ins in place, once a process."""
    if "qt" in sys.modules:
        return
    qt: Any = _qt()
    ctk: Any = types.ModuleType("ctk")
    qt.QUiLoader = Loader
    for kind in CUSTOM:
        setattr(ctk if kind.__name__.startswith("ctk") else slicer, kind.__name__, kind)
    sys.modules.update({"qt": qt, "ctk": ctk})
    if SLICER_SOURCE:
        ctk.__getattr__ = lambda name: _absent(name) if name.startswith("ctk") else _raise(name)
        slicer.__getattr__ = lambda name: _absent(name) if re.match("q(MRML|Slicer)", name) else _raise(name)
        for name in [n for n in sys.modules if n.startswith("slicer.i18n")]:
            del sys.modules[name]
        slicer.__path__.append(os.path.join(SLICER_SOURCE, "Base", "Python", "slicer"))
    else:
        sys.modules["slicer.ScriptedLoadableModule"] = _scripted_loadable_module()
        sys.modules["slicer.parameterNodeWrapper"] = _parameter_node_wrapper()
    slicer.modules = types.SimpleNamespace(
        unoiseslicer=types.SimpleNamespace(path=str(module_folder / "UNoiseSlicer.py"))
    )


def _raise(name: str) -> Any:
    raise AttributeError(name)


def start(world: Any, main_window: bool = True) -> None:
    """The application around one scene."""
    manager = LayoutManager(world) if main_window else None
    nothing = types.SimpleNamespace(connect=lambda *_a: None, disconnect=lambda *_a: None)
    slicer.app = types.SimpleNamespace(
        applicationLogic=lambda: world.app,
        layoutManager=lambda: manager,
        processEvents=APPLICATION.processEvents,
        connect=lambda *_a: None,
        moduleManager=lambda: nothing,
        testingEnabled=lambda: False,
        translate=lambda _context, text: text,
        settings=QtCore.QSettings,
        userSettings=QtCore.QSettings,
        commandOptions=lambda: types.SimpleNamespace(testingEnabled=True),
        applicationName="stand-in",
        slicerHome="",
    )
