"""U-Noise for CT: which parts of a CT cannot bear noise before the segmentation of the pancreas fails?"""

from __future__ import annotations

import os
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest
from UNoiseSlicerLib import display
from UNoiseSlicerLib.logic import UNoiseSlicerLogic as UNoiseSlicerLogic  # Slicer looks for it here
from UNoiseSlicerLib.widget import UNoiseSlicerWidget as UNoiseSlicerWidget
from UNoiseSlicerLib.workspace import sweep

HERE = os.path.dirname(__file__)
STATUS_MILLISECONDS = 20_000
DOCUMENTATION = "https://github.com/SlicerUNoise/SlicerUNoise/blob/main/docs/tutorials/slicer.md"
SAMPLE = os.path.join(HERE, "Resources", "SampleData", "synthetic-abdomen.nrrd")


class UNoiseSlicer(ScriptedLoadableModule):
    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("U-Noise")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["U-Noise for CT contributors"]
        parent.helpText = _(
            "Shows what a model looks at when it segments the pancreas in a CT: load a CT, click Explain, see why. "
            "For research only, not for clinical use."
        ) + _(' See more information in the <a href="{page}">documentation</a>.').format(page=DOCUMENTATION)
        parent.acknowledgementText = _(
            "After T. Koker, F. Mireshghallah, T. Titcombe and G. Kaissis, U-Noise: Learnable Noise Masks for "
            "Interpretable Image Segmentation, ISBI 2021, arXiv 2101.05791."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)
        slicer.app.connect("startupCompleted()", register_layout)
        slicer.app.connect("startupCompleted()", look_after_scenes)
        slicer.app.connect("startupCompleted()", sweep)


def register_sample_data() -> None:
    """The synthetic CT that is installed with the extension: nothing is downloaded."""
    import SampleData

    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):  # Slicer of 2026 and later
        SampleData.SampleDataLogic.registerCustomSampleDataCategory("U-Noise", title=_("U-Noise"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="U-Noise",
        sampleName="UNoiseSyntheticAbdomen",
        uris="file://" + SAMPLE,
        fileNames=os.path.basename(SAMPLE),
        nodeNames="Synthetic abdomen",
        thumbnailFileName=os.path.join(HERE, "Resources", "Icons", "UNoiseSyntheticAbdomen.png"),
        customDownloader=lambda source: [slicer.util.loadVolume(SAMPLE, {"name": "Synthetic abdomen"})],
    )


def register_layout() -> None:
    """So that a scene that was saved side by side opens before the panel does."""
    display.register_layout(slicer.mrmlScene)


def look_after_scenes() -> None:
    """A scene may be opened and its views seen before the panel is: no map is shown over a CT that it does not fit."""
    scene = slicer.mrmlScene
    scene.AddObserver(scene.EndImportEvent, lambda *_event: put_away_stale())


def put_away_stale() -> None:
    for reason in display.put_away_stale(slicer.mrmlScene):
        slicer.util.showStatusMessage(reason, STATUS_MILLISECONDS)


class UNoiseSlicerTest(ScriptedLoadableModuleTest):
    """The scene tests, inside Slicer."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        from UNoiseSlicerLib import scene_tests

        for name, test in scene_tests.ALL.items():
            self.setUp()
            self.delayDisplay(name)
            test(slicer.mrmlScene)
