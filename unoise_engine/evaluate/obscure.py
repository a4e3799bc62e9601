"""A CT of which only what the model needs is left: for publishing a case without publishing the patient.

In every axial slice the most important voxels stay as they are. All others are replaced by noise around the model's
grey, and say nothing of the CT: noise that was only added could be subtracted again by whoever knows the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.evaluate.hiding import SIGMA
from unoise_engine.evaluate.overlap import dice
from unoise_engine.evaluate.ranking import count, ranks
from unoise_engine.files import exists, write_json
from unoise_engine.models.frame import Frame
from unoise_engine.models.session import Bundle
from unoise_engine.volume.find import Case
from unoise_engine.volume.volume import Volume
from unoise_engine.volume.write import write_volume

SLICES_A_STEP = 8
NAME = "obscured"


@dataclass(frozen=True)
class Obscured:
    """`visible` is the share of voxels left; `kept` the dice between what the model finds before and after."""

    ct: Volume
    visible: float
    kept: float


def obscure(ct: Volume, bundle: Bundle, visible: float, seed: int, advance: Callable[[float], None]) -> Obscured:
    """The same CT, model, share and seed give the same voxels, whatever the machine's number of cores.

    Ties in importance are broken by chance. Raises `Usage` for a share that leaves all or nothing.
    """
    if not 0 < visible < 1:
        raise Usage(f"--visible {visible:g}", "must lie between 0 and 1", "give 0.3 to keep 30 % of every slice")
    if seed < 0:
        raise Usage(f"--seed {seed}", "is negative", "use 0 or more")
    frame, recipe = Frame.of(ct, bundle.recipe), bundle.recipe
    low, high = recipe.window_hu
    grey = low + recipe.mean[0] * (high - low)
    sigma = _sigma(bundle) * recipe.std[0] * (high - low)
    before: list[np.ndarray] = []
    left = np.zeros(ct.voxels.shape, np.int16)
    axial, out = frame.view.apply(ct.voxels), frame.view.apply(left)  # views: filling one fills the volume
    rows, columns = frame.back
    shown = 0
    for some in _steps(len(axial)):
        slices = recipe.normalise(np.stack([*frame.windowed(ct, some.start, some.stop)]))
        logits = bundle.predict(slices)
        before += list(logits[:, 0] > 0)
        for k, z in zip(range(some.start, some.stop), bundle.noise_logits(slices, logits)[:, 0]):
            chance = np.random.default_rng([seed, k])
            importance = np.round(rows @ -z @ columns.T, 3)  # sums in another order must not swap two voxels
            placed = ranks(importance, chance.random(importance.shape, np.float32))
            keep = placed < count(visible, placed.size)
            noise = np.clip(np.round(chance.normal(grey, sigma, placed.shape)), -1024, 3071)
            out[k] = np.where(keep, np.clip(np.round(axial[k]), -32768, 32767), noise)
            shown += int(keep.sum())
        advance(len(slices))
    result = ct.with_voxels(left)
    after = [mask for some in _steps(len(axial)) for mask in _found(result, frame, bundle, some)]
    return Obscured(result, shown / left.size, float(dice(np.stack(before), np.stack(after))))


def obscure_case(
    case: Case, name: str, bundle: Bundle, visible: float, seed: int, out: Path, advance: Callable[[float], None]
) -> dict[str, Any]:
    """Writes OUT/<name>-obscured.nii.gz and what was done beside it as .json; returns the latter.

    Raises CaseRefused, Usage, Environment.
    """
    image, path = (out / f"{name}-{NAME}{suffix}" for suffix in (".nii.gz", ".json"))
    for there in (image, path):
        if lexists(there):
            raise exists(there)
    found = obscure(case.read().ct, bundle, visible, seed, advance)
    write_volume(found.ct, image)
    told = {
        "visible": round(found.visible, 6),
        "dice_kept": round(found.kept, 6),
        "seed": seed,
        "model": bundle.manifest.name,
        "model_sha256": bundle.hash,
        "warning": bundle.manifest.warning,
    }
    write_json(path, told)
    return told


def _found(ct: Volume, frame: Frame, bundle: Bundle, some: slice) -> np.ndarray:
    slices = bundle.recipe.normalise(np.stack([*frame.windowed(ct, some.start, some.stop)]))
    return bundle.predict(slices)[:, 0] > 0


def _sigma(bundle: Bundle) -> float:
    """The most noise that the bundle's U-Noise was trained with."""
    return float(bundle.manifest.architecture.get("noise", {}).get("sigma_max", SIGMA))


def _steps(n: int) -> Iterator[slice]:
    for start in range(0, n, SLICES_A_STEP):
        yield slice(start, min(start + SLICES_A_STEP, n))
