"""What was never measured becomes air and is counted; whole numbers take two bytes a voxel."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.volume.mend import AIR_HU, clean


def test_no_numbers_and_padding_become_air_and_are_told() -> None:
    voxels, notes = clean(np.array([[[np.nan, 40, -3024]], [[np.inf, -np.inf, 7]]], np.float32))
    assert voxels.dtype == np.int16 and voxels.tolist() == [[[AIR_HU, 40, AIR_HU]], [[AIR_HU, AIR_HU, 7]]]
    assert notes[0].startswith("3 voxels that are no number") and notes[1].startswith("1 voxels below -1500 HU")
    assert clean(np.full((2, 2, 2), -1500, np.float32))[1] == []


@pytest.mark.parametrize("kind", ["f4", "i4", "u2"])
@pytest.mark.parametrize(("value", "wanted"), [(32767, np.int16), (32768, np.float32)])
def test_whole_numbers_that_fit_are_kept_small(kind: Any, value: int, wanted: Any) -> None:
    voxels, notes = clean(np.array([[[0, 40, value]], [[1, 2, 3]]], kind))
    assert voxels.dtype == wanted and voxels[0].tolist() == [[0, 40, value]] and not notes
    fractions, _ = clean(np.array([[[0.5]], [[1]]], np.float32))
    assert fractions.dtype == np.float32 and fractions[0, 0, 0] == 0.5
