"""The panel: reads the choices, hands them to the logic, and shows what comes back. It decides nothing itself."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from UNoiseSlicerLib import about as facts
from UNoiseSlicerLib import (
    axial,
    compare,
    dicom_export,
    display,
    exchange,
    install,
    report_page,
    space,
    under_cursor,
    volumes,
)
from UNoiseSlicerLib import logic as logics
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.annotation import Warnings
from UNoiseSlicerLib.batch import Batch
from UNoiseSlicerLib.dicom_export import DicomExport
from UNoiseSlicerLib.engine_run import State
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.model_import import ModelImport
from UNoiseSlicerLib.ours import ROLE
from UNoiseSlicerLib.parameters import (
    MOST_SLICES,
    Device,
    Region,
    UNoiseSlicerParameterNode,
    bring_forward,
    methods_of,
    parameters_of,
)
from UNoiseSlicerLib.what_if import Hiding

TICK_MILLISECONDS = 100
MOST = 9999  # that a box offers of a parameter without bounds
# What happens to a CT that may part it from its results, or from their names.
CT_EVENTS = (
    vtk.vtkCommand.ModifiedEvent,
    slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,
    slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
)
IMPORT = "<import>"  # in the place of a model's name
PAGES = (".html", ".htm")
PICTURES = (".png", ".jpg", ".jpeg")  # what Screen Capture writes


class UNoiseSlicerWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = logics.UNoiseSlicerLogic()
        self._parameters: UNoiseSlicerParameterNode | None = None
        self._gui_tag: Any = None
        self._warnings = Warnings()
        self._shown: Any = None  # what was last drawn, so that a slider draws once
        self._sliced: Any = None  # the CT whose slices the range boxes count
        self._stale = ""  # why the results are put away
        self._logged = 0
        self._filling = self._drawing = False
        self._known_comparison: list[Any] = []
        self._imported = ""  # a model that the engine will know when it is asked again
        self._waiting = False  # Explain was clicked before the engine had told what it has
        self._boxes: dict[str, Any] = {}  # method -> its check box
        self._fields: dict[str, dict[str, Field]] = {}  # method -> parameter -> its box

    # --- life ---

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/UNoiseSlicer.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MILLISECONDS)
        self._timer.timeout.connect(self._on_tick)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_close_started)
        self.addObserver(scene, scene.EndCloseEvent, self._on_close_ended)
        self.addObserver(scene, scene.EndImportEvent, self._on_import_ended)
        self.addObserver(scene, scene.NodeRemovedEvent, self._on_node_removed)
        layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None:
            self.addObserver(layout, vtk.vtkCommand.ModifiedEvent, self._on_layout)
        crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            self.addObserver(crosshair, crosshair.CursorPositionModifiedEvent, self._on_cursor)
        self.ui.explainButton.clicked.connect(self._on_explain)
        self.ui.modelBox.currentIndexChanged.connect(self._on_model)
        self.ui.labelBox.currentIndexChanged.connect(self._on_label)
        self.ui.methodBox.currentIndexChanged.connect(self._on_method)
        self.ui.jumpButton.clicked.connect(self._on_jump)
        self.ui.exportButton.clicked.connect(self._on_export)
        self.ui.dicomButton.clicked.connect(self._on_export_dicom)
        self.ui.pictureButton.clicked.connect(self._on_picture)
        self.ui.reportButton.clicked.connect(self._on_report)
        self.ui.hideButton.clicked.connect(self._on_hide)
        self.ui.folderButton.clicked.connect(self._on_folder)
        self.ui.wheelButton.clicked.connect(self._on_wheel)
        self.ui.wheelButton.setVisible(False)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        self._timer.stop()
        self.logic.close()
        self._warnings.clear()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        self.initializeParameterNode()
        self._ask(again=self.logic.about is None)

    def exit(self) -> None:
        """What somebody had over the CT comes back for the other modules; a map stays where nothing was."""
        display.give_back_all(slicer.mrmlScene)
        self._shown = None
        self.ui.cursorLabel.setText("")

    def initializeParameterNode(self) -> None:
        p = self.logic.getParameterNode()
        self.setParameterNode(p)
        if p.inputVolume is None:
            for node in volumes.nodes_of(slicer.mrmlScene, "vtkMRMLScalarVolumeNode"):
                if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetAttribute(ROLE):
                    p.inputVolume = node
                    break

    def setParameterNode(self, parameters: UNoiseSlicerParameterNode | None) -> None:
        if self._parameters is not None:
            self._parameters.disconnectGui(self._gui_tag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._parameters, self._shown = parameters, None
        if parameters is not None:
            bring_forward(parameters)
            self._gui_tag = parameters.connectGui(self.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._fill_models()
        self._on_parameters()

    def _on_close_started(self, *_event: Any) -> None:
        self._stop()
        self._warnings.clear()
        self.setParameterNode(None)
        display.put_away(slicer.mrmlScene, None)

    def _on_close_ended(self, *_event: Any) -> None:
        self._sliced = None
        if self.parent.isEntered:
            self.initializeParameterNode()

    def _on_import_ended(self, *_event: Any) -> None:
        if self._parameters is not None:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, _caller: Any, _event: Any, node: Any) -> None:
        """A result or a CT was deleted by hand; what we remove ourselves is followed by our own drawing."""
        for event in CT_EVENTS:
            if self.hasObserver(node, event, self._on_ct):
                self.removeObserver(node, event, self._on_ct)
        if self._parameters is None or self._drawing or self.logic.run is not None:
            return
        if node is not None and (node.GetAttribute(ROLE) or node.IsA("vtkMRMLVolumeNode")):
            self._shown = None
            self._on_parameters()

    def _watch(self) -> None:
        """Whoever moves, edits or renames an explained CT is noticed at once, and so is what was done before."""
        for ct in scenes.explained(slicer.mrmlScene):
            if not self.hasObserver(ct, CT_EVENTS[0], self._on_ct):
                for event in CT_EVENTS:
                    self.addObserver(ct, event, self._on_ct)
                scenes.follow_name(slicer.mrmlScene, ct)

    def _on_ct(self, ct: Any, _event: Any) -> None:
        p, scene = self._parameters, slicer.mrmlScene
        if p is None or self._drawing or scene.IsImporting() or scene.IsClosing():
            return
        scenes.follow_name(scene, ct)
        if ct is p.inputVolume:
            self._on_parameters()

    def _on_cursor(self, crosshair: Any, _event: Any) -> None:
        """The mouse is over a view."""
        p, world = self._parameters, [0.0, 0.0, 0.0]
        if p is None or self._drawing or not self.parent.isEntered:
            return
        inside = crosshair.GetCursorPositionRAS(world)
        here = (world[0], world[1], world[2])
        text = under_cursor.told_at(slicer.mrmlScene, p.inputVolume, here) if inside and p.inputVolume else ""
        self.ui.cursorLabel.setText(text)

    def _on_layout(self, *_event: Any) -> None:
        """Another layout was chosen in Slicer's own menu: the button goes along, and does not fight for the views."""
        p, scene = self._parameters, slicer.mrmlScene
        if p is None or self._drawing or self._shown is None or scene.IsImporting() or scene.IsClosing():
            return
        if p.sideBySide and not display.is_side_by_side(scene):
            p.sideBySide = False

    # --- the run ---

    def _on_explain(self, *_clicked: Any) -> None:
        if self.logic.run is not None:
            self._stop()
            self._say(_("Cancelled - the scene is as it was."))
            return
        p = self._parameters
        if p is None:
            return
        self._say("")
        about = self.logic.about
        self._waiting = (about is None or p.model not in about.models) and self._ask()
        if self._waiting:  # its answer goes on here
            self._update_buttons()
            return
        with self._sentences():
            ct, choices = p.inputVolume, self._choices(p)
            exchange.check_input(ct)
            question = exchange.doubt(ct)
            if question and not slicer.util.confirmYesNoDisplay(question, _("U-Noise")):
                return
            choices = replace(choices, trust_hu=bool(question))
            install.ensure(slicer.util)
            self._begin(self.logic.explain(ct, choices))
        self._update_buttons()

    def _on_wheel(self, *_clicked: Any) -> None:
        path = self.ask_wheel()
        if path:
            with self._sentences():
                self._say(install.install_file(slicer.util, Path(path)))

    def _begin(self, run: Any) -> None:
        self.ui.logText.clear()
        self._logged = 0
        self._show_progress(run.state)
        self._timer.start()

    def _choices(self, p: UNoiseSlicerParameterNode) -> logics.Choices:
        slices = None
        if p.region == Region.RANGE:
            slices = (p.firstSlice - 1, p.lastSlice)
        elif p.region == Region.VIEW and p.inputVolume is not None and p.inputVolume.GetImageData() is not None:
            k = axial.slice_in_view(slicer.mrmlScene, p.inputVolume)
            if k is None:
                raise Refused(
                    _("The axial view shows no slice of {name} - move it into the CT, or choose other slices.").format(
                        name=p.inputVolume.GetName()
                    )
                )
            slices = (k, k + 1)
        about = self.logic.about
        return logics.Choices(
            p.model,
            self._methods(p),
            slices,
            p.device.value,
            self._parameters_of_methods(p),
            label=p.label if about is not None and about.labels_of(p.model) else "",
            focus=p.focus and about is not None and about.has_windows(p.model),
        )

    def _on_tick(self) -> None:
        if self.logic.hear():
            self._on_told()
        run = self.logic.run
        if run is None:
            self._rest()
            return
        done = False
        with self._sentences():
            try:
                done = run.step()
            except logics.Doubted as doubt:
                self._timer.stop()  # the question has an event loop of its own
                question = _("{doubt} Explain anyway?").format(doubt=doubt)
                if not isinstance(run, logics.Run) or not slicer.util.confirmYesNoDisplay(question, _("U-Noise")):
                    raise
                run = self.logic.explain(run.ct, replace(run.choices, trust_hu=True))
                self._begin(run)
        self._show_progress(run.state)
        if self.logic.run is None:
            self._rest()
            if done and isinstance(run, DicomExport):
                self._say(run.said)
            elif done and isinstance(run, Hiding) and run.effect is not None:
                self._say("\n".join(run.notes))
                self.ui.hiddenText.appendPlainText(run.effect.line)
            elif done and isinstance(run, Batch):
                self._say(run.said)
            elif done and isinstance(run, ModelImport):
                self._say(run.said)
                self._imported = run.name
                facts.forget()
                self._ask(again=True)
            elif done and isinstance(run, logics.Run):
                self._arrived(run.ct)
            self._update_buttons()

    def _arrived(self, ct: Any) -> None:
        """Results are in the scene."""
        report = scenes.report_of(slicer.mrmlScene, ct)
        told = exchange.warnings_of(report)
        if report.get("corrections"):
            told.insert(
                0, _("Corrected on reading: {corrections}").format(corrections="; ".join(report["corrections"]))
            )
        if report and not report["organ"]["found"]:
            empty = _("The model found no {organ} - maps of methods that ask about it are empty.")
            told.insert(0, empty.format(organ=report["organ"]["name"]))
        kept = scenes.kept(slicer.mrmlScene, ct)
        if kept:
            told.append(_("Kept in the Data module: {names}.").format(names=", ".join(kept)))
        self._say("\n".join(told))
        self._shown = None
        self._on_parameters()
        p = self._parameters
        if p is not None and p.sideBySide:
            self._arrange(p)
        if p is not None and p.region != Region.VIEW:
            self._jump()

    def _stop(self) -> None:
        self._waiting = False
        self.logic.cancel()
        self._rest()
        self._update_buttons()

    def _rest(self) -> None:
        """The timer runs while the engine does, or is asked something."""
        if self.logic.run is None and not self.logic.asking:
            self._timer.stop()
        else:
            self._timer.start()

    def _show_progress(self, state: State) -> None:
        self.ui.progressBar.setValue(round(1000 * state.share))
        left = "" if state.seconds_left is None else _(", {time} left").format(time=duration(state.seconds_left))
        self.ui.stageLabel.setText((state.stage or _("Starting the engine")) + left)
        for line in state.log[self._logged :]:
            self.ui.logText.appendPlainText(line)
        self._logged = len(state.log)

    # --- what the engine has ---

    def _ask(self, again: bool = False) -> bool:
        """Once for each model elsewhere and each set of parameters. True while an answer is awaited."""
        p = self._parameters
        if p is None:
            return False
        folders = (p.model,) if os.path.isabs(p.model) else ()
        asking = self.logic.ask(folders, self._parameters_of_methods(p), again)
        self._rest()
        return asking

    def _on_told(self) -> None:
        """The engine has told what it has, or will not."""
        if self._parameters is None:
            return
        if self.logic.about is not None and self._imported in self.logic.about.models:
            self._parameters.model, self._imported = self._imported, ""
        self._make_boxes()
        self._fill_models()
        self._shown = None
        self._on_parameters()
        if self._waiting:
            self._on_explain()

    def _make_boxes(self) -> None:
        """A check box for each method, and boxes for its parameters below it."""
        about = self.logic.about
        for name, words in about.fills.items() if about is not None and not self._boxes else ():
            self.ui.fillBox.addItem(name, name)
            self.ui.fillBox.setItemData(self.ui.fillBox.count - 1, words, qt.Qt.ToolTipRole)
        before = self.ui.modelBox
        for name, method in about.methods.items() if about is not None and not self._boxes else ():
            box, row = qt.QCheckBox(method["title"]), qt.QHBoxLayout()
            box.setToolTip(_("{title}: {what}.").format(title=method["title"], what=method["description"]))
            box.toggled.connect(self._on_choice)
            self.ui.methodsBox.layout().addWidget(box)
            self.ui.methodsBox.layout().addLayout(row)
            self._boxes[name] = box
            self._fields[name] = {one["name"]: field for one in method["parameters"] if (field := field_of(one))}
            for field in self._fields[name].values():
                field.changed.connect(self._on_choice)
                row.addWidget(field.widget)
            for widget in (box, *(field.widget for field in self._fields[name].values())):  # as they stand
                qt.QWidget.setTabOrder(before, widget)
                before = widget

    def _methods(self, p: UNoiseSlicerParameterNode) -> tuple[str, ...]:
        """Those that are chosen and that the model may be explained by; none if the engine has not told what it has: it
        takes its own then."""
        about = self.logic.about
        return tuple(n for n in methods_of(p, about.usual(p.model)) if n in about.open_to(p.model)) if about else ()

    def _on_choice(self, *_value: Any) -> None:
        """A method was ticked, or a number of one was changed."""
        p, about = self._parameters, self.logic.about
        if self._filling or p is None or about is None:
            return
        hidden = set(methods_of(p, ())) - set(about.open_to(p.model))  # chosen for another model
        p.methods = ",".join(name for name, box in self._boxes.items() if box.checked or name in hidden)
        changed = {
            method: {name: field.value for name, field in fields.items() if field.value != field.usual}
            for method, fields in self._fields.items()
        }
        p.methodParameters = json.dumps({method: table for method, table in changed.items() if table})

    def _parameters_of_methods(self, p: UNoiseSlicerParameterNode) -> dict[str, dict[str, Any]]:
        """Those that are not the usual ones, of methods and parameters that the engine has."""
        found = parameters_of(p)
        known = {m: {n: v for n, v in found.get(m, {}).items() if n in fields} for m, fields in self._fields.items()}
        return {method: table for method, table in known.items() if table}

    def _fill_boxes(self) -> None:
        p, about = self._parameters, self.logic.about
        if p is None or about is None:
            return
        methods, parameters = self._methods(p), self._parameters_of_methods(p)
        for method, box in self._boxes.items():
            box.setChecked(method in methods)
            box.setEnabled(method in about.open_to(p.model))
            for name, field in self._fields[method].items():
                field.show(parameters.get(method, {}).get(name, field.usual))
                field.widget.setVisible(method in methods)
        model = self.ui.deviceBox.model()
        for row, device in enumerate(Device):
            model.item(row).setEnabled(device.value in about.devices)

    # --- the panel ---

    def _on_parameters(self, *_event: Any) -> None:
        """Brings everything that is not bound by name in step with the parameters, then draws."""
        if self._filling:
            return
        self._filling = True
        try:
            self._watch()
            self._fill_slices()
            self._fill_boxes()
            self._fill_methods()
        finally:
            self._filling = False
        self._ask()
        self._update_buttons()
        self._draw()

    def _update_buttons(self) -> None:
        p, running = self._parameters, self.logic.run is not None
        ready = p is not None and p.inputVolume is not None and bool(self._methods(p) or self.logic.about is None)
        button = self.ui.explainButton
        button.setText(_("Cancel") if running else _("Explain"))
        button.setEnabled(running or (ready and not self._waiting))
        if self._waiting:
            button.setToolTip(_("Starts as soon as the engine has told what it has."))
        elif running:
            button.setToolTip(_("Ends the engine. The scene stays as it was."))
        elif ready:
            button.setToolTip(_("Explain the CT with the chosen methods."))
        else:
            button.setToolTip(_("Choose a CT volume and at least one method."))
        for widget in (self.ui.progressBar, self.ui.stageLabel):
            widget.setVisible(running)
        self.ui.inputsButton.setEnabled(not running)
        found = p is not None and self._has_fresh_maps(p.inputVolume)
        self.ui.resultsButton.setEnabled(found and not running)
        self.ui.hiddenButton.setEnabled(p is not None and p.inputVolume is not None and not running)
        self.ui.batchButton.setEnabled(p is not None and not running)
        reason = dicom_export.why_not(p.inputVolume) if p is not None and found else ""
        purpose = _(
            "Writes segmentation, maps and colour pictures as DICOM objects of the CT's own study, in a new folder."
        )
        self.ui.dicomButton.setEnabled(found and not reason)
        self.ui.dicomButton.setToolTip(reason or purpose)
        estimate = self._estimate(p) if p is not None else ""
        self.ui.estimateLabel.setText(estimate)
        self.ui.estimateLabel.setVisible(bool(estimate))
        for widget in (self.ui.firstBox, self.ui.lastBox):
            widget.setVisible(p is not None and p.region == Region.RANGE)

    @staticmethod
    def _has_fresh_maps(ct: Any) -> bool:
        scene = slicer.mrmlScene
        return bool(scenes.maps_of(scene, ct)) and not scenes.why_stale(scene, ct)

    def _estimate(self, p: UNoiseSlicerParameterNode) -> str:
        """How long the slow ones of the chosen methods will take, a line each."""
        about = self.logic.about
        if about is None or not about.models or p.inputVolume is None or p.inputVolume.GetImageData() is None:
            return ""
        try:
            choices = self._choices(p)
        except Refused:
            return ""
        report = scenes.report_of(slicer.mrmlScene, p.inputVolume)
        slow = [name for name in choices.methods if about.is_slow(name, choices.model)]
        text = _("{method} takes about {time}.")
        times = {name: facts.seconds_of(p.inputVolume, name, about, choices, report) for name in slow}
        return "\n".join(
            text.format(method=about.methods[name]["title"], time=duration(seconds)) for name, seconds in times.items()
        )

    def _fill_slices(self) -> None:
        p = self._parameters
        if p is None or p.inputVolume is None:
            return
        total = max(1, axial.slice_count(p.inputVolume))
        changed = self._sliced is not None and self._sliced is not p.inputVolume
        self._sliced = p.inputVolume
        first, last = (1, MOST_SLICES) if changed else (p.firstSlice, p.lastSlice)
        if (min(first, total), min(last, total)) != (p.firstSlice, p.lastSlice):
            p.firstSlice, p.lastSlice = min(first, total), min(last, total)
        for box in (self.ui.firstBox, self.ui.lastBox):
            box.setMaximum(total)

    def _fill_models(self) -> None:
        """The models that the engine knows, the folder in use, and a way to another one."""
        box, p, about = self.ui.modelBox, self._parameters, self.logic.about
        known = about.models if about is not None else {}
        current = p.model if p is not None else ""
        names = [name for name in known if name == current or not os.path.isabs(name)]
        if current and current not in names and (not known or os.path.isdir(current)):
            names.append(current)
        self._filling = True
        try:
            box.clear()
            for name in names:
                box.addItem(facts.title_of(known[name]) if name in known else name, name)
            box.addItem(_("Other folder..."), "")
            box.addItem(_("Import model..."), IMPORT)
            if names and current not in names and p is not None:
                if current:
                    gone = _("The model {name} is not here any more - {title} is chosen instead.")
                    self._say(gone.format(name=current, title=facts.title_of(known[names[0]])))
                current = p.model = names[0]
            box.setCurrentIndex(max(0, box.findData(current)))
        finally:
            self._filling = False
        self._fill_labels()
        model = known.get(current)
        self.ui.modelLabel.setText(facts.shown_of(model) if model else "")
        details = facts.details_of(model) if model else ""
        self.ui.modelLabel.setToolTip(details or _("What the model is, as its maker says."))

    def _import(self) -> None:
        """A model of nnU-Net, TotalSegmentator or MONAI, made into one that the engine can explain."""
        folder = self.ask_folder(_("Folder of a model of nnU-Net, TotalSegmentator or MONAI"))
        if folder:
            licence = self.ask_text(_("Licence of its weights (empty: as the model says itself)"))
            with self._sentences():
                self._begin(self.logic.import_model(Path(folder), licence))
            self._update_buttons()

    def _fill_labels(self) -> None:
        """What to ask of a model that knows several labels, or works window by window."""
        box, p, about = self.ui.labelBox, self._parameters, self.logic.about
        labels = about.labels_of(p.model) if about is not None and p is not None else []
        if labels and p is not None and p.label not in labels:
            p.label = labels[0]
        was, self._filling = self._filling, True
        try:
            box.clear()
            for name in labels:
                box.addItem(name, name)
            if labels and p is not None:
                box.setCurrentIndex(labels.index(p.label))
        finally:
            self._filling = was
        for widget in (box, self.ui.labelBoxLabel):
            widget.setVisible(bool(labels))
        self.ui.focusBox.setVisible(about is not None and p is not None and about.has_windows(p.model))

    def _on_label(self, *_index: Any) -> None:
        if not self._filling and self._parameters is not None:
            self._parameters.label = self.ui.labelBox.itemData(self.ui.labelBox.currentIndex) or ""

    def _on_model(self, *_index: Any) -> None:
        if self._filling or self._parameters is None:
            return
        chosen = self.ui.modelBox.itemData(self.ui.modelBox.currentIndex)
        if chosen == IMPORT:
            self._fill_models()
            self._import()
            return
        chosen = chosen or self.ask_folder(_("Model folder"))
        if chosen:
            self._parameters.model = chosen
        self._fill_models()
        self._on_parameters()

    def _fill_methods(self) -> None:
        box, p = self.ui.methodBox, self._parameters
        maps = scenes.maps_of(slicer.mrmlScene, p.inputVolume) if p is not None else {}
        names = [*maps, ""] if maps else []
        if [box.itemData(k) for k in range(box.count)] != names:
            box.clear()
            for name in names:
                box.addItem(exchange.TITLES.get(name, name) or _("None (segmentation only)"), name)
            if p is not None and maps and p.shownMethod not in maps:
                p.shownMethod = next(iter(maps))
        if p is not None and p.shownMethod in names:
            box.setCurrentIndex(names.index(p.shownMethod))
        self._fill_table(scenes.report_of(slicer.mrmlScene, p.inputVolume) if p is not None and maps else {})

    def _fill_table(self, report: dict[str, Any]) -> None:
        table, titles = self.ui.summaryTable, scenes.summary_titles()
        rows = scenes.summary_rows(report) if report else []
        p = self._parameters
        if rows and p is not None and (other := self._compared(p)[0]) is not None:
            with self._sentences():
                rows.insert(1, self._comparison(p.inputVolume, other).row)
        table.clearSpans()
        table.setColumnCount(len(titles))
        table.setRowCount(0)
        table.setHorizontalHeaderLabels(list(titles))
        notes = [row for row in rows if not any(row[1:])]
        for r, row in enumerate([row for row in rows if any(row[1:])]):
            table.insertRow(r)
            for c, text in enumerate(row):
                table.setItem(r, c, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        table.horizontalHeader().setStretchLastSection(True)
        for text, *_empty in notes:  # over the whole width, after the columns have found theirs
            r = table.rowCount
            table.insertRow(r)
            table.setSpan(r, 0, 1, len(titles))
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(r, 0, item)

    def _comparison(self, ct: Any, other: Any) -> compare.Comparison:
        """Worked out again only after one of the two was changed."""
        found = scenes.results_of(slicer.mrmlScene, ct)["segmentation"]
        key = [(n.GetID(), n.GetName(), n.GetTransformNodeID(), n.GetSegmentation().GetMTime()) for n in (found, other)]
        if self._known_comparison[:1] != [key]:
            self._known_comparison = [key, compare.compare(slicer.mrmlScene, ct, other)]
        return self._known_comparison[1]

    # --- the views ---

    @staticmethod
    def _look(p: UNoiseSlicerParameterNode) -> display.Look:
        return display.Look(p.colours.value, p.threshold, p.opacity, p.share, p.legend)

    def _draw(self) -> None:
        p, scene = self._parameters, slicer.mrmlScene
        if p is None:
            self._warnings.refresh()
            return
        ct, stale = p.inputVolume, scenes.why_stale(scene, p.inputVolume)
        wanted: Any = stale or None
        if self._has_fresh_maps(ct):
            wanted = (
                ct.GetID(),
                p.shownMethod,
                self._look(p),
                p.sideBySide,
                p.surface,
                p.cloud,
                ct.GetTransformNodeID(),
                self._compared(p),
            )
        if wanted and wanted == self._shown:
            return
        self._shown = wanted
        if stale or self.ui.messageLabel.text == self._stale:
            self._say(stale)
        self._stale = stale
        with self._busy_drawing():
            if stale or wanted is None:
                display.put_away(scene, p.inputVolume)
                compare.outline(scene, None)
                compare.drop(scene)
                space.show(scene, None, "", self._look(p), False, False, volume_rendering())
                self._warnings.refresh()
                return
            other, with_difference = self._compared(p)
            compare.outline(scene, other)
            apart = compare.difference(scene, ct, other, p.shownMethod) if with_difference else None
            compare.drop(scene, kept=apart)
            display.show(scene, ct, p.shownMethod, self._look(p), other, apart)
            space.show(scene, ct, p.shownMethod, self._look(p), p.surface, p.cloud, volume_rendering())
            is_right = display.is_arranged(scene, p.inputVolume) if p.sideBySide else not display.is_side_by_side(scene)
            if not is_right:
                self._arrange(p)
            self._warn_in_views()

    @staticmethod
    def _compared(p: UNoiseSlicerParameterNode) -> tuple[Any, bool]:
        """What the result is compared with, or None, and whether the difference of the maps shows."""
        scene, ct = slicer.mrmlScene, p.inputVolume
        other = p.compared if p.compared is not scenes.results_of(scene, ct).get("segmentation") else None
        has_both = compare.other_map(scene, ct, other, p.shownMethod) is not None
        return other, p.difference and has_both

    def _arrange(self, p: UNoiseSlicerParameterNode) -> None:
        with self._busy_drawing():
            display.side_by_side(slicer.mrmlScene, p.inputVolume, self._look(p), p.sideBySide, self._fit)
        self._warn_in_views()
        self._jump()

    @contextmanager
    def _busy_drawing(self) -> Iterator[None]:
        """What the scene and the layout tell meanwhile is our own doing."""
        before, self._drawing = self._drawing, True
        try:
            yield
        finally:
            self._drawing = before

    @staticmethod
    def _fit(view: Any) -> None:
        logic = slicer.app.applicationLogic().GetSliceLogic(view)
        if logic is not None:
            logic.FitSliceToBackground(-1, -1)
            logic.SnapSliceOffsetToIJK()

    def _warn_in_views(self) -> None:
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames() if manager is not None else ():
            view = manager.sliceWidget(name)
            renderer = view.sliceView().renderWindow().GetRenderers().GetFirstRenderer()
            self._warnings.watch(view.mrmlSliceCompositeNode(), renderer)
        self._warnings.refresh()

    def _on_method(self, *_index: Any) -> None:
        if not self._filling and self._parameters is not None:
            self._parameters.shownMethod = self.ui.methodBox.itemData(self.ui.methodBox.currentIndex) or ""

    def _jump(self) -> str:
        """Moves the views to the most important place; the name of the map if it has none."""
        p = self._parameters
        if p is None:
            return ""
        maps = scenes.maps_of(slicer.mrmlScene, p.inputVolume)
        shown = maps.get(p.shownMethod) or next(iter(maps.values()), None)
        if shown is None or display.jump(slicer.mrmlScene, p.inputVolume, shown):
            return ""
        return shown.GetName()

    def _on_jump(self, *_clicked: Any) -> None:
        empty = self._jump()
        if empty:
            self._say(_("Nothing is important in {name} - choose another map.").format(name=empty))

    def _on_export(self, *_clicked: Any) -> None:
        folder, p = self.ask_folder(_("Export results to")), self._parameters
        if folder and p is not None:
            with self._sentences():
                written = scenes.export(slicer.mrmlScene, p.inputVolume, Path(folder))
                self._say(_("Exported to {folder}").format(folder=written))
            self._on_parameters()  # the CT was looked at once more

    def _on_export_dicom(self, *_clicked: Any) -> None:
        folder, p = self.ask_folder(_("Export DICOM objects to")), self._parameters
        if folder and p is not None:
            self._say("")
            with self._sentences():
                database = getattr(slicer, "dicomDatabase", None)
                self._begin(self.logic.export_dicom(p.inputVolume, Path(folder), database))
            self._on_parameters()

    def _on_picture(self, *_clicked: Any) -> None:
        with self._sentences():
            if slicer.app.layoutManager() is None:
                raise Refused(_("No view is open - a picture needs Slicer's main window."))
            path = self.ask_picture()
            if path:
                import ScreenCapture

                picture = Path(path if Path(path).suffix.lower() in PICTURES else f"{path}.png")
                ScreenCapture.ScreenCaptureLogic().captureImageFromView(None, str(picture))
                if not picture.is_file():  # it says nothing
                    raise Refused(
                        _("{file} was not saved - choose a folder that can be written and has free space.").format(
                            file=picture)
                    )  # fmt: skip
                self._say(_("Saved {file}").format(file=picture))

    def _on_hide(self, *_clicked: Any) -> None:
        p = self._parameters
        if p is None:
            return
        self._say("")
        with self._sentences():
            install.ensure(slicer.util)
            self._begin(self.logic.hide(p.inputVolume, p.hidden, self._choices(p), self._fill()))
        self._update_buttons()

    def _on_folder(self, *_clicked: Any) -> None:
        """A folder of CTs, and another for the results."""
        p = self._parameters
        source = self.ask_folder(_("Folder of CTs")) if p is not None else ""
        out = self.ask_folder(_("Folder for the results, empty or of an earlier run")) if source else ""
        if p is None or not out:
            return
        self._say("")
        with self._sentences():
            install.ensure(slicer.util)
            self._begin(self.logic.explain_folder(Path(source), Path(out), self._choices(p)))
        self._update_buttons()

    def _on_report(self, *_clicked: Any) -> None:
        path, p = self.ask_report(), self._parameters
        if path and p is not None:
            with self._sentences():
                page = Path(path if Path(path).suffix.lower() in PAGES else f"{path}.html")
                other = self._compared(p)[0]
                more = (self._comparison(p.inputVolume, other).row,) if other is not None else ()
                report_page.write_page(slicer.mrmlScene, p.inputVolume, page, self._look(p), more)
                self._say(_("Saved {file}").format(file=page))
            self._on_parameters()  # the CT was looked at once more

    def _fill(self) -> str:
        """What is to stand in the place of what is hidden."""
        return self.ui.fillBox.itemData(self.ui.fillBox.currentIndex) or "mean"

    def ask_folder(self, title: str) -> str:
        return qt.QFileDialog.getExistingDirectory(self.parent, title)

    def ask_text(self, question: str) -> str:
        return qt.QInputDialog.getText(self.parent, _("U-Noise"), question) or ""

    def ask_wheel(self) -> str:
        return qt.QFileDialog.getOpenFileName(
            self.parent, install.wheel_name(), "", _("Wheel of {package}").format(package=install.PACKAGE) + " (*.whl)"
        )

    def ask_picture(self) -> str:
        return qt.QFileDialog.getSaveFileName(self.parent, _("Save picture"), "U-Noise.png", _("Pictures (*.png)"))

    def ask_report(self) -> str:
        return qt.QFileDialog.getSaveFileName(self.parent, _("Save report"), "U-Noise.html", _("Web pages (*.html)"))

    # --- messages ---

    def _say(self, text: str) -> None:
        self.ui.messageLabel.setText(text)
        self.ui.messageLabel.setVisible(bool(text))
        self.ui.wheelButton.setVisible(False)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """A refusal becomes the sentence in the panel. Anything else is a fault of ours: said so, and logged."""
        try:
            yield
        except Refused as refusal:
            self._say(str(refusal))
            self.ui.wheelButton.setVisible(isinstance(refusal, install.PackageMissing))
        except Exception as error:
            logging.exception("U-Noise")
            if self.logic.run is not None:
                self.logic.cancel()
            kind = type(error).__name__
            self._say(_("U-Noise made a mistake ({kind}: {error}) - see Slicer's error log, and report it.").format(
                kind=kind, error=error))  # fmt: skip


def volume_rendering() -> Any:
    """The logic of Slicer's module; None where it is left out."""
    module = getattr(slicer.modules, "volumerendering", None)
    return module.logic() if module is not None else None


class Field:
    """A box for a parameter of a method, by what the engine says of it."""

    def __init__(self, facts: dict[str, Any]):
        self.usual, what = facts["default"], facts["about"]
        if isinstance(self.usual, bool):
            self.widget = qt.QCheckBox(facts["name"])
            self.changed, self.show = self.widget.toggled, self.widget.setChecked
        else:
            self.widget = qt.QSpinBox() if isinstance(self.usual, int) else qt.QDoubleSpinBox()
            self.widget.setMinimum(-MOST if facts["least"] is None else facts["least"])
            self.widget.setMaximum(MOST if facts["most"] is None else facts["most"])
            self.widget.setPrefix(facts["name"] + " ")
            self.changed, self.show = self.widget.valueChanged, self.widget.setValue
        if isinstance(self.usual, float):
            self.widget.setSingleStep(0.05)
        self.widget.setToolTip(what)

    @property
    def value(self) -> Any:
        return self.widget.checked if isinstance(self.usual, bool) else self.widget.value


def field_of(facts: dict[str, Any]) -> Field | None:
    """None for what no box can show: it stays as usual."""
    return Field(facts) if isinstance(facts["default"], bool | int | float) else None


def duration(seconds: float) -> str:
    if seconds < 90:
        return _("{n} s").format(n=max(1, round(seconds)))
    if seconds < 90 * 60:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{n} h").format(n=f"{seconds / 3600:.1f}")
