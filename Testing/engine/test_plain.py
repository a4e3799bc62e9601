"""The picture of a case without any drawing library, and its thumbnail."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import question
from unoise_engine.results.dicom.picture import OUTLINE
from unoise_engine.results.plain import PANEL_PIXELS, PlainOverview
from unoise_engine.results.shown import Shown
from unoise_engine.volume.write import write_thumbnail


def picture(path: Any) -> Any:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture
def drawn(tmp_path: Path) -> Any:
    """A body of 40 x 60 pixels of 2 x 1 mm, an organ up on the left of the picture, a map that is hot down right."""
    hu, organ, heat = np.full((40, 60), 20.0), np.zeros((40, 60), bool), np.zeros((40, 60), np.float32)
    organ[4:12, 6:18] = True
    heat[30:36, 45:55] = 3.0
    overview = PlainOverview(hu, organ, (2.0, 1.0))
    overview.add("unoise", Shown(heat, "little", "much"))
    overview.draw(tmp_path / "overview.png", "case-0001  -  model: Lüer 患", "axial slice 1 of 9", "line one\nline two")
    return picture(tmp_path / "overview.png")


def test_panels_are_true_to_scale_and_things_are_where_they_are(drawn: Any) -> None:
    outline = (drawn == OUTLINE).all(axis=-1)
    rows, columns = np.nonzero(outline[:, : drawn.shape[1] // 2])
    assert np.ptp(columns) + 1 == 12 * PANEL_PIXELS // 60, "an organ 12 mm wide"
    assert np.ptp(rows) + 1 == 16 * PANEL_PIXELS // 60, "and 16 mm tall: pixels are square"
    left, right = np.split(drawn.astype(int), 2, axis=1)
    hot = (right[..., 0] > right[..., 2] + 60) & (right[..., 0] > 150)
    away = np.argwhere(hot).mean(axis=0) - [rows.mean(), columns.mean()]
    assert np.allclose(away, [25 * 16, 37.5 * 8], atol=40), "2 mm a row, 1 mm a column, 8 pixels a mm"
    assert not ((left[..., 0] > left[..., 2] + 60) & (left[..., 0] > 150))[60:-60].any(), "no map on the CT alone"
    grey = left[left.shape[0] // 2, PANEL_PIXELS // 2]
    assert grey.tolist() == [115] * 3, "20 HU in a window of -160 to 240"


def test_there_is_a_picture_and_a_thumbnail_without_any_drawing_library(
    ct_file: Any, tiny_bundle: Any, tmp_path: Path
) -> None:
    blocked = ("matplotlib", "PIL", "typer", "rich")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); from unoise_engine.worker import main; main()"
    request = question((ct_file,), tmp_path / "out", bundle=str(tiny_bundle), methods=("unoise", "gradcam"))
    done = subprocess.run([sys.executable, "-c", code], input=request, capture_output=True, text=True)
    folder = tmp_path / "out" / "case-0001"
    assert '"status": "OK"' in done.stdout, done
    report = json.loads((folder / "report.json").read_text())
    whole, small = picture(folder / report["files"]["overview"]), picture(folder / "thumbnail.jpg")
    assert whole.shape[1] >= 3 * PANEL_PIXELS and 80 < small.shape[0] < 160 and small.shape[2] == 3
    shrunk = sitk.GetArrayFromImage(sitk.BinShrink(sitk.GetImageFromArray(whole, isVector=True), [5, 5]))
    assert abs(whole.mean() - small.mean()) < 3 and shrunk.std() > 10


def test_a_picture_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    overview = PlainOverview(np.full((8, 8), 20.0), np.zeros((8, 8), bool), (1.0, 1.0))
    with pytest.raises(OSError):
        overview.draw(tmp_path / "none" / "overview.png", "", "", "")
    (tmp_path / "overview.png").write_text("no picture")
    with pytest.raises(OSError):
        write_thumbnail(tmp_path / "overview.png", tmp_path / "thumbnail.jpg")
