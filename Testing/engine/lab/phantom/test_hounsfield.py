"""HU on the finished images against ranges that radiologists quote, per contrast phase."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.lab.phantom.hounsfield import PHASES
from unoise_engine.lab.phantom.labels import LABELS

# Lowest and highest median of one organ in one patient, per phase.
EXPECTED = {
    "non-contrast": {"pancreas": (10, 65), "spleen": (20, 75), "aorta": (20, 70), "kidney_left": (10, 60)},
    "arterial": {"pancreas": (45, 150), "spleen": (70, 180), "aorta": (180, 420), "kidney_left": (80, 250)},
    "portal venous": {"pancreas": (45, 135), "spleen": (75, 160), "aorta": (95, 230), "kidney_left": (100, 240)},
}
ALWAYS = {"lung_lower_lobe_right": (-950, -700), "vertebrae": (80, 700), "iliopsoas_left": (25, 85)}


@pytest.fixture(scope="module")
def by_phase() -> Any:
    """Phantoms until every phase is there."""
    found: dict[str, list[Any]] = {}
    for seed in range(40):
        phantom = synthesise(seed, size=112, slices=28)
        found.setdefault(phantom.phase, []).append(phantom)
        if len(found) == len(PHASES) and seed >= 5:
            break
    return found


def interior(region: Any) -> Any:
    """Without the outermost voxels, which share their HU with the neighbours."""
    inner = region.copy()
    for axis in range(3):
        inner &= np.roll(region, 1, axis) & np.roll(region, -1, axis)
    return inner


def test_every_phase_occurs(by_phase: Any) -> None:
    assert set(by_phase) == set(PHASES)


@pytest.mark.parametrize("phase", PHASES)
def test_tissues_have_their_hounsfield_units(by_phase: Any, phase: Any) -> None:
    for phantom in by_phase[phase]:
        for organ, (low, high) in (EXPECTED[phase] | ALWAYS).items():
            region = interior(phantom.labels.voxels == LABELS[organ])
            if organ.startswith("lung") and region.sum() < 50:
                continue  # not every scan reaches the chest
            assert region.sum() > 20, (phantom.seed, organ)
            assert low < np.median(phantom.ct.voxels[region]) < high, (phantom.seed, organ)


def test_brightness_alone_does_not_give_the_pancreas_away(by_phase: Any) -> None:
    """Most unlabelled tricks end here: other organs reach into the middle half of the gland's HU."""
    for phantom in by_phase["portal venous"]:
        gland = phantom.labels.voxels == LABELS["pancreas"]
        low, high = np.percentile(phantom.ct.voxels[gland], [25, 75])
        alike = (phantom.ct.voxels >= low) & (phantom.ct.voxels <= high) & ~gland
        assert alike.sum() > 2 * gland.sum()
