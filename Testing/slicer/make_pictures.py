"""Remakes the icon and the documentation's pictures: `make screenshots`; with --sample, the sample CT too.

A bundle's folder as the last argument takes the place of the model that ships.

The views are drawn by Slicer's own libraries (slicer-core, off screen); the panel is the module's own, under the
PySide6 stand-in. The title bars of the views are drawn here as the application draws them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import conftest  # noqa: F401  paths and translations
import numpy as np
import slicer
import slicer.util
import stand_in
from offscreen import World
from PySide6 import QtCore, QtGui

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "Resources" / "Screenshots"
ICON = ROOT / "UNoiseSlicer" / "Resources" / "Icons" / "UNoiseSlicer.png"
SAMPLE = ROOT / "UNoiseSlicer" / "Resources" / "SampleData" / "synthetic-abdomen.nrrd"
SAMPLE_COMMAND = ("phantom", "--seed", "2027", "--size", "208", "--slices", "40")
SHOWN = ("unoise-near", "gradcam", "occlusion")  # methods; `unoise-refined` would take an hour
VIEW = (460, 360)
THUMBNAIL = (260, 280)
SAMPLE_ICON = ICON.with_name("UNoiseSyntheticAbdomen.png")
BAR = 20
stand_in.install(ROOT / "UNoiseSlicer")

from UNoiseSlicerLib import display, exchange
from UNoiseSlicerLib.segmentation import OUTLINE

import UNoiseSlicer as module


def make_sample(path: Path) -> None:
    """`unoise_engine phantom OUT --seed 2027 --size 208 --slices 40`, as NRRD, which Slicer's volumes are."""
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "unoise_engine", SAMPLE_COMMAND[0], folder, *SAMPLE_COMMAND[1:]],
                       cwd=ROOT, check=True)  # fmt: skip
        image = sitk.ReadImage(str(Path(folder) / "case-0000-ct.nii.gz"))
    plain = sitk.GetImageFromArray(sitk.GetArrayFromImage(image))  # voxels and position, no header fields
    plain.CopyInformation(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(plain, str(path), useCompression=True, compressionLevel=9)


def make_thumbnail(path: Path) -> None:
    """The sample CT's middle slice, in the size that the Sample Data module asks for."""
    import SimpleITK as sitk

    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(SAMPLE)))
    grey = np.clip((hu[len(hu) // 2] + 160) / 400 * 255, 0, 255).astype(np.uint8)
    rows, columns = np.nonzero(grey > 60)
    body = grey[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    small = picture(np.repeat(body[..., None], 3, axis=2)).scaled(
        *THUMBNAIL, QtCore.Qt.AspectRatioMode.KeepAspectRatio, QtCore.Qt.TransformationMode.SmoothTransformation
    )
    out = QtGui.QImage(*THUMBNAIL, QtGui.QImage.Format.Format_RGB888)
    out.fill(QtCore.Qt.GlobalColor.black)
    painter = QtGui.QPainter(out)
    painter.drawImage((THUMBNAIL[0] - small.width()) // 2, (THUMBNAIL[1] - small.height()) // 2, small)
    painter.end()
    out.save(str(path))


def picture(pixels: np.ndarray) -> QtGui.QImage:
    pixels = np.ascontiguousarray(pixels[..., :3], np.uint8)
    rows, columns, _three = pixels.shape
    return QtGui.QImage(pixels.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format.Format_RGB888).copy()


def make_icon(path: Path) -> None:
    """Noise everywhere but where the organ is, where the heat of its importance shows."""
    n = 512
    y, x = (np.indices((n, n)) - n / 2) / (n / 2)
    bend = y + 0.35 * np.cos(2.2 * x) - 0.22
    organ = (bend / (0.24 - 0.10 * x)) ** 2 + (x / 0.74) ** 2
    heat = np.clip(1.25 - organ, 0, 1)
    cells = np.random.default_rng(4).uniform(0.08, 0.75, (32, 32))
    noise = np.kron(cells, np.ones((16, 16)))
    fade = np.clip((organ - 0.75) / 0.9, 0, 1)
    grey = (0.12 + fade * (noise - 0.12))[..., None] * np.ones(3)
    colours = display.rgba("inferno")[np.clip(heat * 215 + 40, 0, 255).astype(int), :3]
    weight = np.clip(heat / 0.3, 0, 1)[..., None]
    out = 255 * (weight * colours + (1 - weight) * grey)
    out[np.abs(organ - 1) < 0.085] = np.array(OUTLINE) * 255
    image = picture(out).convertToFormat(QtGui.QImage.Format.Format_ARGB32)
    mask = QtGui.QImage(n, n, QtGui.QImage.Format.Format_ARGB32)
    mask.fill(QtCore.Qt.GlobalColor.transparent)
    painter = QtGui.QPainter(mask)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.setBrush(QtGui.QBrush(image))
    painter.setPen(QtCore.Qt.PenStyle.NoPen)
    painter.drawRoundedRect(0, 0, n, n, 90, 90)
    painter.end()
    smooth = QtCore.Qt.TransformationMode.SmoothTransformation
    path.parent.mkdir(parents=True, exist_ok=True)
    mask.scaled(128, 128, mode=smooth).save(str(path))


def titled(view: Any, title: str, colour: str) -> QtGui.QImage:
    """A view under its bar."""
    pixels = picture(view.picture())
    out = QtGui.QImage(pixels.width(), pixels.height() + BAR, QtGui.QImage.Format.Format_RGB888)
    painter = QtGui.QPainter(out)
    painter.fillRect(0, 0, pixels.width(), BAR, QtGui.QColor(colour))
    font = QtGui.QFont()
    font.setPixelSize(12)
    painter.setFont(font)
    painter.setPen(QtCore.Qt.GlobalColor.white)
    box = QtCore.QRect(8, 0, pixels.width(), BAR)
    painter.drawText(box, int(QtCore.Qt.AlignmentFlag.AlignVCenter), title)
    painter.drawImage(0, BAR, pixels)
    painter.end()
    return out


def grid(images: list[QtGui.QImage], columns: int, gap: int = 3) -> QtGui.QImage:
    w, h = images[0].width(), images[0].height()
    rows = -(-len(images) // columns)
    out = QtGui.QImage(columns * (w + gap) - gap, rows * (h + gap) - gap, QtGui.QImage.Format.Format_RGB888)
    out.fill(QtCore.Qt.GlobalColor.black)
    painter = QtGui.QPainter(out)
    for k, image in enumerate(images):
        painter.drawImage(k % columns * (w + gap), k // columns * (h + gap), image)
    painter.end()
    return out


def tell(widget: Any) -> None:
    """Until the engine has told what it has."""
    while widget.logic.asking:
        stand_in.APPLICATION.processEvents()
        time.sleep(0.02)


def main() -> None:
    if not SAMPLE.is_file() or "--sample" in sys.argv:
        make_sample(SAMPLE)
    make_icon(ICON)
    make_thumbnail(SAMPLE_ICON)
    SHOTS.mkdir(parents=True, exist_ok=True)
    world = World()
    world.lay_out()
    stand_in.start(world)
    storage, ct = slicer.vtkMRMLNRRDStorageNode(), slicer.vtkMRMLScalarVolumeNode()
    storage.SetFileName(str(SAMPLE))
    storage.ReadData(ct)
    ct.SetName("Synthetic abdomen")
    world.scene.AddNode(ct)
    ct.CreateDefaultDisplayNodes()
    ct.GetDisplayNode().AutoWindowLevelOff()
    ct.GetDisplayNode().SetWindowLevel(400, 40)

    window = slicer.qMRMLWidget()
    window.setLayout(stand_in.QtWidgets.QVBoxLayout())
    widget = module.UNoiseSlicerWidget(window)
    widget.setup()
    widget.logic.python = sys.executable
    widget._ask(again=True)
    parameters: Any = widget._parameters
    given = [a for a in sys.argv[1:] if not a.startswith("-")]
    if given:
        parameters.model = given[0]
        widget.initializeParameterNode()
    tell(widget)
    if not given and not (widget.logic.about and widget.logic.about.models):
        import small_world

        print("no model ships yet: the pictures show the small model of the tests")
        folder = Path(tempfile.mkdtemp()) / "small"
        parameters.model = str(small_world.write_small_bundle(folder))
        widget.initializeParameterNode()
    tell(widget)
    for name, box in widget._boxes.items():
        box.setChecked(name in SHOWN)
    widget.ui.explainButton.click()
    while widget.logic.run is not None:
        stand_in.APPLICATION.processEvents()
        time.sleep(0.02)
    if widget.ui.messageLabel.text:
        raise SystemExit(widget.ui.messageLabel.text)
    print(widget.ui.logText.plainText)

    widget.ui.sideButton.click()
    names = [c.GetLayoutName() for c in display.composites(world.scene, side_by_side=True)]
    for name in names:
        world.views[name].resize(VIEW)
        world.views[name].fit()
        world.views[name].node.SetFieldOfView(*(f * 0.86 for f in world.views[name].node.GetFieldOfView()[:2]), 1)
    widget._jump()
    titles = [_("CT"), *(exchange.TITLES[name] for name in SHOWN)]
    grid([titled(world.views[n], t, "#5a5a5a") for n, t in zip(names, titles)], 2).save(str(SHOTS / "methods.png"))

    parameters.shownMethod, parameters.threshold = "unoise", 100.0
    shares = []
    for share in (50.0, 20.0, 10.0, 5.0):
        parameters.share = share
        title = _("{title}: the most important {share:.0f} % of the voxels").format(title=titles[1], share=share)
        shares.append(titled(world.views[names[1]], title, "#5a5a5a"))
    grid(shares, 2).save(str(SHOTS / "share.png"))
    parameters.share, parameters.threshold = 100.0, 10.0

    window.resize(430, 860)
    window.show()
    stand_in.APPLICATION.processEvents()
    window.grab().save(str(SHOTS / "panel.png"))
    widget.cleanup()
    world.close()
    print("made", *(os.path.relpath(p, ROOT) for p in (ICON, SAMPLE, *sorted(SHOTS.glob("*.png")))))


def _(text: str) -> str:
    return text


if __name__ == "__main__":
    main()
