"""How the tests of this folder read: one case, or the code it is refused with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.volume.planted import error_hu
from unoise_engine.errors import CaseRefused
from unoise_engine.volume.find import Case, Reading, ReadSettings, find_cases


class Reader:
    """Finds and reads; keeps what was skipped."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def cases(self, *paths: Path, **settings: Any) -> list[Case]:
        return find_cases(list(paths), ReadSettings(**settings), self.keep)

    def keep(self, sentence: str, names: str) -> None:
        self.skipped.append(f"{sentence} {names}")

    def one(self, path: Path, **settings: Any) -> Reading:
        (case,) = self.cases(path, **settings)
        return case.read()

    def refusal(self, path: Path, **settings: Any) -> CaseRefused:
        with pytest.raises(CaseRefused) as caught:
            self.one(path, **settings)
        message = str(caught.value)
        assert message.count(" - ") >= 2 and "\n" not in message, message
        assert "Canary" not in message
        return caught.value

    def error_hu(self, reading: Reading) -> float:
        grid = reading.ct.grid
        steps = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
        return error_hu(reading.ct.voxels, steps, grid.origin_mm)


@pytest.fixture
def read() -> Reader:
    return Reader()
