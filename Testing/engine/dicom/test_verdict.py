"""How a map did on the CT at hand stands on its pictures too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from Testing.engine.dicom.conftest import explained
from unoise_engine.results.dicom.font import text_dots


def stands_in(picture: np.ndarray, text: str) -> bool:
    """Whether the dots of a line of text stand anywhere in a picture (rows, columns, 3)."""
    dots, lit = text_dots(text), picture.min(axis=-1) > 200
    rows, columns = (n - m + 1 for n, m in zip(lit.shape, dots.shape))
    return any(
        (lit[r : r + dots.shape[0], c : c + dots.shape[1]] == dots).all() for r in range(rows) for c in range(columns)
    )


def test_the_verdict_is_on_every_picture_of_a_map_that_was_tried(
    series: Any, pancreas_bundle: Any, tmp_path: Path
) -> None:
    for name, prove in (("tried", True), ("untried", False)):
        folder = explained(series, tmp_path / name, pancreas_bundle, methods=("unoise",), prove=prove)
        report = json.loads((folder / "report.json").read_text())
        pictures = [pydicom.dcmread(path).pixel_array for path in folder.glob("overlay-*.dcm")]
        assert pictures
        said = f"on this CT {report['proof']['unoise']['verdict']}" if prove else "on this CT"
        assert all(stands_in(picture, said[: picture.shape[1] // 6 - 1]) is prove for picture in pictures)
