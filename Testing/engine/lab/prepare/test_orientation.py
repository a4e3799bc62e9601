"""Every flip is found again, and what cannot be told is not guessed."""

import itertools
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import SHARED
from Testing.engine.lab.prepare.world import torso
from unoise_engine.lab.prepare.orientation import Lay, find_lay

LAYS = [Lay(s, (a, b, c)) for s, a, b, c in itertools.product((False, True), repeat=4)]
ARCHIVE = SHARED / "data" / "pancreas-ct-slices" / "slices.npz"


@pytest.mark.parametrize("lay", LAYS, ids=str)
def test_every_flip_is_found(lay: Any) -> None:
    hu, organ = torso(3)
    stored = (organ[::-1] if lay.mirrored[0] else organ).copy()
    stored = stored[:, :: -1 if lay.mirrored[1] else 1, :: -1 if lay.mirrored[2] else 1]
    stored = stored.transpose(0, 2, 1) if lay.swapped else stored
    finding = find_lay(hu, stored)
    assert finding.lay is not None and np.array_equal(finding.lay.apply(stored), organ)
    assert len(finding.scores) == 16


def test_a_phantom_with_all_its_organs() -> None:
    from unoise_engine.lab.phantom.abdomen import synthesise

    phantom = synthesise(5, size=96, slices=24)
    hu, organ = phantom.ct.voxels, phantom.labels.voxels == 7
    for lay in (LAYS[0], LAYS[2], LAYS[6], LAYS[13]):
        stored = organ[tuple(slice(None, None, -1) if m else slice(None) for m in lay.mirrored)]
        stored = stored.transpose(0, 2, 1) if lay.swapped else stored
        finding = find_lay(hu, stored)
        assert finding.lay is not None, finding.why
        assert np.array_equal(finding.lay.apply(stored), organ)


def test_a_label_on_nothing_is_not_laid_anywhere() -> None:
    hu, organ = torso(3)
    finding = find_lay(np.full_like(hu, -100), organ)
    assert finding.lay is None and "soft tissue" in finding.why


def test_a_symmetric_body_cannot_tell() -> None:
    hu, organ = torso(3)
    middle = np.zeros_like(organ)
    middle[3:9, 20:28, 18:30] = True
    level = np.full_like(hu, -100)
    level[middle] = 90
    finding = find_lay(level, middle)
    assert finding.lay is None and "equally" in finding.why


def test_counts_that_fit_in_no_way() -> None:
    hu, organ = torso(3)
    with pytest.raises(ValueError, match="fits no CT"):
        find_lay(hu, organ[1:])


@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"the real slices are not at {ARCHIVE}")
def test_real_patients_flipped_in_plane() -> None:
    """NIH Pancreas-CT itself, 5 to 13 slices a patient: no decision may be wrong, and most must be made."""
    with np.load(ARCHIVE, allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    whole = stored["margin_px"] == 0
    decided = tried = 0
    for patient in np.unique(stored["patient"]):
        mine = np.flatnonzero(whole & (stored["patient"] == patient))
        if len(mine) < 5 or tried == 12:
            continue
        hu, organ = stored["image"][mine, ::2, ::2].astype(np.int16), stored["mask"][mine, ::2, ::2].astype(bool)
        hu[hu == 0] = -100  # the archive clips fat and air to 0
        finding = find_lay(hu, organ[:, ::-1])
        tried += 1
        if finding.lay is not None:
            decided += 1
            assert finding.lay == Lay(False, (False, True, False)), finding
    assert tried == 12 and decided >= 8
